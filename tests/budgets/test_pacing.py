"""`gateway.budgets.pacing`: requests wait for rate budget, fairly and not for long, or are told when to come back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gateway.budgets.pacing import Lease, Pacer
from gateway.config.schema.gateway import Pacing
from gateway.core.budget import Budget
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Refused
from gateway.core.secret import Secret
from gateway.keys.keyring import Chosen
from tests.support.kit import KEY, TOKEN, Arrival, Running, answer, eventually, head, policy

Start = Callable[..., Any]
CHOSEN = Chosen("main", "1", Secret(KEY))
APP = Policy("app")
OTHER_TOKEN = "plgw_token-of-other-0123456789"


class Clock:
    """Both clocks of a pacer, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pacer_at(clock: Clock) -> Pacer:
    return Pacer(clock=clock, wall=clock)


def spend(pacer: Pacer, lane: Lane = Lane.WRITE, *, left: int = 0, seconds: float = 3.0, limit: int = 60) -> None:
    """Let an answer say that so much is left for so many seconds."""
    lease = pacer.take(CHOSEN, lane, APP)
    assert lease is not None
    lease.answered(200, Budget(limit, left, int(1000 + seconds)), {})


async def waits(pacer: Pacer, count: int) -> None:
    """Until so many requests wait."""

    async def holds() -> bool:
        return count == sum(length for _, _, length in pacer.waiting())

    await eventually(holds)


async def refusal(pacer: Pacer, lane: Lane = Lane.WRITE, **pacing: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await pacer.wait(CHOSEN, lane, APP, Pacing(**pacing))
    return caught.value


async def test_budget_that_is_there_is_taken_at_once() -> None:
    """A request does not wait, not even a turn of the loop, where its key has budget."""
    assert isinstance(pacer_at(Clock()).take(CHOSEN, Lane.READ, APP), Lease)


async def test_a_wait_that_would_be_in_vain_is_refused_at_once() -> None:
    """Where the budget comes back later than a request may wait, its caller learns so now, and when that is."""
    clock = Clock()
    pacer = pacer_at(clock)
    spend(pacer, seconds=40)
    clock.now += 0.5
    refused = await refusal(pacer, max_wait=5.0)

    assert Code.RATE_LIMITED is refused.code
    assert (("Retry-After", "40"),) == refused.headers
    assert {"limit": 60, "window": "1m"} == refused.details
    assert "key main" in refused.note


async def test_a_wait_ends_with_its_time() -> None:
    """What does not come within `max_wait`, because others do not give it back, is refused then."""
    pacer = pacer_at(Clock())
    while pacer.take(CHOSEN, Lane.WRITE, APP):
        pass
    refused = await refusal(pacer, max_wait=0.02)

    assert (Code.RATE_LIMITED, (("Retry-After", "1"),)) == (refused.code, refused.headers)
    assert {0} == {length for _, _, length in pacer.waiting()}


async def test_without_a_wait_a_request_is_refused_at_once() -> None:
    """`max_wait: 0s` switches waiting off."""
    pacer = pacer_at(Clock())
    spend(pacer, seconds=1)

    assert Code.RATE_LIMITED is (await refusal(pacer, max_wait=0.0)).code


async def test_no_more_wait_than_may() -> None:
    """Past `max_queue` a request is refused as overload: the queue cannot grow without end."""
    pacer = pacer_at(Clock())
    spend(pacer)
    first = asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(max_queue=1)))
    await waits(pacer, 1)
    refused = await refusal(pacer, max_queue=1)
    first.cancel()

    assert (Code.OVERLOADED, (("Retry-After", "1"),)) == (refused.code, refused.headers)
    assert "max_queue" in refused.note


async def test_an_answer_lets_the_next_one_go() -> None:
    """Whoever waits goes as soon as an answer says that there is budget after all."""
    pacer = pacer_at(Clock())
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    while pacer.take(CHOSEN, Lane.WRITE, APP):
        pass
    waiting = asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing()))
    await waits(pacer, 1)
    assert lease is not None
    lease.answered(200, Budget(300, 299, 1030), {})

    assert isinstance(await waiting, Lease)


async def test_at_the_reset_those_who_wait_go(start: Start) -> None:
    """Nobody has to answer for the next minute to begin."""
    pacer = Pacer()
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    lease.answered(429, None, {"Retry-After": "0"})
    pool = pacer._pools[CHOSEN.secret.fingerprint][Lane.WRITE]
    pool.budget.block(Lane.WRITE, time.monotonic(), 0.1)

    assert isinstance(await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing()), Lease)


async def test_at_the_reset_nobody_waits_for_what_is_in_flight() -> None:
    """The next minute begins for those who wait even where a slow request holds the last of this one."""
    pacer = Pacer(wall=lambda: 1000.9)
    spend(pacer, left=1, seconds=1)
    slow = pacer.take(CHOSEN, Lane.WRITE, APP)

    assert isinstance(await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(max_wait=2.0)), Lease)
    assert slow is not None


async def test_whoever_leaves_costs_nothing() -> None:
    """A caller that hangs up while it waits leaves the queue, and one that hangs up while it is served hands it on."""
    pacer = pacer_at(Clock())
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    while pacer.take(CHOSEN, Lane.WRITE, APP):
        pass
    leaving, served, next_one = (asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing())) for _ in range(3))
    await waits(pacer, 3)
    leaving.cancel()
    await waits(pacer, 2)
    assert lease is not None
    lease.released()
    served.cancel()  # It has been given the budget, and has not run since.

    assert isinstance(await next_one, Lease)
    assert served.cancelled()


@pytest.mark.parametrize(("left", "rest"), [(False, 5), (True, 4)])
async def test_a_request_costs_what_it_may_have_cost_upstream(left: bool, rest: int) -> None:
    """What broke off before a byte of it was sent costs nothing; what may have arrived is taken to have."""
    clock = Clock()
    pacer = pacer_at(clock)
    spend(pacer, left=5)
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    if left:
        lease.sent()
    lease.failed()
    taken = []
    while (another := pacer.take(CHOSEN, Lane.WRITE, APP)) is not None:
        taken.append(another)

    assert rest == len(taken)


async def test_nobody_overtakes_those_who_wait() -> None:
    """A request that comes just as budget is there again does not take it from those who have waited."""
    clock = Clock()
    pacer = pacer_at(clock)
    spend(pacer, seconds=3)
    waiting = asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing()))
    await waits(pacer, 1)
    clock.now += 3

    assert pacer.take(CHOSEN, Lane.WRITE, APP) is None
    waiting.cancel()


async def test_shares_are_as_the_weights() -> None:
    """Of a contended key, a caller of weight 3 gets three times what one of weight 1 gets."""
    pacer = pacer_at(Clock())
    held = []
    while lease := pacer.take(CHOSEN, Lane.WRITE, APP):
        held.append(lease)
    got: Counter[str] = Counter()

    async def one(caller: Policy) -> None:
        lease = await pacer.wait(CHOSEN, Lane.WRITE, caller, Pacing(max_wait=60.0))
        got[caller.caller] += 1
        assert lease is not None

    callers = [Policy("heavy", weight=3), Policy("light")] * 40
    tasks = [asyncio.create_task(one(caller)) for caller in callers]
    await waits(pacer, 80)
    for lease in held[:40]:
        lease.released()

    async def served() -> bool:
        return 40 == got.total()

    await eventually(served)
    for task in tasks:
        task.cancel()

    assert {"heavy": 30, "light": 10} == dict(got)


async def test_reads_never_wait_behind_writes() -> None:
    """However many writes wait, reads go."""
    pacer = pacer_at(Clock())
    spend(pacer)
    writes = [asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing())) for _ in range(5)]
    await waits(pacer, 5)

    assert isinstance(pacer.take(CHOSEN, Lane.READ, APP), Lease)
    for write in writes:
        write.cancel()


async def test_uploads_that_wait_hold_up_no_write() -> None:
    """With uploads used up, messages still go out, past the uploads that wait."""
    pacer = pacer_at(Clock())
    spend(pacer, Lane.UPLOAD, limit=30)
    upload = asyncio.create_task(pacer.wait(CHOSEN, Lane.UPLOAD, APP, Pacing()))
    await waits(pacer, 1)

    assert isinstance(await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing()), Lease)
    upload.cancel()


async def test_budgets_are_of_secrets() -> None:
    """While a key rotates, what its old secret has used up does not stop the new one; forgotten ones leave nothing."""
    pacer = pacer_at(Clock())
    spend(pacer)
    other = Chosen("main", "2", Secret(KEY + "x"))

    assert pacer.take(CHOSEN, Lane.WRITE, APP) is None
    assert isinstance(pacer.take(other, Lane.WRITE, APP), Lease)
    pacer.keep([other.secret])
    assert isinstance(pacer.take(CHOSEN, Lane.WRITE, APP), Lease)


@pytest.mark.parametrize(("text", "seconds"), [("7", 7), ("", 1), ("soon", 1), ("-5", 1), ("99999999999", 1)])
async def test_a_refusal_of_the_upstream_is_heeded(text: str, seconds: int) -> None:
    """After a 429 the lane is empty for as long as Retry-After says, and a second where it says nothing sensible."""
    clock = Clock()
    pacer = pacer_at(clock)
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    lease.answered(429, Budget(60, 40, 1050), {"Retry-After": text} if text else {})

    clock.now += seconds - 0.01
    assert pacer.take(CHOSEN, Lane.WRITE, APP) is None
    clock.now += 0.02
    assert isinstance(pacer.take(CHOSEN, Lane.WRITE, APP), Lease)


# The same through a whole gateway.


def limited(left: int, seconds: float, limit: int = 60, status: int = 200, *fields: str) -> bytes:
    """An answer with rate-limit fields; the reset is this many seconds from now, rounded up to a whole one."""
    reset = int(time.time() + seconds) + 1
    told = (f"X-RateLimit-Limit: {limit}", f"X-RateLimit-Remaining: {left}", f"X-RateLimit-Reset: {reset}")
    return answer(status, fields=("Content-Type: application/json", *told, *fields))


async def queue_is(run: Running, length: int) -> bool:
    """Whether so many writes wait for budget."""
    return length == int(await run.metric("pacing_queue_length", key="main", lane="write"))


async def write(run: Running, **parts: Any) -> Any:
    return await run.ask("POST", "/api/v2/threads", body=b"{}", **parts)


async def test_a_spent_key_is_told_with_its_reset(start: Start) -> None:
    """The 429 of the gateway has Productlane's envelope, an exact Retry-After, and cost no call upstream."""
    run = await start(pacing={"max_wait": "0s"})
    run.upstream.reply = limited(0, 30)
    await write(run)
    refused, read = await write(run), await run.ask()
    line = (await run.lines(3))[1]

    assert (429, "rate_limited") == (refused.status, refused.code)
    assert 29 <= int(refused.get("retry-after")) <= 31
    assert {"limit": 60, "window": "1m"} == refused.json["error"]["details"]
    assert 200 == read.status
    assert 2 == len(run.upstream.arrivals)
    assert ("allow", "gateway", "main", "write") == (line["decision"], line["source"], line["key"], line["lane"])


async def test_a_request_waits_for_the_reset_and_goes(start: Start) -> None:
    """A caller does not notice more of a spent minute than that its answer takes longer; log and metrics tell."""
    run = await start()
    run.upstream.reply = limited(0, 1.0)
    await write(run)
    run.upstream.reply = limited(59, 60.0)
    response = await write(run)
    line = (await run.lines(2))[1]

    assert 200 == response.status
    assert line["wait_ms"] > 0
    assert 1.0 == await run.metric("pacing_wait_seconds_count", lane="write")
    assert 59.0 == await run.metric("budget_remaining", key="main", lane="write")


async def test_a_caller_that_waits_holds_nothing(start: Start) -> None:
    """While it waits no connection upstream is taken and its body is not asked for; gone, it leaves the queue."""
    run = await start(pacing={"max_wait": "30s"}, upstream={"max_connections": 1})
    run.upstream.reply = limited(0, 20)
    await write(run)
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 4", "Expect: 100-continue"))

    await eventually(lambda: queue_is(run, 1))
    read = await run.ask()
    await caller.close()
    await eventually(lambda: queue_is(run, 0))

    assert 200 == read.status
    assert ["POST", "GET"] == [arrival.method for arrival in run.upstream.arrivals]


async def test_what_never_left_costs_no_budget(start: Start) -> None:
    """Callers that hang up while all connections to Productlane are in use have spent nothing of their key."""
    run = await start(pacing={"max_wait": "0s"}, upstream={"max_connections": 1})
    run.upstream.reply = limited(3, 30)
    await write(run)
    release = asyncio.Event()

    async def hold(_arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(answer())

    async def in_hand(count: int) -> bool:
        return count == int(await run.metric("in_flight_requests"))

    run.upstream.reply = hold
    holding = asyncio.create_task(write(run))
    await run.upstream.until(lambda: len(run.upstream.arrivals) == 2)
    leavers = [await run.connect() for _ in range(2)]
    for leaver in leavers:
        await leaver.send(head("POST", "/api/v2/threads", "Content-Length: 2") + b"{}")
    await eventually(lambda: in_hand(3))
    for leaver in leavers:
        await leaver.close()
    await eventually(lambda: in_hand(1))
    release.set()

    assert [200, 200] == [(await holding).status, (await write(run)).status]


async def test_a_body_that_is_too_large_does_not_wait(start: Start) -> None:
    """A request that will be refused anyway is refused now, and takes no budget."""
    run = await start(limits={"body": {"write": 10}})
    run.upstream.reply = limited(0, 20)
    await write(run)

    assert 413 == (await run.ask("POST", "/api/v2/threads", body=b"x" * 11)).status


async def test_a_refusal_of_the_upstream_is_relayed_and_heeded(start: Start) -> None:
    """The caller that met the 429 gets it as it came; the next one is spared the way."""
    run = await start(pacing={"max_wait": "0s"})
    run.upstream.reply = limited(40, 30, 60, 429, "Retry-After: 7")
    relayed = await write(run)
    refused = await write(run)

    assert (429, "7", "upstream") == (relayed.status, relayed.get("retry-after"), (await run.lines(1))[0]["source"])
    assert (429, "7") == (refused.status, refused.get("retry-after"))
    assert 1 == len(run.upstream.arrivals)


async def test_a_body_that_never_came_costs_no_budget(start: Start) -> None:
    """Budget is given back where the caller leaves before its request could be sent."""
    run = await start(pacing={"max_wait": "0s"})
    run.upstream.reply = limited(1, 20)
    await write(run)
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 4", "Expect: 100-continue"))
    await caller.response()
    await caller.close()
    await run.lines(2)

    assert 200 == (await write(run)).status


async def test_an_upstream_that_cannot_be_reached_costs_no_budget(start: Start) -> None:
    """An outage does not use the minute up, so that callers go on at once when it is over."""
    run = await start(pacing={"max_wait": "0s"})
    run.upstream.reply = limited(1, 20)
    await write(run)
    await run.upstream.stop()
    await run.upstream.until(lambda: run.upstream.open == 0)
    down = [(await write(run)).code for _ in range(3)]

    assert "rate_limited" not in down[1:]


async def test_callers_share_by_weight(start: Start) -> None:
    """`weight` in a policy is its share: of eight that go, six are of the caller with weight 3."""
    run = await start(
        policies=[policy("heavy", TOKEN, weight=3), policy("light", OTHER_TOKEN)], pacing={"max_wait": "20s"}
    )
    went: list[bytes] = []

    async def keep_waiting(arrival: Arrival, _: asyncio.StreamWriter) -> None:
        went.append(arrival.body)
        await asyncio.Event().wait()

    run.upstream.reply = limited(0, 3, 8)
    await write(run)
    run.upstream.reply = keep_waiting
    both = [(b"heavy", TOKEN), (b"light", OTHER_TOKEN)] * 8
    tasks = [asyncio.create_task(run.ask("POST", "/api/v2/threads", body=name, token=token)) for name, token in both]
    await eventually(lambda: queue_is(run, 16))
    await run.upstream.until(lambda: len(went) == 8)
    still_waiting = await run.metric("pacing_queue_length", key="main", lane="write")
    for task in tasks:
        task.cancel()

    assert {b"heavy": 6, b"light": 2} == Counter(went)
    assert 8.0 == still_waiting


async def test_a_limit_of_nothing_stops_nobody(run: Running) -> None:
    """An upstream that tells a limit of 0, which no minute would end, is still asked."""
    lines = ("X-RateLimit-Limit: 0", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 9999999999")
    run.upstream.reply = answer(fields=lines)

    assert [200, 200] == [(await run.ask()).status, (await run.ask()).status]
