"""The command with faults planted in it: each says a secret in the text of its exception, as a careless library would.

``python -m tests.support.faulty serve …``. A request's target says which fault it sets off.
"""

import asyncio
import logging
import sys
import threading
from typing import Any

from aiohttp import web

from gateway.cli import main
from gateway.proxy.connection import Connection
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Handler
from gateway.proxy.listener import Listener
from gateway.proxy.reply import Reply
from gateway.runtime import server
from tests.support.kit import KEY, TOKEN


class CallerFault(Exception): ...


class ForwardFault(Exception): ...


class AnswerFault(Exception): ...


class ReplyFault(Exception): ...


class StatusFault(Exception): ...


class JudgeFault(Exception): ...


class ListenerFault(Exception): ...


class TaskFault(Exception): ...


class CallbackFault(Exception): ...


class ThreadFault(Exception): ...


class DyingFault(Exception): ...


class StartFault(Exception): ...


def plant() -> None:
    """Put every fault in its place."""
    _in_front(Handler, "_identify", "fault-caller", lambda request, *_: CallerFault(f"{request.headers!r}"))
    _in_front(Forwarder, "forward", "fault-forward", lambda *_: ForwardFault(KEY))
    _in_front(Handler, "_judge", "fault-judge", lambda *_: JudgeFault(KEY))
    _in_front(Connection, "data_received", "fault-answer", lambda data: AnswerFault(repr(data)))
    _in_front(Reply, "prepare", "fault-reply", lambda request: ReplyFault(f"{request.headers!r} {KEY}"))
    _in_front(Listener, "_serve", "fault-listener", lambda request: ListenerFault(f"{request.raw_headers!r}"))
    _in_front(Handler, "_serve", "fault-strays", _strays)
    vars(server)["build"] = _broken_status


def _in_front(kind: type, method: str, mark: str, fault: Any) -> None:
    plain = getattr(kind, method)

    def broken(self: object, *given: Any, **named: Any) -> Any:
        if any(mark in _shown(value) for value in given):
            raise fault(*given)
        return plain(self, *given, **named)

    setattr(kind, method, broken)


def _shown(value: object) -> str:
    return value.raw_path if isinstance(value, web.BaseRequest) else repr(value)


def _broken_status(**_: object) -> object:
    raise StatusFault(KEY) from ValueError(TOKEN)


def _strays(request: web.BaseRequest, *_: object) -> Exception:
    """Faults of which no request knows: in a task, a callback, a thread, a destructor, and in a library that logs."""
    text = f"{request.headers!r} {KEY}"

    async def fail() -> None:
        raise TaskFault(text)

    def throw(error: Exception) -> None:
        raise error

    class Dying:
        def __del__(self) -> None:
            raise DyingFault(text)

    loop = asyncio.get_running_loop()
    loop.create_task(fail())  # noqa: RUF006 - nobody waits for it
    loop.call_soon(throw, CallbackFault(text))
    threading.Thread(target=throw, args=(ThreadFault(text),)).start()
    Dying()
    logging.getLogger("careless").error("sent %s", text)
    logging.getLogger("careless").debug("sent %s", text, extra={"secret": text})
    return CallerFault(text)


if __name__ == "__main__":
    if sys.argv[1] == "--at-start":
        del sys.argv[1]

        def die(*_: object, **__: object) -> None:
            raise StartFault(KEY) from ValueError(TOKEN)

        server.Gateway.start = die  # type: ignore[assignment]
    plant()
    main()
