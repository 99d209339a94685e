"""Callers that come in bursts and leave in bursts, or change who they are on a connection that stays open."""

import time

from tests.support.deadline import eventually
from tests.support.honest import ATTACKER, HONEST, asks, attacked, opened
from tests.support.raw_caller import head
from tests.support.recording import Upstream, answer
from tests.support.served import Served

LARGE = ("POST", "/api/v2/threads", "Content-Length: 100000")


async def nothing_is_held(served: Served) -> bool:
    """Whether no request is in flight and none waits for budget, as the metrics have it."""
    counted = (await served.ask_admin("/metrics")).body.decode().splitlines()
    held = [line for line in counted if "_in_flight_requests" in line or "_pacing_queue_length" in line]
    return all(line.endswith(" 0") for line in held if not line.startswith("#"))


async def test_bursts_of_requests_that_are_given_up_hold_nothing(served: Served, upstream: Upstream) -> None:
    """Hundreds of requests whose callers leave, before an answer or within a body, hold no place and no lease."""
    fields = ("X-RateLimit-Limit: 300", "X-RateLimit-Remaining: 190", f"X-RateLimit-Reset: {int(time.time()) + 60}")
    upstream.reply = answer(fields=fields)
    assert {200} == await asks(served, 1)
    for data in (head(token=ATTACKER), head(*LARGE, token=ATTACKER) + b"x" * 70_000):
        upstream.reply = upstream.hang
        callers = [await opened(served, data) for _ in range(180)]
        # Answered from what is known, behind those that came before it.
        assert 200 == (await served.ask("/api/v2/me")).status
        for caller in callers:
            caller.writer.transport.abort()
        await eventually(lambda: nothing_is_held(served))
        upstream.reply = answer()

        assert {200} == await asks(served, 5)
        assert 200 == (await attacked(served, head(token=ATTACKER))).status
        assert {200} == await asks(served, 5, method="POST", body=b"{}")


async def test_each_request_of_a_connection_is_judged_by_its_own_token(served: Served) -> None:
    """On one connection, the same target with another token, or in other letters, is another caller's, or nobody's."""
    asked = [
        (ATTACKER, "/api/v2/threads", 200, "attacker"),
        (HONEST, "/api/v2/threads", 200, "honest"),
        ("wrong", "/api/v2/threads", 401, "-"),
        (ATTACKER.upper(), "/api/v2/threads", 401, "-"),
        (HONEST, "/api/v2/THREADS", 404, "honest"),
        (ATTACKER, "/api/v2/threads", 200, "attacker"),
    ]
    caller = await served.connect()
    for token, target, status, _ in asked:
        await caller.send(head("GET", target, token=token))
        assert status == (await caller.response()).status

    async def told() -> bool:
        lines = [line for line in served.lines() if "status" in line]
        return [name for *_, name in asked] == [line["caller"] for line in lines]

    await eventually(told)
