"""The store that ``store`` and ``redis`` of ``gateway.yaml`` describe together."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema import gateway
from gateway.config.schema.environment import ENVIRONMENT
from gateway.config.secret_source import MissingSecret, read_text
from gateway.config.store import Password, Redis, Store
from gateway.core.secret import BadSecret
from gateway.net.client_tls import fault_of_certificates

_STORE: Final = ("store",)
_PASSWORD: Final = ("redis", "password")
_CA: Final = ("redis", "ca")


def read_store(settings: gateway.Gateway, document: Document, environ: Mapping[str, str] | None) -> Store:
    """The store. Reports what is wrong with it.

    With ``environ`` None, neither the certificate nor the password has to exist.
    """
    store, redis = settings.store, settings.redis
    if not isinstance(store, Redis):
        # If a variable or flag replaces the store of the file, the file's `redis` is for the store that it named.
        if redis != gateway.Redis() and document.origin(_STORE) is None and document.sound(_STORE):
            document.report(("redis",), "is for a `store` at redis:// or rediss://")
        return store
    if redis.ca is not None and environ is not None:
        if not store.tls:
            document.report(_CA, "is for a `store` at rediss://")
        elif fault := fault_of_certificates(redis.ca):
            document.report(_CA, f"{shown(str(redis.ca))} {fault}")
    password = _password(redis.password, store.password, document, environ)
    return replace(store, ca=redis.ca, prefix=redis.prefix, password=password)


def _password(
    source: str | None, in_url: Password | None, document: Document, environ: Mapping[str, str] | None
) -> Password | None:
    origin = document.origin(_STORE)
    if in_url is not None and (origin is None or origin[0] != ENVIRONMENT):
        message = (
            "a password may not stand here; name its file in `redis.password`, or set PRODUCTLANE_GATEWAY_STORE to the "
            "whole URL"
        )
        document.report(_STORE, message)
        return None
    if source is None:
        return in_url
    if in_url is not None:
        document.report(_PASSWORD, "is one password too many: the URL of `store` holds one")
        return None
    return None if environ is None else _from_source(source, document, environ)


def _from_source(source: str, document: Document, environ: Mapping[str, str]) -> Password | None:
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
