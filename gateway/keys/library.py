"""aiohttp-client-cache, as far as it is used here, without its backends.

Its package imports every backend whose client is installed, used or not: with ``redis`` that is 60 ms and 10 MB.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Final

_BACKENDS: Final = ("dynamodb", "filesystem", "mongodb", "redis", "sqlite")


@contextlib.contextmanager
def _without_backends() -> Iterator[None]:
    """Have the imports of backends fail, which the library takes for a client that is not installed.

    None in `sys.modules` does that; see "The module cache" in Python's language reference.
    """
    modules: dict[str, Any] = sys.modules
    names = [name for name in (f"aiohttp_client_cache.backends.{kind}" for kind in _BACKENDS) if name not in modules]
    modules.update(dict.fromkeys(names))
    try:
        yield
    finally:
        for name in names:
            modules.pop(name, None)


with _without_backends():
    from aiohttp_client_cache.backends.base import BaseCache, CacheBackend, ResponseOrKey
    from aiohttp_client_cache.cache_control import CacheActions
    from aiohttp_client_cache.response import AnyResponse, CachedResponse
    from aiohttp_client_cache.session import CachedSession

__all__ = [
    "AnyResponse",
    "BaseCache",
    "CacheActions",
    "CacheBackend",
    "CachedResponse",
    "CachedSession",
    "ResponseOrKey",
]
