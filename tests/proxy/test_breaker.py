"""An upstream that has stopped answering is not asked for each request, and is used again as soon as it answers."""

import asyncio
import json

from gateway.core.breaker import FAILURES
from tests.support.deadline import eventually
from tests.support.in_process import Running
from tests.support.raw_caller import Response
from tests.support.recording import Arrival, answer, error


def drops(_arrival: Arrival, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def post(run: Running) -> Response:
    return await run.ask("POST", "/api/v2/threads", body=b"{}")


async def test_an_upstream_that_does_not_answer_is_left_alone(run: Running) -> None:
    """After ten failures in a row callers get an error at once, with `Retry-After`; log and metrics agree."""
    run.upstream.reply = drops
    failed = [await post(run) for _ in range(FAILURES)]
    asked = len(run.upstream.arrivals)
    response = await post(run)

    assert [(502, "upstream_broken")] * FAILURES == [(one.status, one.code) for one in failed]
    assert (503, "circuit_open", "1") == (response.status, response.code, response.get("retry-after"))
    assert "10 requests in a row" in str(response.get("proxy-status"))
    assert asked == len(run.upstream.arrivals)
    assert 1 == await run.metric("circuit_state")
    assert "circuit_open" == (await run.lines(FAILURES + 1))[-1]["code"]


async def test_whoever_was_not_asked_took_no_time(run: Running) -> None:
    """A request that the open circuit kept back has no time upstream, in the log or in the chart of Productlane's."""
    run.upstream.reply = drops
    for _ in range(FAILURES + 1):
        await post(run)
    times = [line["upstream_ms"] for line in await run.lines(FAILURES + 1)]

    assert [False] * FAILURES + [True] == [time is None for time in times]
    assert FAILURES == await run.metric("upstream_duration_seconds_count")


async def test_it_is_used_again_once_it_answers(run: Running) -> None:
    """Any answer to a probe closes the circuit for all callers; the log has one event for each change."""
    run.upstream.reply = drops
    for _ in range(FAILURES):
        await post(run)
    run.upstream.reply = error(500, "internal_error")

    async def answered() -> bool:
        return (await post(run)).status == 500

    await eventually(answered)
    run.upstream.reply = answer()
    after = [(await post(run)).status for _ in range(3)]

    async def logged() -> list[str]:
        lines = (await asyncio.to_thread(run.log_file.read_text)).splitlines()
        events = [str(json.loads(line).get("event")) for line in lines]
        return [event for event in events if event.startswith("circuit")]

    async def both() -> bool:
        return len(await logged()) > 1

    await eventually(both)

    assert [200] * 3 == after
    assert ["circuit_open", "circuit_closed"] == await logged()
    assert 0 == await run.metric("circuit_state")


async def test_errors_of_productlane_do_not_count(run: Running) -> None:
    """An upstream that answers 500 or breaks off in the middle is reachable, so the circuit stays closed."""
    run.upstream.reply = error(500, "internal_error")
    errors = [(await post(run)).status for _ in range(FAILURES + 1)]
    run.upstream.reply = b"HTTP/1.1 nonsense\r\n\r\n"
    broken = [(await post(run)).status for _ in range(FAILURES + 1)]

    assert [500] * (FAILURES + 1) == errors
    assert [502] * (FAILURES + 1) == broken
    assert 0 == await run.metric("circuit_state")
