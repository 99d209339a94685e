"""Which answers of `/me` are remembered, for how long, and how many requests that takes."""

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import unused_port
from yarl import URL

from gateway.core.key_faults import KeyFault
from gateway.keys.cached import name_of
from gateway.keys.identity import Identities, Known
from gateway.telemetry.event import Event
from gateway.telemetry.events.keys import IdentityLookup, StoreFault
from tests.support.clock import Clock
from tests.support.me_upstream import A, B, C, Productlane, asking, me_settings
from tests.support.stores import MemoryStore
from tests.support.turns import ready_have_run


def scopes(known: Known) -> set[str] | None:
    return None if known.identity is None else set(known.identity.scopes)


async def test_the_answer_of_one_is_never_given_to_another(productlane: Productlane, clock: Clock) -> None:
    """Each secret gets its own identity, asked for together or after one another, from memory or from the storage."""
    productlane.scopes = {A.reveal(): ["docs:read"], B.reveal(): ["admin"]}
    storage = MemoryStore()
    for _ in range(2):
        async with asking(productlane.url, clock, store=storage) as identities:
            for _ in range(2):
                both = await asyncio.gather(identities.lookup("a", A), identities.lookup("b", B))

                assert [{"docs:read"}, {"admin"}] == [scopes(known) for known in both]
                assert ["key_aaaa", "key_bbbb"] == [known.identity.api_key_id for known in both if known.identity]
    assert sorted([A.reveal(), B.reveal()]) == sorted(productlane.bearers)


async def test_an_identity_is_asked_for_once_in_its_time(productlane: Productlane, clock: Clock) -> None:
    """Within `ttl` it is remembered with its age; at its end it is asked for again."""
    async with asking(productlane.url, clock) as identities:
        start = clock.now
        results = []
        for clock.now in (start, start + 59.5, start + 60):
            known = await identities.lookup("k", A)
            results.append((known.result, known.age))

    assert [("miss", 0.0), ("hit", 59.5), ("miss", 0.0)] == results
    assert 2 == len(productlane.asked)


async def test_the_fast_path_asks_nothing(productlane: Productlane, clock: Clock) -> None:
    """`peek` returns a fresh identity only, and never asks."""
    async with asking(productlane.url, clock) as identities:
        cold = identities.peek(A)
        known = await identities.lookup("k", A)
        clock.now += 59
        warm = identities.peek(A)
        clock.now += 1
        expired = identities.peek(A)

    assert (None, None) == (cold, expired)
    assert known._replace(age=59.0, result="hit") == warm
    assert 1 == len(productlane.asked)


@pytest.mark.parametrize(("status", "fault"), [(401, KeyFault.REJECTED), (410, KeyFault.UNSUPPORTED)])
async def test_a_refusal_is_remembered_for_its_own_time(
    status: int, fault: KeyFault, productlane: Productlane, clock: Clock
) -> None:
    """A refused secret is not asked about again within `refused_ttl`; after it, a secret that came back is taken."""
    productlane.status = status
    async with asking(productlane.url, clock) as identities:
        first = await identities.lookup("k", A)
        clock.now += 9.9
        second, peeked = await identities.lookup("k", A), identities.peek(A)
        asked = len(productlane.asked)
        productlane.status = 200
        clock.now += 0.1
        third = await identities.lookup("k", A)

    assert Known(None, fault, 0.0, "refused") == first
    assert first._replace(age=second.age) == second == peeked
    assert 9.9 == pytest.approx(second.age)
    assert (1, "miss") == (asked, third.result)


async def test_a_refusal_ends_the_old_identity(productlane: Productlane, clock: Clock) -> None:
    """A revoked secret is not served stale: neither while it is refused nor when Productlane fails afterwards."""
    async with asking(productlane.url, clock) as identities:
        await identities.lookup("k", A)
        clock.now += 60
        productlane.status = 401
        refused = await identities.lookup("k", A)
        clock.now += 10
        productlane.status = 500
        afterwards = await identities.lookup("k", A)
        shown = identities.recall(A)

    assert ("refused", KeyFault.REJECTED, None) == (refused.result, refused.refused, refused.identity)
    assert Known(None, None, 0.0, "error", "status 500") == afterwards
    assert Known(None, KeyFault.REJECTED, 10.0, "refused", "status 500") == shown


@pytest.mark.parametrize("secret_is_known", [True, False])
async def test_a_crowd_asks_once(secret_is_known: bool, productlane: Productlane, clock: Clock) -> None:
    """Six who want a cold identity at once share one question, whether it ends in 200 or in 401, and wait once."""
    productlane.status = 200 if secret_is_known else 401
    productlane.gate.clear()
    async with asking(productlane.url, clock) as identities:
        crowd = [asyncio.create_task(identities.lookup("k", A)) for _ in range(6)]
        await productlane.reached(1)
        await ready_have_run()
        productlane.gate.set()
        answers = await asyncio.gather(*crowd)

    assert 1 == len(productlane.asked)
    assert [answers[0]] * 6 == answers
    assert ("miss" if secret_is_known else "refused") == answers[0].result


async def test_secrets_do_not_wait_for_each_other(productlane: Productlane, clock: Clock) -> None:
    """A look-up of one secret does not delay a look-up of another."""
    productlane.gate.clear()
    async with asking(productlane.url, clock) as identities:
        both = [asyncio.create_task(identities.lookup("k", secret)) for secret in (A, B)]
        await productlane.reached(2)
        productlane.gate.set()
        await asyncio.gather(*both)

    assert {A.reveal(), B.reveal()} == set(productlane.bearers)


async def test_the_first_to_ask_may_leave(productlane: Productlane, clock: Clock) -> None:
    """Cancelling the caller that started a look-up neither fails the others nor starts a second one."""
    productlane.gate.clear()
    async with asking(productlane.url, clock) as identities:
        leader = asyncio.create_task(identities.lookup("k", A))
        await productlane.reached(1)
        followers = [asyncio.create_task(identities.lookup("k", A)) for _ in range(3)]
        await ready_have_run()
        leader.cancel()
        await ready_have_run()
        productlane.gate.set()
        answers = await asyncio.gather(*followers)

    assert leader.cancelled()
    assert (["miss"] * 3, 1) == ([known.result for known in answers], len(productlane.asked))


@pytest.mark.slow
async def test_nobody_left_to_wait(productlane: Productlane, clock: Clock) -> None:
    """When all callers have left, an answer is still remembered, and a failure is not reported by the loop."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with asking(productlane.url, clock) as identities:
        for secret, status in ((A, 200), (B, 500)):
            productlane.status = status
            productlane.gate.clear()
            caller = asyncio.create_task(identities.lookup("k", secret))
            await productlane.reached(len(productlane.asked) + 1)
            caller.cancel()
            productlane.gate.set()
            async with asyncio.timeout(5):
                await identities._flights._tasks.join()
        gc.collect()

        assert identities.peek(A) is not None
        assert "error" == (await identities.lookup("k", B)).result
    assert (2, []) == (len(productlane.asked), complaints)


@pytest.mark.parametrize("status", [302, 403, 404, 429, 500, 503])
async def test_the_last_good_answer_is_served_stale(status: int, productlane: Productlane, clock: Clock) -> None:
    """While `/me` fails, the identity is the last good one with its true age, for `stale_if_error` beyond `ttl`."""
    async with asking(productlane.url, clock) as identities:
        start = clock.now
        good = await identities.lookup("k", A)
        productlane.status = status
        clock.now = start + 60
        stale = await identities.lookup("k", A)
        clock.now = start + 60 + 3599.5
        still = await identities.lookup("k", A)
        clock.now = start + 60 + 3600
        gone = await identities.lookup("k", A)

    assert good._replace(age=60.0, result="stale", fault=f"status {status}") == stale
    assert ("stale", 3659.5) == (still.result, still.age)
    assert Known(None, None, 0.0, "error", f"status {status}") == gone


async def test_garbage_and_silence_serve_stale_too(productlane: Productlane, clock: Clock) -> None:
    """A malformed 200, or no answer, does not replace the last good answer."""
    async with asking(productlane.url, clock, timeout=0.1) as identities:
        good = await identities.lookup("k", A)
        productlane.body = b"<html>"
        clock.now += 60
        garbage = await identities.lookup("k", A)
        productlane.gate.clear()
        clock.now += 60
        silence = await identities.lookup("k", A)
        productlane.gate.set()

    assert [good.identity] * 2 == [garbage.identity, silence.identity]
    assert ["the answer is not an identity", "no answer in time"] == [garbage.fault, silence.fault]


async def test_without_an_old_answer_nothing_is_known(clock: Clock) -> None:
    """Where `/me` fails and nothing stale is there, the identity is unknown and nothing is raised."""
    async with asking(f"http://127.0.0.1:{unused_port()}/api/v2", clock) as identities:
        known = await identities.lookup("k", A)

    assert Known(None, None, 0.0, "error", "the connection was refused") == known


async def test_an_outage_costs_one_question_a_second(productlane: Productlane, clock: Clock) -> None:
    """After a failure nothing is asked for a second, not even by those who want a fresh answer."""
    productlane.status = 500
    async with asking(productlane.url, clock) as identities:
        for _ in range(3):
            await identities.lookup("k", A)
            await identities.lookup("k", A, fresh=True)
        asked = len(productlane.asked)
        clock.now += 1
        await identities.lookup("k", A)

    assert (1, 2) == (asked, len(productlane.asked))


async def test_a_shared_storage_serves_stale_to_a_new_process(productlane: Productlane, clock: Clock) -> None:
    """A process that starts in an outage uses the last good answer that others have stored, unless it is too old."""
    storage = MemoryStore()
    async with asking(productlane.url, clock, store=storage) as identities:
        good = await identities.lookup("k", A)
    productlane.status = 500
    clock.now += 3659
    async with asking(productlane.url, clock, store=storage) as identities:
        stale = await identities.lookup("k", A)
    clock.now += 1
    async with asking(productlane.url, clock, store=storage) as identities:
        too_old = await identities.lookup("k", A)

    assert good._replace(age=3659.0, result="stale", fault="status 500") == stale
    assert "error" == too_old.result


async def test_fresh_asks_and_replaces(productlane: Productlane, clock: Clock) -> None:
    """A forced look-up asks although the identity is fresh, and everybody gets its answer from then on."""
    async with asking(productlane.url, clock) as identities:
        await identities.lookup("k", A)
        productlane.scopes[A.reveal()] = ["admin"]
        forced = await identities.lookup("k", A, fresh=True)
        after = await identities.lookup("k", A)

    assert [("miss", {"admin"}), ("hit", {"admin"})] == [(known.result, scopes(known)) for known in (forced, after)]
    assert 2 == len(productlane.asked)


async def test_a_crowd_that_wants_it_fresh_asks_once(productlane: Productlane, clock: Clock) -> None:
    """Forced look-ups share a question among themselves as well."""
    async with asking(productlane.url, clock) as identities:
        await identities.lookup("k", A)
        productlane.gate.clear()
        crowd = [asyncio.create_task(identities.lookup("k", A, fresh=True)) for _ in range(6)]
        await productlane.reached(2)
        await ready_have_run()
        productlane.gate.set()
        await asyncio.gather(*crowd)

    assert 2 == len(productlane.asked)


async def test_who_wants_it_fresh_does_not_join_who_does_not(productlane: Productlane, clock: Clock) -> None:
    """A forced look-up asks again beside an older one, and the later answer is remembered."""
    productlane.scopes[A.reveal()] = ["docs:read"]
    productlane.gate.clear()
    async with asking(productlane.url, clock) as identities:
        plain = asyncio.create_task(identities.lookup("k", A))
        await productlane.reached(1)
        forced = asyncio.create_task(identities.lookup("k", A, fresh=True))
        await productlane.reached(2)
        productlane.gate.set()
        await asyncio.gather(plain, forced)
        remembered = identities.peek(A)

    assert remembered is not None
    assert (2, "hit") == (len(productlane.asked), remembered.result)


async def test_what_is_forgotten_is_asked_for_again(productlane: Productlane, clock: Clock) -> None:
    """After `forget` neither this process nor the storage has the answer, even if the clock stands still."""
    storage = MemoryStore()
    async with asking(productlane.url, clock, store=storage) as identities:
        await identities.lookup("k", A)
        identities.forget(A)
        peeked = identities.peek(A)
        again = await identities.lookup("k", A)
        identities.forget(A)
    gone = len(storage.entries)
    async with asking(productlane.url, clock, store=storage) as identities:
        anew = await identities.lookup("k", A)

    assert (None, "miss", 0, "miss") == (peeked, again.result, gone, anew.result)


async def test_what_is_forgotten_is_not_served_stale(productlane: Productlane, clock: Clock) -> None:
    """An identity that a 401 made doubtful is not restored when `/me` fails."""
    async with asking(productlane.url, clock) as identities:
        await identities.lookup("k", A)
        identities.forget(A)
        productlane.status = 500

        assert "error" == (await identities.lookup("k", A)).result


async def test_a_question_begun_before_forgetting_reinstates_nothing(productlane: Productlane, clock: Clock) -> None:
    """An answer that was on its way when its secret was forgotten reaches its caller and is not remembered."""
    storage = MemoryStore()
    productlane.scopes[A.reveal()] = ["docs:read"]
    productlane.gate.clear()
    async with asking(productlane.url, clock, store=storage) as identities:
        before = asyncio.create_task(identities.lookup("k", A))
        await productlane.reached(1)
        identities.overtake(A)
        identities.forget(A)
        clock.now += 1
        productlane.gate.set()
        overtaken = await before
        peeked = identities.peek(A)
        productlane.scopes[A.reveal()] = ["admin"]
        after = await identities.lookup("k", A)

    assert ({"docs:read"}, None, {"admin"}) == (scopes(overtaken), peeked, scopes(after))
    assert 2 == len(productlane.asked)


async def test_a_question_after_forgetting_does_not_join_the_old_one(productlane: Productlane, clock: Clock) -> None:
    """Who asks after `forget` gets an answer that was asked for after it."""
    productlane.gate.clear()
    async with asking(productlane.url, clock) as identities:
        before = asyncio.create_task(identities.lookup("k", A))
        await productlane.reached(1)
        identities.overtake(A)
        identities.forget(A)
        after = asyncio.create_task(identities.lookup("k", A))
        await productlane.reached(2)
        productlane.gate.set()
        await asyncio.gather(before, after)

    assert 2 == len(productlane.asked)


@pytest.mark.parametrize("step", [-86_400.0, -3_600.0, -30.0, 0.5, 30.0, 3_600.0, 86_400.0])
async def test_a_step_of_the_clock_does_not_change_how_long_an_answer_lasts(
    step: float, productlane: Productlane, clock: Clock
) -> None:
    """However the machine's time is set, an answer is kept for as long as the monotonic clock says, in a store too."""
    storage, wall = MemoryStore(), Clock()
    async with contextlib.AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(asking(productlane.url, clock, store=storage, wall=wall)) for _ in range(2)
        ]
        first = [(await one.lookup("k", A)).result for one in replicas]
        wall.now += step + 59
        clock.now += 59
        young = [await one.lookup("k", A) for one in replicas]
        wall.now += 1
        clock.now += 1
        asked = len(productlane.asked)
        old = [(await one.lookup("k", A)).result for one in replicas]

    assert ["miss", "hit"] == first
    assert [("hit", 59.0)] * 2 == [(one.result, one.age) for one in young]
    assert (1, "miss") == (asked, old[0])
    assert 1 < len(productlane.asked)


async def test_no_more_is_remembered_than_the_bound(productlane: Productlane, clock: Clock) -> None:
    """Of more secrets than there is room for, the one used longest ago is asked for again."""
    async with asking(productlane.url, clock, entries=2) as identities:
        for secret in (A, B, A, C):
            await identities.lookup("k", secret)
        peeked = [identities.peek(secret) is not None for secret in (A, B, C)]
        size = len(identities.entries)

    assert ([True, False, True], 2) == (peeked, size)


async def test_what_is_remembered_goes_on_with_other_settings(productlane: Productlane, clock: Clock) -> None:
    """A change of settings looks no secret up again; a change of the server looks up each."""
    async with asking(productlane.url, clock) as before:
        await before.lookup("k", A)
        async with asking(productlane.url, clock, after=before, timeout=1.0) as same:
            known = await same.lookup("k", A)
        async with asking(f"{productlane.url}/other", clock, after=before) as other:
            anew = await other.lookup("k", A)

    assert ("hit", "miss") == (known.result, anew.result)


async def test_every_look_up_is_told(productlane: Productlane, clock: Clock) -> None:
    """The look-up counter gets the key's name and how each look-up ended."""
    reported: list[Event] = []
    async with asking(productlane.url, clock, emit=reported.append) as identities:
        await identities.lookup("support", A)
        await identities.lookup("support", A)
        productlane.status = 500
        clock.now += 60
        await identities.lookup("support", A)
        await identities.lookup("billing", B)
        productlane.status = 401
        await identities.lookup("billing", C)

    assert [
        ("support", "miss"),
        ("support", "hit"),
        ("support", "stale"),
        ("billing", "error"),
        ("billing", "refused"),
    ] == [(event.key, event.result) for event in reported if isinstance(event, IdentityLookup)]


async def test_the_last_that_was_learnt_can_be_shown(productlane: Productlane, clock: Clock) -> None:
    """For display, the last identity is given at any age, with the reason why none is newer; nothing is asked."""
    async with asking(productlane.url, clock) as identities:
        never = identities.recall(A)
        await identities.lookup("k", A)
        clock.now += 100
        old = identities.recall(A)
        productlane.status = 401
        await identities.lookup("k", A)
        clock.now += 100
        refused = identities.recall(A)

    assert never is None
    assert old is not None
    assert (100.0, {"threads:read"}) == (old.age, scopes(old))
    assert refused is not None
    assert (KeyFault.REJECTED, 100.0) == (refused.refused, refused.age)
    assert 2 == len(productlane.asked)


async def test_closing_leaves_nobody_waiting(productlane: Productlane, clock: Clock) -> None:
    """At the end, callers of a question that is on its way get an unknown identity, at once and without an error."""
    productlane.gate.clear()
    async with asking(productlane.url, clock) as identities:
        callers = [asyncio.create_task(identities.lookup("k", A)) for _ in range(2)]
        await productlane.reached(1)
        await identities.close()
        answers = await asyncio.gather(*callers)
        late = await identities.lookup("k", B)

    assert [Known(None, None, 0.0, "error", "closed")] * 3 == [*answers, late]


def test_nothing_is_opened_before_the_first_question() -> None:
    """Making it needs no connection and no event loop; so an offline command can build the same objects."""
    Identities(me_settings("https://productlane.test/api/v2"))


async def test_a_text_of_a_fault_holds_no_secret(productlane: Productlane, clock: Clock) -> None:
    """The report of a failure can be logged: it contains neither the key nor what the server said."""
    productlane.status, productlane.body = 500, json.dumps({"error": A.reveal()}).encode()
    async with asking(productlane.url, clock) as identities:
        known = await identities.lookup("k", A)

    assert "status 500" == known.fault
    assert A.reveal() not in repr(known)


@contextlib.asynccontextmanager
async def replicas(url: str, count: int, storage: MemoryStore, clock: Clock) -> AsyncIterator[list[Identities]]:
    """Processes that share a storage and agree on the time."""
    async with contextlib.AsyncExitStack() as stack:
        each = (asking(url, clock, store=storage, wall=lambda: clock() + 1e9) for _ in range(count))
        yield [await stack.enter_async_context(one) for one in each]


async def test_of_those_that_share_a_storage_one_asks(productlane: Productlane, clock: Clock) -> None:
    """However many replicas want the same identity at the same time, Productlane is asked once, and all have it."""
    productlane.gate.clear()
    async with asyncio.timeout(5), replicas(productlane.url, 4, MemoryStore(), clock) as identities:
        waiting = [asyncio.create_task(one.lookup("k", A)) for one in identities]
        await productlane.reached(1)
        await asyncio.sleep(0.1)  # as long as others look a few times
        productlane.gate.set()
        known = await asyncio.gather(*waiting)
        clock.now += 59
        young = [one.peek(A) is not None for one in identities]
        clock.now += 1
        again = await asyncio.gather(*(one.lookup("k", A) for one in identities))

    assert ["hit", "hit", "hit", "miss"] == sorted(one.result for one in known)
    assert ["hit", "hit", "hit", "miss"] == sorted(one.result for one in again)
    assert ([True] * 4, 2) == (young, len(productlane.asked))


async def test_a_refusal_is_waited_for_by_all_and_shared_by_none(productlane: Productlane, clock: Clock) -> None:
    """If the asking replica is refused, the others ask for themselves at once."""
    productlane.status = 401
    productlane.gate.clear()
    storage = MemoryStore()
    async with asyncio.timeout(5), replicas(productlane.url, 4, storage, clock) as identities:
        waiting = [asyncio.create_task(one.lookup("k", A)) for one in identities]
        await productlane.reached(1)
        productlane.gate.set()
        known = await asyncio.gather(*waiting)

    assert (["refused"] * 4, 4) == ([one.result for one in known], len(productlane.asked))
    assert 0 == len(storage.entries)


@pytest.mark.slow
async def test_a_claim_that_does_not_end_holds_nobody_up_twice(productlane: Productlane, clock: Clock) -> None:
    """A claim that stays beyond its time is waited for once, and reported as a fault of the store."""
    storage, reported = MemoryStore(), list[Event]()
    for secret in (A, B):
        storage.entries[f"{name_of(secret, URL(f'{productlane.url}/me'))}:asked"] = b"1"
    loop = asyncio.get_running_loop()
    async with asking(productlane.url, clock, store=storage, store_emit=reported.append) as identities:
        began = loop.time()
        first = await identities.lookup("k", A)
        between = loop.time()
        second = await identities.lookup("k", B)
        ended = loop.time()

    assert ("miss", "miss", 2) == (first.result, second.result, len(productlane.asked))
    assert 1.0 <= between - began
    assert ended - between < 1.0
    assert [StoreFault("", "write", "a claim that does not end", True)] == reported


async def test_who_insists_does_not_wait_for_another(productlane: Productlane, clock: Clock) -> None:
    """A forced look-up asks Productlane itself, even if another look-up is under way."""
    storage = MemoryStore()
    storage.entries[f"{name_of(A, URL(f'{productlane.url}/me'))}:asked"] = b"1"
    async with replicas(productlane.url, 1, storage, clock) as (identities,):
        known = await identities.lookup("k", A, fresh=True)

    assert ("miss", 1) == (known.result, len(productlane.asked))
