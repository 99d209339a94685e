"""Requests and handshakes that come all at once, against a real `serve`: those of one address hold no other up."""

import contextlib
import os
import select
import signal
import socket
import ssl
from pathlib import Path

from tests.support.deadline import eventually
from tests.support.honest import HONEST
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.recording import Upstream
from tests.support.served import serving
from tests.support.tls import House

FLOOD = 400


async def test_a_request_overtakes_a_flood_of_another_address(tmp_path: Path, upstream: Upstream) -> None:
    """Of 400 requests that have arrived before an honest one, and all are refused, most are answered after it."""
    async with serving(tmp_path, upstream, policies=[policy("honest", HONEST)]) as served:
        honest = await served.connect()
        await honest.send(head(token=HONEST))
        await honest.response()
        flood = [await served.connect(local_addr=("127.0.0.2", 0)) for _ in range(FLOOD)]
        # What arrives while it stands still is all there when it goes on.
        os.kill(served.process.pid, signal.SIGSTOP)
        for one in flood:
            await one.send(head(token="plgw_unknown-0123456789"))
        await honest.send(head("GET", "/api/v2/companies", token=HONEST))
        os.kill(served.process.pid, signal.SIGCONT)
        assert 200 == (await honest.response()).status
        assert {401} == {(await one.response()).status for one in flood}

        def answered() -> list[str]:
            return [line.get("endpoint", "") for line in served.lines() if "status" in line]

        async def all_answered() -> bool:
            return len(answered()) == FLOOD + 2

        await eventually(all_answered)
        order = answered()[1:]

    assert FLOOD / 2 > order.index("GET /companies")


def hello(house: House) -> bytes:
    """A whole ClientHello."""
    leaving = ssl.MemoryBIO()
    tls = house.client().wrap_bio(ssl.MemoryBIO(), leaving, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return leaving.read()


def answered(caller: socket.socket) -> bool:
    poll = select.poll()
    poll.register(caller, select.POLLIN)
    return bool(poll.poll(0))


async def test_a_request_overtakes_a_flood_of_handshakes(tmp_path: Path, upstream: Upstream) -> None:
    """Of 400 ClientHellos that have arrived before a request, most are answered after it."""
    house = House(tmp_path)
    tls = {name: path for name, path in house.tls.items() if name != "client_ca"}
    async with serving(tmp_path, upstream, tls=tls, policies=[policy("honest", HONEST)]) as served:
        honest = await served.connect(ssl=house.client(), server_hostname="localhost")
        await honest.send(head(token=HONEST))
        await honest.response()
        host, _, port = served.traffic.rpartition(":")
        flood = [socket.create_connection((host, int(port)), 5, ("127.0.0.2", 0)) for _ in range(FLOOD)]
        said = hello(house)
        os.kill(served.process.pid, signal.SIGSTOP)
        for one in flood:
            one.sendall(said)
        await honest.send(head(token=HONEST))
        os.kill(served.process.pid, signal.SIGCONT)
        assert 200 == (await honest.response()).status
        before = sum(map(answered, flood))
        for one in flood:
            one.close()

    assert FLOOD / 2 > before
