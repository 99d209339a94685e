"""Callers that lose their credential while connected, and the peer that the log names for a refusal."""

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.certs import ID, Authority
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.sentinels import TOKEN
from tests.support.tls import House, connect, refused, spiffe_policy


async def test_a_connection_ends_when_its_authority_is_withdrawn(start: Callable[..., Any], tmp_path: Path) -> None:
    """A caller whose client CA was taken out of `client_ca` gets one more answer, and cannot come back.

    A caller of the authority that is left is served before and after, on its connection.
    """
    house, second = House(tmp_path), Authority()
    run = await start(
        live=True,
        tls=house.tls,
        callers={"trusted_spiffe_domain": "cluster.local"},
        policies=[spiffe_policy("pod"), spiffe_policy("other", f"{ID}-2")],
    )
    leaving = await connect(run, house.client(house.callers.issue(ID)))
    await leaving.send(head(token=None))
    assert 200 == (await leaving.response()).status

    second.write(house.ca)
    await run.events("reload", outcome="success")
    await leaving.send(head(token=None))
    last = await leaving.response()

    assert (200, "close") == (last.status, last.get("connection"))
    assert b"" == await leaving.closed()
    assert await refused(run, house.client(house.callers.issue(ID)))
    house.callers = second
    staying = await connect(run, house.client(second.issue(f"{ID}-2")))
    for _ in range(2):
        await staying.send(head(token=None))
        assert 200 == (await staying.response()).status


async def test_a_body_that_comes_after_the_last_day_goes_nowhere(start: Callable[..., Any]) -> None:
    """A write that was allowed on the last day of its policy, and whose body comes on the next, is refused unsent."""
    now = [datetime.datetime(2026, 12, 31, 23, 59, 59, tzinfo=datetime.UTC).timestamp()]
    run = await start(policies=[policy(expires="2027-01-01")], clock=lambda: now[0])
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 2", "Expect: 100-continue"))
    assert 100 == (await caller.response()).status
    now[0] += 1
    await caller.send(b"{}")

    assert 403 == (await caller.response()).status
    assert not run.upstream.arrivals


async def test_the_log_says_who_was_at_the_other_end(start: Callable[..., Any], tmp_path: Path) -> None:
    """Each log line has the caller's address, or the process's user on a unix socket, for refusals too."""
    over_tcp = await start()
    await over_tcp.ask(token="wrong")
    await over_tcp.ask(token=TOKEN)
    assert ["127.0.0.1"] * 2 == [line["peer"] for line in await over_tcp.lines(2)]

    users = [policy("app") | {"authenticate": {"unix_uids": [os.getuid() + 1]}}]
    over_unix = await start(listen=f"unix:{tmp_path}/gw", policies=users)
    answer = await over_unix.ask(token=None)
    (line,) = await over_unix.lines(1)
    assert (401, f"uid {os.getuid()}") == (answer.status, line["peer"])
    assert f"of user {os.getuid()}, which no policy lists" in line["note"]
