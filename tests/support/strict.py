"""An upstream that reads with h11, a strict independent parser, and records its requests and errors."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import h11

from tests.support.recording import Upstream
from tests.support.sentinels import ALL_SCOPES


@dataclass
class Whole:
    """A request as h11 read it, to its end."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytearray = field(default_factory=bytearray)


class StrictUpstream(Upstream):
    """``whole`` are the complete requests, ``faults`` the errors of h11."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[Whole] = []
        self.faults: list[str] = []

    async def start(self, **_: Any) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Reader(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v2"


class _Reader(asyncio.Protocol):
    def __init__(self, upstream: StrictUpstream) -> None:
        self._upstream = upstream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        self._request: Whole | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._h11.receive_data(data)
            while self._take(self._h11.next_event()):
                pass
        except h11.RemoteProtocolError as fault:
            self._upstream.faults.append(f"{fault}: {data!r}")
            self._transport.abort()

    def _take(self, event: Any) -> bool:
        """Record what h11 read; false if it needs more bytes."""
        if isinstance(event, h11.Request):
            self._request = Whole(event.method.decode(), event.target, list(event.headers))
        elif isinstance(event, h11.Data) and self._request:
            self._request.body += event.data
        elif isinstance(event, h11.EndOfMessage) and self._request:
            self._answer(self._request)
            self._h11.start_next_cycle()
        else:
            return False
        return True

    def _answer(self, request: Whole) -> None:
        asks_me = request.target == b"/api/v2/me"
        if not asks_me:
            self._upstream.whole.append(request)
        me = {"workspace_id": "w", "api_key_id": "k", "scopes": list(ALL_SCOPES), "linear_team_ids": []}
        body = json.dumps(me | {"default_linear_team_id": None} if asks_me else {}).encode()
        head = h11.Response(
            status_code=200, headers=[("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        )
        out = [self._h11.send(head)]
        out += [] if request.method == "HEAD" else [self._h11.send(h11.Data(data=body))]
        out.append(self._h11.send(h11.EndOfMessage()))
        self._transport.write(b"".join(piece for piece in out if piece))
