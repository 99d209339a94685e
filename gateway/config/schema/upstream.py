"""The settings of the leg to Productlane."""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Text, Whole, one_of
from gateway.config.reading.names import FILE
from gateway.config.reading.section import Section, setting
from gateway.config.schema.kinds import FIELD_NAME, TIMEOUT
from gateway.config.schema.values import base_url

KeyErrors: TypeAlias = Literal["translate", "relay"]


class Upstream(Section):
    """Where Productlane is and how long to wait for it."""

    url: str = setting(
        Text("a URL such as https://productlane.com/api/v2", parse=base_url, private=True),
        "Base URL of the API. `https://`, or `http://` to loopback only.",
        default="https://productlane.com/api/v2",
    )
    ca: Path | None = setting(FILE, "Certificates to trust beside those of the system, PEM.", default=None)
    connect_timeout: float = setting(
        TIMEOUT, "To connect, TLS included; also how long one `/me` may take.", default="5s"
    )
    response_timeout: float = setting(
        TIMEOUT, "Until the first byte of the answer; past it the caller gets 504.", default="60s"
    )
    idle_timeout: float = setting(TIMEOUT, "Between bytes, in either direction.", default="60s")
    answer_timeout: float = setting(
        TIMEOUT, "For the whole body of an answer, whoever is slow; past it the answer is cut.", default="1h"
    )
    max_connections: int = setting(
        Whole(1, 10_000),
        "Connections to Productlane at a time. A request waits 2 s for one, then it gets 503.",
        default=100,
    )
    request_fields: tuple[str, ...] = setting(
        Many(FIELD_NAME, "names of fields"), "More fields of requests that may go to Productlane.", default=()
    )
    response_fields: tuple[str, ...] = setting(
        Many(FIELD_NAME, "names of fields"), "More fields of answers that may go to callers.", default=()
    )
    key_errors: KeyErrors = setting(
        one_of(get_args(KeyErrors)),
        "What a caller sees when Productlane refuses the gateway's key: `translate` answers 502 "
        "`upstream_key_rejected` or `upstream_key_unsupported`, `relay` passes Productlane's 401 or 410 on.",
        default="translate",
    )
