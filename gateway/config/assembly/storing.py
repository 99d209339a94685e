"""The parts of ``gateway.yaml`` that say where answers are kept: ``store`` and ``redis``."""

import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from msgspec import UNSET

from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema import gateway_file
from gateway.config.schema.environment import ENVIRONMENT
from gateway.config.secret_source import MissingSecret, located, read_text
from gateway.config.store import PORT, Password, Redis, Store
from gateway.config.tls import upstream_context
from gateway.core.secret import BadSecret

_STORE: Final = ("store",)
_PASSWORD: Final = ("redis", "password")
_CA: Final = ("redis", "ca")
_URL: Final = re.compile(
    r"(?P<scheme>rediss?)://(?:(?P<user>[^:@/\s]*)(?::(?P<password>[^@/\s]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?P<database>[0-9]{0,3}))?"
)


def read_store(
    file: gateway_file.Gateway,
    document: Document,
    base: Callable[..., Path],
    environ: Mapping[str, str],
    *,
    look: bool = True,
) -> Store:
    """The store; what is wrong with it is reported, and None stands for it then. ``base`` is as in `Assembly`.

    Unless it is to ``look``, no certificate and no password has to be there.
    """
    kind, _, rest = file.store.partition(":")
    if kind in ("redis", "rediss"):
        return _redis(file, document, base, environ if look else None)
    # Of a store that a variable or flag puts in the place of the file's, the file's `redis` knows nothing.
    if file.redis != gateway_file.Redis() and document.origin(_STORE) is None and document.sound(_STORE):
        document.report(("redis",), "is for a `store` at redis:// or rediss://")
    return base(*_STORE) / rest if kind == "sqlite" else None


def _redis(
    file: gateway_file.Gateway, document: Document, base: Callable[..., Path], environ: Mapping[str, str] | None
) -> Redis | None:
    found = _URL.fullmatch(file.store)
    if found is None or not 0 < (port := int(found["port"] or PORT)) <= 65535:
        # Whatever was found may hold a password.
        document.report(_STORE, "expected a URL such as rediss://user@host:6379/0")
        return None
    ca = None if file.redis.ca is UNSET else base(*_CA) / file.redis.ca
    tls = found["scheme"] == "rediss"
    if ca is not None and environ is not None:
        _check_ca(ca, tls, document)
    return Redis(
        host=found["host"].strip("[]"),
        port=port,
        database=int(found["database"] or 0),
        tls=tls,
        ca=ca,
        user=unquote(found["user"] or ""),
        password=_password(file, found["password"], document, base, environ),
        prefix=file.redis.prefix,
    )


def _password(
    file: gateway_file.Gateway,
    in_url: str | None,
    document: Document,
    base: Callable[..., Path],
    environ: Mapping[str, str] | None,
) -> Password | None:
    origin = document.origin(_STORE)
    if in_url and (origin is None or origin[0] != ENVIRONMENT):
        message = (
            "a password may not stand here; name its file in `redis.password`, or set PRODUCTLANE_GATEWAY_STORE to the "
            "whole URL"
        )
        document.report(_STORE, message)
        return None
    if file.redis.password is UNSET:
        return Password("", unquote(in_url)) if in_url else None
    if in_url:
        document.report(_PASSWORD, "is one password too many: the URL of `store` holds one")
        return None
    source = located(file.redis.password, base(*_PASSWORD))
    if environ is None:
        return None
    try:
        text = read_text(source, environ)
    except MissingSecret as error:
        document.report(_PASSWORD, str(error))
    except BadSecret as error:
        document.report(_PASSWORD, f"{shown(source)} {error}")
    else:
        if text:
            return Password(source, "" if source.startswith("file:") else text)
        document.report(_PASSWORD, f"{shown(source)} is empty")
    return None


def _check_ca(ca: Path, tls: bool, document: Document) -> None:
    if not tls:
        document.report(_CA, "is for a `store` at rediss://")
        return
    try:
        upstream_context(ca)
    except ssl.SSLError:
        document.report(_CA, f"{shown(str(ca))} holds no certificates in PEM")
    except OSError as error:
        document.report(_CA, f"{shown(str(ca))} cannot be read: {error.strerror}")
