"""Targets: an accepted target is sent unchanged, and the caller is allowed every reading of it."""

import datetime
from functools import cache
from typing import Final

from gateway.config.assembly.catalog import load_catalog
from gateway.core.catalog import Catalog
from gateway.core.decision import ask, decide
from gateway.core.policy import Policy
from gateway.core.refusal import Refused
from gateway.core.routing import Route, Routes
from gateway.core.target import read_target
from tests.support.fuzzing import run
from tests.support.oracle import escapes

METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "TRACE")
TODAY: Final = datetime.date(2026, 1, 1)
SEEDS: Final = (
    b"\0/api/v2/threads?a=%2F",
    b"\0/api/v2/contacts/By-Email",
    b"\2/api/v2/threads/..;/x",
    b"\5/api/v2/threads/1",
)


@cache
def _catalog() -> Catalog:
    return load_catalog()


@cache
def _routes() -> Routes:
    return Routes([Route("/**", ("k",))], _catalog().endpoints)


@cache
def _policy() -> Policy:
    named = _catalog().named("GET /contacts/by-email")
    assert named is not None
    return Policy("app", frozenset({"threads:read", "threads:write", "contacts:read"}), deny=frozenset({named}))


def check(data: bytes) -> None:
    """The first byte chooses the method, the rest is the target as the listener's parser hands it on."""
    method, raw = METHODS[data[0] % len(METHODS)] if data else "GET", data[1:]
    text = raw.decode("utf-8", "surrogateescape")
    try:
        target = read_target(method, text)
        decide(ask(target, _policy(), _catalog(), _routes(), TODAY))
    except Refused:
        return
    sent = b"/api/v2" + target.below_base.encode("utf-8", "surrogateescape")
    assert raw == sent
    assert not escapes(method, sent, _policy(), _catalog().endpoints, TODAY)
    assert b" " not in sent
    assert not any(byte < 0x20 or byte == 0x7F for byte in sent)


if __name__ == "__main__":
    run(check, SEEDS)
