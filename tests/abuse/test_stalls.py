"""Callers that take no more of their answers, against a real `serve`: they hold no place for good."""

import asyncio
import os
import select
import socket
from pathlib import Path

import pytest

from tests.support.deadline import eventually
from tests.support.honest import ATTACKER, TWO, asks
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.served import serving

# The kernel takes a part of an answer that depends on it; what the gateway holds of these is from none to 64 KiB, past
# which it waits for its caller.
SIZES = range(90_000, 500_000, 30_000)


def gone(caller: socket.socket) -> bool:
    """Whether the gateway has closed a connection whose caller reads nothing."""
    poll = select.poll()
    poll.register(caller, select.POLLRDHUP)
    return bool(poll.poll(0))


@pytest.mark.parametrize("fields", [(), ("Connection: close",)], ids=["kept", "closing"])
async def test_answers_that_nobody_takes_hold_no_place(
    tmp_path: Path, upstream: Upstream, fields: tuple[str, ...]
) -> None:
    """Whatever is left of an answer that is not taken, its connection ends in time."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(body=b"x" * int(arrival.target.partition(b"size=")[2] or b"1")))

    upstream.reply = reply
    path = tmp_path / "traffic.sock"
    limits = {"keepalive_timeout": "500ms", "head_timeout": "500ms"}
    settings = {"upstream": {"url": upstream.url, "idle_timeout": "1s"}, **TWO}
    async with serving(tmp_path, upstream, listen=f"unix:{path}", limits=limits, **settings) as served:
        assert {200} == await asks(served, 1)
        callers = []
        for size in SIZES:
            callers.append(socket.socket(socket.AF_UNIX))
            callers[-1].connect(os.fspath(path))
            callers[-1].sendall(head("GET", f"/api/v2/threads?size={size}", *fields, token=ATTACKER))
        await upstream.until(lambda: len(upstream.arrivals) == len(SIZES) + 1)

        async def all_gone() -> bool:
            return all(gone(caller) for caller in callers)

        await eventually(all_gone)
        assert {200} == await asks(served, 1)
        for caller in callers:
            caller.close()
