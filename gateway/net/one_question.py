"""An aiohttp session for one question to a server that holds the gateway's trust, such as `/me` or an issuer's keys."""

import ssl
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver

# What is said of the gateway; they stand here so that aiohttp adds nothing of its own.
FIELDS: Final = (("Accept-Encoding", "identity"), ("User-Agent", "productlane-gateway"))


def session_options(
    context: ssl.SSLContext | None, resolver: AbstractResolver | None, timeout: float
) -> dict[str, Any]:
    """Arguments of an `aiohttp.ClientSession` that keeps no connection or cookie, and unpacks nothing.

    No variable of the environment has a say. ``context`` and ``resolver`` are aiohttp's own where they are None;
    ``timeout`` is the seconds for the whole answer.
    """
    return {
        "connector": aiohttp.TCPConnector(
            ssl=True if context is None else context, force_close=True, resolver=resolver, use_dns_cache=False
        ),
        "cookie_jar": aiohttp.DummyCookieJar(),
        "timeout": aiohttp.ClientTimeout(total=timeout),
        "auto_decompress": False,
        "trust_env": False,
    }
