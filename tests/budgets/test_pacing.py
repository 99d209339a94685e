"""`gateway.budgets.pacing`: requests wait for rate budget, fairly and not for long, or learn when to come back."""

import asyncio
import base64
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gateway.budgets.pacing import Lease, Pacer
from gateway.config.schema.gateway import Pacing
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Refused
from gateway.core.secret import Secret
from gateway.keys.keyring import Chosen
from gateway.telemetry.status import ShareStatus, moment
from tests.support.answer_fields import answer_fields
from tests.support.clock import Clock
from tests.support.deadline import eventually
from tests.support.in_process import Running, policy
from tests.support.raw_caller import head
from tests.support.recording import Arrival, answer
from tests.support.sentinels import KEY, TOKEN

Start = Callable[..., Any]
CHOSEN = Chosen("main", "1", Secret(KEY))
APP = Policy("app")
OTHER_TOKEN = "plgw_token-of-other-0123456789"


def pacer_at(clock: Clock) -> Pacer:
    return Pacer(clock=clock, wall=clock, chance=lambda: 0.0)


def told(limit: int, left: int, seconds: float) -> dict[str, str]:
    """The fields of an answer that says that so much is left for so many seconds from the test's start."""
    numbers = {"Limit": limit, "Remaining": left, "Reset": int(1000 + seconds)}
    return {f"X-RateLimit-{name}": str(number) for name, number in numbers.items()}


def spend(
    pacer: Pacer, lane: Lane = Lane.WRITE, *, left: int = 0, seconds: float = 3.0, limit: int = 60, of: Chosen = CHOSEN
) -> None:
    """Give the lane an answer with this limit, remainder and reset."""
    lease = pacer.take(of, lane, APP)
    assert lease is not None
    lease.answered(200, answer_fields(told(limit, left, seconds)))


def taken(pacer: Pacer, lane: Lane = Lane.WRITE, policy: Policy = APP) -> list[Lease]:
    """Everything that is available at once."""
    leases = []
    while (lease := pacer.take(CHOSEN, lane, policy)) is not None:
        leases.append(lease)
    return leases


def waiting(pacer: Pacer) -> int:
    """How many requests wait."""
    return sum(budget.waiting for budget in pacer.status().values())


async def waits(pacer: Pacer, count: int) -> None:
    """Until so many requests wait."""

    async def holds() -> bool:
        return count == waiting(pacer)

    await eventually(holds)


async def refusal(pacer: Pacer, lane: Lane = Lane.WRITE, **pacing: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await pacer.wait(CHOSEN, lane, APP, Pacing(**pacing))
    return caught.value


async def test_budget_that_is_there_is_taken_at_once() -> None:
    """A request does not wait, not even a turn of the loop, where its key has budget."""
    assert isinstance(pacer_at(Clock()).take(CHOSEN, Lane.READ, APP), Lease)


async def test_a_wait_that_would_be_in_vain_is_refused_at_once() -> None:
    """If the budget comes back later than a request may wait, the caller gets a refusal now with budget and time."""
    clock = Clock()
    pacer = pacer_at(clock)
    spend(pacer, seconds=40)
    clock.now += 0.5
    refused = await refusal(pacer, max_wait=5.0)

    assert Code.RATE_LIMITED is refused.code
    assert {
        "Retry-After": "40",
        "RateLimit-Policy": '"write";q=60;w=60;pk=:YXBw:',
        "RateLimit": '"write";r=0;t=40;pk=:YXBw:',
    } == dict(refused.headers)
    assert {
        "limit": 60,
        "window": "1m",
        "budget": "write",
        "caller": "app",
        "share": 60,
        "used": 1,
        "retry_after": 40,
    } == refused.details
    assert "key main" in refused.note


async def test_a_wait_ends_with_its_time() -> None:
    """What does not come within `max_wait`, because others do not give it back, is refused then."""
    pacer = pacer_at(Clock())
    spend(pacer, left=5, seconds=50)
    taken(pacer)
    refused = await refusal(pacer, max_wait=0.02)

    assert (Code.RATE_LIMITED, "50") == (refused.code, dict(refused.headers)["Retry-After"])
    assert 0 == waiting(pacer)


async def test_without_a_wait_a_request_is_refused_at_once() -> None:
    """`max_wait: 0s` switches waiting off."""
    pacer = pacer_at(Clock())
    spend(pacer, seconds=1)

    assert Code.RATE_LIMITED is (await refusal(pacer, max_wait=0.0)).code


async def test_without_a_wait_a_key_of_which_nothing_is_known_is_used() -> None:
    """Requests that may not wait for a window's first answer are sent, not refused without a reason."""
    pacer = pacer_at(Clock())

    assert pacer.take(CHOSEN, Lane.READ, APP) is not None
    assert isinstance(await pacer.wait(CHOSEN, Lane.READ, APP, Pacing(max_wait=0.0)), Lease)


@pytest.mark.parametrize("prefer", ["wait=1", 'respond-async, WAIT = "1"', "wait=1; x, handling=lenient"])
async def test_a_caller_may_prefer_a_shorter_wait(prefer: str) -> None:
    """`Prefer: wait=1` (RFC 7240 section 4.3) ends a longer wait, at once if its length is known."""
    pacer = pacer_at(Clock())
    spend(pacer, seconds=3)

    with pytest.raises(Refused):
        await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(), prefer)


@pytest.mark.parametrize("prefer", ["wait=100", "wait=soon", "waiting=1", "await=1", "wait=-1", "wait="])
async def test_a_caller_cannot_prefer_a_longer_wait(prefer: str) -> None:
    """`Prefer` cannot raise the wait above `max_wait`, and a value that is no number is ignored."""
    pacer = pacer_at(Clock())
    spend(pacer, seconds=40)

    with pytest.raises(Refused):
        await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(), prefer)


async def test_only_the_longest_line_feels_a_full_queue() -> None:
    """Past `max_queue` the caller that has most waiting loses its newest request; others get their place."""
    pacer = pacer_at(Clock())
    spend(pacer)
    greedy = [asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(max_queue=2))) for _ in range(2)]
    await waits(pacer, 2)
    refused = await refusal(pacer, max_queue=2)
    modest = asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, Policy("modest"), Pacing(max_queue=2)))
    with pytest.raises(Refused) as newest:
        await greedy[1]

    assert {(Code.OVERLOADED, "1")} == {(r.code, dict(r.headers)["Retry-After"]) for r in (refused, newest.value)}
    assert "max_queue" in refused.note
    assert [False, False] == [greedy[0].done(), modest.done()]
    greedy[0].cancel()
    modest.cancel()


async def test_a_full_queue_of_one_key_is_not_that_of_another() -> None:
    """However many wait for one key, `max_queue` requests can wait for another."""
    pacer, other = pacer_at(Clock()), Chosen("other", "1", Secret(KEY + "x"))
    spend(pacer)
    spend(pacer, of=other)
    first, second = (
        asyncio.create_task(pacer.wait(chosen, Lane.WRITE, APP, Pacing(max_queue=1))) for chosen in (CHOSEN, other)
    )
    await waits(pacer, 2)

    assert [False, False] == [first.done(), second.done()]
    first.cancel()
    second.cancel()


async def test_an_answer_lets_the_next_one_go() -> None:
    """A waiting request is sent as soon as an answer shows budget."""
    pacer = pacer_at(Clock())
    spend(pacer, left=2, seconds=30)
    lease = taken(pacer)[0]
    waiting = asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing()))
    await waits(pacer, 1)
    lease.answered(200, answer_fields(told(300, 299, 120)))

    assert isinstance(await waiting, Lease)


async def test_the_first_request_goes_alone_and_the_others_follow_its_answer() -> None:
    """After a restart one request shows the rest of the window; a spent window costs at most one 429."""
    pacer = pacer_at(Clock())
    first = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert first is not None
    others = [asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing())) for _ in range(3)]
    await waits(pacer, 3)
    first.answered(429, answer_fields(told(60, 0, 50) | {"Retry-After": "50"}))
    outcomes = await asyncio.gather(*others, return_exceptions=True)

    assert [Code.RATE_LIMITED] * 3 == [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]


async def test_a_slow_first_answer_does_not_hold_up_the_rest() -> None:
    """If the first answer takes long, more requests try: two after half a second, four after a whole one."""
    clock = Clock()
    pacer = pacer_at(clock)
    counts = [len(taken(pacer))]
    for _ in range(3):
        clock.now += 0.5
        counts.append(counts[-1] + len(taken(pacer)))

    assert [1, 2, 4, 8] == counts


@pytest.mark.slow
async def test_waiting_in_vain_ends_when_it_is_certain() -> None:
    """Requests that the new window has no room for are refused with its first answers, not when their time is over."""
    clock = Clock()
    pacer = pacer_at(clock)
    spend(pacer, seconds=3, limit=2)
    waiting = [asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing())) for _ in range(3)]
    await waits(pacer, 2)
    clock.now += 3
    first = await next(asyncio.as_completed(waiting[:2]))
    first.answered(200, answer_fields(told(2, 1, 63)))
    second = await waiting[1]
    second.answered(200, answer_fields(told(2, 0, 63)))
    clock.now += 1

    assert Code.RATE_LIMITED is (await refusal(pacer, max_wait=5.0)).code
    with pytest.raises(Refused):
        await waiting[2]


async def test_an_answer_that_shows_less_than_wait_is_told_at_once() -> None:
    """Of 704 that wait for the first answer of a key, those are refused with it that it leaves no room for.

    What is in flight may be given back. Once that is answered, only so many wait as fit into the next minute.
    """
    clock = Clock()
    pacer = pacer_at(clock)
    first = pacer.take(CHOSEN, Lane.READ, APP)
    assert first is not None
    crowd = [asyncio.create_task(pacer.wait(CHOSEN, Lane.READ, APP, Pacing(max_wait=5.3))) for _ in range(704)]
    await waits(pacer, 704)
    first.answered(200, answer_fields(told(100, 99, 4)))

    async def know(count: int) -> bool:
        return count == sum(task.done() for task in crowd)

    await eventually(lambda: know(704 - 199))
    for number, lease in enumerate([task.result() for task in crowd if task.done() and task.exception() is None]):
        lease.answered(200, answer_fields(told(100, 98 - number, 4)))
    await eventually(lambda: know(704 - 100))

    assert 505 == sum(task.done() and isinstance(task.exception(), Refused) for task in crowd)
    for task in crowd:
        task.cancel()


async def test_an_upload_is_not_refused_for_writes_that_wait() -> None:
    """The 30 uploads of a minute are not used up by 40 writes of the same caller that wait for the next."""
    pacer = pacer_at(Clock())
    spend(pacer)
    writes = [asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing())) for _ in range(40)]
    await waits(pacer, 40)
    upload = asyncio.create_task(pacer.wait(CHOSEN, Lane.UPLOAD, APP, Pacing()))
    await waits(pacer, 41)

    assert not upload.done()
    for task in (*writes, upload):
        task.cancel()


async def test_at_the_reset_those_who_wait_go() -> None:
    """The next minute begins without any answer."""
    pacer = Pacer()
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    lease.answered(429, answer_fields({"Retry-After": "0"}))

    assert isinstance(await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing()), Lease)


async def test_at_the_reset_nobody_waits_for_what_is_in_flight() -> None:
    """The next minute begins for waiting requests even while a slow request holds the last budget of this one."""
    pacer = Pacer(wall=lambda: 1000.9, chance=lambda: 0.0)
    spend(pacer, left=1, seconds=1)
    slow = pacer.take(CHOSEN, Lane.WRITE, APP)

    assert isinstance(await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(max_wait=2.0)), Lease)
    assert slow is not None


async def test_whoever_leaves_costs_nothing() -> None:
    """A caller that hangs up while it waits leaves the queue, and one that hangs up while it is served hands it on."""
    pacer = pacer_at(Clock())
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
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
    """A request that failed before its first byte costs nothing; one that may have arrived counts."""
    pacer = pacer_at(Clock())
    spend(pacer, left=5)
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    if left:
        lease.sent()
    lease.failed()

    assert rest == len(taken(pacer))


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
    spend(pacer, left=40, seconds=1)
    held = taken(pacer)
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
    """After a 429 the lane is empty for the time in Retry-After, or for a second if that is missing or malformed."""
    clock = Clock()
    pacer = pacer_at(clock)
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    lease.answered(429, answer_fields(told(60, 40, 50) | ({"Retry-After": text} if text else {})))

    clock.now += seconds - 0.01
    assert pacer.take(CHOSEN, Lane.WRITE, APP) is None
    clock.now += 0.02
    assert isinstance(pacer.take(CHOSEN, Lane.WRITE, APP), Lease)


@pytest.mark.parametrize(
    ("lane", "left", "seconds"),
    [(Lane.WRITE, 7, 60), (Lane.WRITE, 0, 4000), (Lane.UPLOAD, 7, 4000), (Lane.READ, 7, 60)],
)
async def test_one_endpoints_refusal_stops_a_lane_for_a_minute_at_most(lane: Lane, left: int, seconds: int) -> None:
    """A long Retry-After of one endpoint does not stop all callers for long; an empty key and uploads may be longer."""
    clock = Clock()
    pacer = pacer_at(clock)
    lease = pacer.take(CHOSEN, lane, APP)
    assert lease is not None
    lease.answered(429, answer_fields(told(77, left, 10) | {"Retry-After": "4000"}))

    clock.now += seconds - 0.01
    assert pacer.take(CHOSEN, lane, APP) is None
    clock.now += 0.02
    assert isinstance(pacer.take(CHOSEN, lane, APP), Lease)


async def test_the_distance_to_the_reset_is_that_of_the_upstreams_own_clock() -> None:
    """A gateway whose clock is an hour wrong waits the right time, because an answer's Date and reset share a clock."""
    clock = Clock()
    pacer = Pacer(clock=clock, wall=lambda: 999_999.0, chance=lambda: 0.0)
    lease = pacer.take(CHOSEN, Lane.WRITE, APP)
    assert lease is not None
    numbers = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "784111787"}
    lease.answered(200, answer_fields(numbers | {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}))
    clock.now += 9.9
    early = pacer.take(CHOSEN, Lane.WRITE, APP)
    clock.now += 0.1

    assert early is None
    assert isinstance(pacer.take(CHOSEN, Lane.WRITE, APP), Lease)


async def test_what_a_request_has_waited_before_counts() -> None:
    """A second try of a request waits no longer than is left of `max_wait`."""
    pacer = pacer_at(Clock())
    spend(pacer, seconds=3)

    with pytest.raises(Refused):
        await pacer.wait(CHOSEN, Lane.WRITE, APP, Pacing(max_wait=5.0), waited=2.5)


async def test_the_status_shows_whose_the_budget_is() -> None:
    """The status shows for each key and lane: limit, left, lowest, reset, forecast, queue and each caller's share."""
    clock = Clock()
    pacer = pacer_at(clock)
    spend(pacer, left=2, seconds=30)
    taken(pacer)
    other = asyncio.create_task(pacer.wait(CHOSEN, Lane.WRITE, Policy("other", weight=2), Pacing(max_wait=60.0)))
    await waits(pacer, 1)
    shown = pacer.status()["main", "write"]
    other.cancel()

    assert (60, 0, moment(1030), 2, 1) == (shown.limit, shown.remaining, shown.reset, shown.lowest, shown.waiting)
    assert shown.expected > 0
    assert (ShareStatus("app", 1, 20, 3, 0), ShareStatus("other", 2, 40, 0, 1)) == shown.callers


async def test_a_modest_caller_goes_before_the_backlog_of_a_greedy_one() -> None:
    """Twenty requests that come after a thousand of another caller are the next twenty."""
    pacer = pacer_at(Clock())
    spend(pacer, left=60, seconds=1, limit=100)
    held = taken(pacer, policy=Policy("greedy"))
    went: list[str] = []

    async def one(policy: Policy) -> None:
        lease = await pacer.wait(CHOSEN, Lane.WRITE, policy, Pacing(max_wait=60.0, max_queue=2000))
        went.append(policy.caller)
        assert lease is not None

    tasks = [asyncio.create_task(one(Policy("greedy"))) for _ in range(1000)]
    await waits(pacer, 160)
    tasks += [asyncio.create_task(one(Policy("modest"))) for _ in range(20)]
    await waits(pacer, 180)
    for lease in held[:30]:
        lease.released()

    async def served() -> bool:
        return 30 == len(went)

    await eventually(served)
    for task in tasks:
        task.cancel()

    assert ["modest"] * 20 == went[:20]


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
    # Up to a second more, because the reset is one of whole seconds, and up to 0.2 s, by which replicas spread.
    assert 30 <= int(refused.get("retry-after")) <= 32
    details = refused.json["error"]["details"]
    assert ("write", "app", 60, 1) == tuple(details[name] for name in ("budget", "caller", "share", "used"))
    assert 200 == read.status
    assert 2 == len(run.upstream.arrivals)
    assert ("allow", "gateway", "main", "write") == (line["decision"], line["source"], line["key"], line["lane"])


@pytest.mark.slow
async def test_a_request_waits_for_the_reset_and_goes(start: Start) -> None:
    """In a spent minute a caller only waits longer for its answer; log and metrics show why."""
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
    """A waiting request holds no upstream connection and no large body; if its caller leaves, it is dropped."""
    run = await start(pacing={"max_wait": "30s"}, upstream={"max_connections": 1})
    run.upstream.reply = limited(0, 20)
    await write(run)
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 500000", "Expect: 100-continue"))

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
    """The caller that met the 429 gets it unchanged; the next one is refused without asking Productlane."""
    run = await start(pacing={"max_wait": "0s"})
    run.upstream.reply = limited(40, 30, 60, 429, "Retry-After: 7")
    relayed = await write(run)
    refused = await write(run)

    assert (429, "7", "upstream") == (relayed.status, relayed.get("retry-after"), (await run.lines(1))[0]["source"])
    assert (429, "7") == (refused.status, refused.get("retry-after"))
    assert 1 == len(run.upstream.arrivals)


@pytest.mark.slow
async def test_a_read_is_repeated_once_after_a_429_that_is_soon_over(start: Start) -> None:
    """A GET is resent once and counted if its Retry-After fits into the wait; a write never is."""
    run = await start()
    run.upstream.reply = limited(40, 30, 60, 429, "Retry-After: 1")
    written = await write(run)
    read = asyncio.create_task(run.ask())
    await run.upstream.until(lambda: len(run.upstream.arrivals) == 2)
    run.upstream.reply = limited(59, 60)

    assert (429, 200) == (written.status, (await read).status)
    assert ["POST", "GET", "GET"] == [arrival.method for arrival in run.upstream.arrivals]
    assert 1.0 == await run.metric("upstream_retries_total", reason="rate_limited")


@pytest.mark.slow
async def test_a_read_is_repeated_no_more_than_once(start: Start) -> None:
    """A 429 to the second try is relayed, and so is one that would take longer than the request may wait."""
    run = await start(pacing={"max_wait": "3s"})
    run.upstream.reply = limited(40, 30, 60, 429, "Retry-After: 1")
    twice = await run.ask()
    run.upstream.reply = limited(40, 30, 60, 429, "Retry-After: 7")
    once = await run.ask()

    assert (429, "1", 429, "7") == (twice.status, twice.get("retry-after"), once.status, once.get("retry-after"))
    assert 3 == len(run.upstream.arrivals)


async def test_every_answer_tells_the_callers_own_share(start: Start) -> None:
    """`RateLimit` and `RateLimit-Policy` describe the caller's budget, not the key's, on answers and refusals."""
    run = await start(
        policies=[policy("heavy", TOKEN, weight=3), policy("light", OTHER_TOKEN)], pacing={"max_wait": "0s"}
    )
    run.upstream.reply = limited(58, 30)
    first = await write(run)
    second = await write(run, token=OTHER_TOKEN)
    run.upstream.reply = limited(0, 30)
    await write(run)
    refused = await write(run)

    heavy, light = (f";pk=:{base64.b64encode(name).decode()}:" for name in (b"heavy", b"light"))
    policies = [answer.get("ratelimit-policy") for answer in (first, second, refused)]
    assert [f'"write";q=60;w=60{heavy}', f'"write";q=15;w=60{light}', f'"write";q=45;w=60{heavy}'] == policies
    for answered, left in ((first, 58), (second, 58), (refused, 0)):
        told = re.fullmatch(r'"write";r=([0-9]+);t=([0-9]+);pk=:[A-Za-z]+=*:', answered.get("ratelimit"))
        assert told is not None
        assert int(told[1]) <= left
        assert 29 <= int(told[2]) <= 32
    assert 429 == refused.status


async def test_a_caller_that_prefers_not_to_wait_does_not(start: Start) -> None:
    """`Prefer: wait=0` is answered at once where another request would wait."""
    run = await start(pacing={"max_wait": "30s"})
    run.upstream.reply = limited(0, 20)
    await write(run)

    assert 429 == (await run.ask("POST", "/api/v2/threads", "Prefer: wait=0", body=b"{}")).status


async def test_a_body_that_never_came_costs_no_budget(start: Start) -> None:
    """The budget is returned if the caller leaves before its request is sent."""
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


@pytest.mark.slow
async def test_callers_share_by_weight(start: Start) -> None:
    """`weight` in a policy sets the share: of eight requests sent, six belong to the caller with weight 3."""
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
    """An upstream that states a limit of 0 is still asked, since no minute would end it."""
    lines = ("X-RateLimit-Limit: 0", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 9999999999")
    run.upstream.reply = answer(fields=lines)

    assert [200, 200] == [(await run.ask()).status, (await run.ask()).status]
