"""What the admin listener answers: probes, metrics and status. It reads, and changes nothing."""

import asyncio
import email.utils
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from gateway.admin.access import Asked, Denied, Token, check
from gateway.admin.health import Health
from gateway.admin.status import encode
from gateway.admin.throttle import Throttle
from gateway.telemetry import exposition
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.status import Status

# The status, the fields of the head and the body of an answer.
Answer = tuple[int, list[tuple[str, str]], bytes]


class Pages:
    """``/metrics``, ``/livez``, ``/readyz``, ``/status`` and ``/status.json``; GET and HEAD only.

    ``status`` is called on the loop. ``token`` is as for `gateway.admin.access`.
    """

    def __init__(
        self, metrics: Metrics, health: Health, status: Callable[[], Status], token: Token = lambda: None
    ) -> None:
        self._metrics: Final = metrics
        self._health: Final = health
        self._status: Final = status
        self._token: Final = token
        self._throttle: Final = Throttle()
        # A thread of its own: scrapes wait for each other, and for no other work in threads.
        self._renderer: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._served: Final[Mapping[str, Callable[[Asked], Awaitable[Answer]]]] = {
            "/metrics": self._exposition,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/status": self._page,
            "/status.json": self._json,
        }

    async def answer(self, asked: Asked) -> Answer:
        """The answer to a request that is valid HTTP. A refusal is JSON with a code and a message."""
        try:
            check(asked, self._token)
            served = self._served.get(asked.path)
            if served is None:
                raise Denied(404, "not_found", "There is nothing at this path.")
            if asked.method not in ("GET", "HEAD"):
                raise Denied(405, "method_not_allowed", "The admin listener is there to read.")
            return await served(asked)
        except Denied as denied:
            return denial(denied)

    async def close(self) -> None:
        """End what is being made."""
        await self._throttle.close()
        self._renderer.shutdown()

    async def _livez(self, _: Asked) -> Answer:
        return _answer(200, "text/plain; charset=utf-8", b"ok\n")

    async def _readyz(self, _: Asked) -> Answer:
        reasons = self._health.reasons_not_ready()
        body = "".join(f"{reason}\n" for reason in reasons).encode() or b"ok\n"
        return _answer(503 if reasons else 200, "text/plain; charset=utf-8", body)

    async def _exposition(self, asked: Asked) -> Answer:
        accept = ",".join(asked.fields.getall("Accept", ()))
        content_type = exposition.content_type(accept)

        async def rendered() -> bytes:
            self._metrics.refresh()
            return await self._in_thread(lambda: self._metrics.render(accept))

        return _answer(200, content_type, await self._throttle.get(content_type, rendered))

    async def _json(self, asked: Asked) -> Answer:
        return _answer(200, "application/json", await self._made(asked.path, encode))

    async def _page(self, asked: Asked) -> Answer:
        # Imported for the first person who looks: most processes never show it.
        from gateway.admin.page import SECURITY_POLICY, page

        body = await self._made(asked.path, lambda status: page(status).encode("utf-8", "replace"))
        more = [("Content-Security-Policy", SECURITY_POLICY), ("Referrer-Policy", "no-referrer")]
        return _answer(200, "text/html; charset=utf-8", body, more)

    async def _made(self, kind: str, make: Callable[[Status], bytes]) -> bytes:
        async def made() -> bytes:
            status = self._status()
            return await self._in_thread(lambda: make(status))

        return await self._throttle.get(kind, made)

    async def _in_thread(self, make: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._renderer, make)


def denial(denied: Denied) -> Answer:
    """The answer that says why there is no other."""
    body = msgspec.json.encode({"error": {"code": denied.code, "message": denied.message}})
    # RFC 9110 section 15.5.6: 405 says which methods there are.
    more = [("Allow", "GET,HEAD")] if denied.status == 405 else []
    return _answer(denied.status, "application/json", body, more)


def _answer(status: int, content_type: str, body: bytes, more: list[tuple[str, str]] | None = None) -> Answer:
    fields = [
        ("Content-Type", content_type),
        ("Date", email.utils.formatdate(usegmt=True)),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ]
    return status, fields + (more or []), body
