"""The command with faults planted in it: each says a secret in the text of its exception, as a careless library would.

``python -m tests.support.faulty serve …``. A request's target says which fault it sets off.
"""

import asyncio
import logging
import sys
import threading
from typing import Any

from gateway.cli import main
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Handler
from gateway.proxy.reply import Reply
from gateway.proxy.request import Request
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.runtime.facts import Facts
from gateway.runtime.listeners import Listeners
from tests.support.sentinels import KEY, TOKEN


def _fault(name: str) -> type[Exception]:
    return type(f"{name}Fault", (Exception,), {})


CallerFault = _fault("Caller")
ForwardFault = _fault("Forward")
AnswerFault = _fault("Answer")
ReplyFault = _fault("Reply")
StatusFault = _fault("Status")
JudgeFault = _fault("Judge")
ListenerFault = _fault("Listener")
TaskFault = _fault("Task")
CallbackFault = _fault("Callback")
ThreadFault = _fault("Thread")
DyingFault = _fault("Dying")
StartFault = _fault("Start")


def plant() -> None:
    """Put every fault in its place."""
    _in_front(Handler, "_identify", "fault-caller", lambda request, *_: CallerFault(f"{request.fields!r}"))
    _in_front(Forwarder, "forward", "fault-forward", lambda *_: ForwardFault(KEY))
    _in_front(Handler, "_decide", "fault-judge", lambda *_: JudgeFault(KEY))
    _in_front(UpstreamConnection, "data_received", "fault-answer", lambda data: AnswerFault(repr(data)))
    _in_front(Reply, "begin", "fault-reply", lambda reply, *_: ReplyFault(f"{reply._request.fields!r} {KEY}"))
    _in_front(Handler, "serve", "fault-listener", lambda request, *_: ListenerFault(f"{request.fields!r}"))
    _in_front(Handler, "_pass", "fault-strays", _strays)
    _in_front(Facts, "status", "", _broken_status)


def _in_front(kind: type, method: str, mark: str, fault: Any) -> None:
    plain = getattr(kind, method)

    def broken(self: object, *given: Any, **named: Any) -> Any:
        if any(mark in _shown(value) for value in (self, *given)):
            raise fault(*((self, *given) if isinstance(self, Reply) else given))
        return plain(self, *given, **named)

    setattr(kind, method, broken)


def _shown(value: object) -> str:
    request = getattr(value, "_request", getattr(value, "request", value))
    return request.target if isinstance(request, Request) else repr(value)


def _broken_status(*_: object) -> Exception:
    fault = StatusFault(KEY)
    fault.__cause__ = ValueError(TOKEN)
    return fault


def _strays(request: Request, *_: object) -> Exception:
    """Faults outside every request: in a task, a callback, a thread, a destructor, and in a library that logs."""
    text = f"{request.fields!r} {KEY}"

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

        Listeners.open_admin = die  # type: ignore[assignment, method-assign]
    plant()
    main()
