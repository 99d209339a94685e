"""Which secret serves a request, and the status of each."""

import asyncio

import pytest

from gateway.core.refusal import Code, Refused
from gateway.core.secret import Secret
from gateway.keys.identity import Identities
from gateway.keys.keyring import Chosen
from gateway.telemetry.event import Event
from gateway.telemetry.events.keys import IdentityLookup
from gateway.telemetry.status import moment
from tests.support.clock import Clock
from tests.support.keyrings import key, permit, ring, route, slots
from tests.support.me_upstream import A, B, C, Productlane, asking

ONE = Chosen("support", "1", A)
TWO = Chosen("support", "2", B)


async def test_the_narrowest_key_that_carries_the_scopes(productlane: Productlane, identities: Identities) -> None:
    """A request is served by the key with the fewest scopes that suffice, in whatever order the route names them."""
    productlane.scopes = {A.reveal(): ["docs:read", "tags:read", "admin"], B.reveal(): ["docs:read"]}
    keyring = ring(identities, key("wide", A), key("narrow", B))
    chosen = [
        (await keyring.choose(permit(scope, by=route(*names)))).key
        for names in (("wide", "narrow"), ("narrow", "wide"))
        for scope in ("docs:read", "tags:read")
    ]

    assert ["narrow", "wide"] * 2 == chosen
    assert 2 == len(productlane.asked)


async def test_cold_keys_are_asked_about_together(productlane: Productlane, identities: Identities) -> None:
    """A first request does not wait for one key after another."""
    productlane.gate.clear()
    keyring = ring(identities, key("a", A), key("b", B), key("c", C))
    choosing = asyncio.create_task(keyring.choose(permit("threads:read", by=route("a", "b", "c"))))
    await productlane.reached(3)
    productlane.gate.set()

    assert "a" == (await choosing).key


async def test_only_keys_of_the_route_are_asked_about(productlane: Productlane, identities: Identities) -> None:
    """A request costs no question about keys that could not serve it."""
    await ring(identities, key("a", A), key("b", B)).choose(permit(by=route("a")))

    assert [A.reveal()] == productlane.bearers


@pytest.mark.parametrize("status", [401, 410])
async def test_a_refused_secret_gives_way_to_the_next(
    status: int, productlane: Productlane, identities: Identities
) -> None:
    """Where Productlane refuses the first secret of a key, its second serves, at once and from memory."""
    productlane.statuses[A.reveal()] = status
    keyring = ring(identities, key("support", A, B))
    chosen = [await keyring.choose(permit("threads:read", by=route("support"))) for _ in range(2)]

    assert [TWO, TWO] == chosen
    assert [A.reveal(), B.reveal()] == productlane.bearers


async def test_the_second_secret_is_not_asked_about_while_the_first_serves(
    productlane: Productlane, identities: Identities
) -> None:
    """A standby secret costs nothing as long as the first one is taken."""
    chosen = await ring(identities, key("support", A, B)).choose(permit(by=route("support")))

    assert (ONE, [A.reveal()]) == (chosen, productlane.bearers)


async def test_a_missing_secret_is_passed_over(productlane: Productlane, identities: Identities) -> None:
    """A slot without a file yet does not stop the next from serving, and keeps its number."""
    assert TWO == await ring(identities, key("support", None, B)).choose(permit(by=route("support")))


@pytest.mark.parametrize(
    ("statuses", "code", "note"),
    [
        ((401, 401), Code.UPSTREAM_KEY_REJECTED, "route /**: key a, b: Productlane answers 401"),
        ((410, 410), Code.UPSTREAM_KEY_UNSUPPORTED, "route /**: key a, b: Productlane answers 410"),
        ((410, 401), Code.UPSTREAM_KEY_REJECTED, "key a: Productlane answers 410"),
    ],
)
async def test_no_key_is_taken(
    statuses: tuple[int, int], code: Code, note: str, productlane: Productlane, identities: Identities
) -> None:
    """Where Productlane refuses every key of the route, the refusal names them and what to do."""
    productlane.statuses = dict(zip((A.reveal(), B.reveal()), statuses, strict=True))
    with pytest.raises(Refused) as caught:
        await ring(identities, key("a", A), key("b", B)).choose(permit(by=route("a", "b")))

    assert code is caught.value.code
    assert note in caught.value.note


async def test_a_key_without_any_secret(identities: Identities) -> None:
    """A key without any secret is refused as missing, without a look-up."""
    with pytest.raises(Refused) as caught:
        await ring(identities, key("a", None)).choose(permit(by=route("a")))

    assert Code.UPSTREAM_KEY_REJECTED is caught.value.code
    assert "key a: its file or variable does not exist" in caught.value.note


async def test_a_secret_of_another_workspace_is_not_used(productlane: Productlane, identities: Identities) -> None:
    """A pinned key never serves with a secret of another workspace, and says that this is why."""
    productlane.workspaces = {A.reveal(): "wks_other", B.reveal(): "wks_1"}
    alone = ring(identities, key("support", A, workspace="wks_1"))
    with pytest.raises(Refused) as caught:
        await alone.choose(permit(by=route("support")))
    with_a_good_one = ring(identities, key("support", A, B, workspace="wks_1"))

    assert Code.UPSTREAM_KEY_REJECTED is caught.value.code
    assert "key support: it belongs to another workspace" in caught.value.note
    assert TWO == await with_a_good_one.choose(permit(by=route("support")))
    assert ["wrong_workspace", "active"] == [slot.state for slot in slots(with_a_good_one)]


async def test_the_pin_is_each_keys_own(productlane: Productlane, identities: Identities) -> None:
    """A secret that one key may not use for its workspace may serve another key without a pin."""
    keyring = ring(identities, key("pinned", A, workspace="wks_2"), key("free", A))

    assert "free" == (await keyring.choose(permit(by=route("pinned", "free")))).key


async def test_unknown_is_left_to_productlane(productlane: Productlane, identities: Identities) -> None:
    """While `/me` cannot be asked and nothing is remembered, the first key serves: the policy has been enforced."""
    productlane.status = 503

    assert "a" == (await ring(identities, key("a", A), key("b", B)).choose(permit("admin", by=route("a", "b")))).key


async def test_a_scope_that_was_just_granted_is_found(
    productlane: Productlane, identities: Identities, clock: Clock
) -> None:
    """Before a caller reads that no key has the scope, identities older than five seconds are looked up again."""
    keyring = ring(identities, key("support", A))
    await keyring.choose(permit(by=route("support")))
    productlane.scopes[A.reveal()] = ["admin"]
    clock.now += 5
    with pytest.raises(Refused):
        await keyring.choose(permit("admin", by=route("support")))
    asked_at_five = len(productlane.asked)
    clock.now += 0.1
    chosen = await keyring.choose(permit("admin", by=route("support")))

    assert (1, ONE, 2) == (asked_at_five, chosen, len(productlane.asked))


async def test_a_missing_scope_costs_one_question_in_five_seconds(
    productlane: Productlane, identities: Identities, clock: Clock
) -> None:
    """A caller that repeats a request that no key may serve does not use up a key's reads."""
    keyring = ring(identities, key("support", A))
    for _ in range(50):
        with pytest.raises(Refused) as caught:
            await keyring.choose(permit("admin", by=route("support")))
        clock.now += 0.2

    assert Code.SCOPE_REQUIRED is caught.value.code
    assert {"required": ["admin"], "granted": ["admin"]} == caught.value.details
    assert 2 == len(productlane.asked)


async def test_a_failing_refresh_still_refuses(productlane: Productlane, identities: Identities, clock: Clock) -> None:
    """If the second look-up fails, the last good answer decides, and the caller gets its refusal and no error."""
    keyring = ring(identities, key("support", A))
    await keyring.choose(permit(by=route("support")))
    productlane.status = 500
    clock.now += 6
    with pytest.raises(Refused) as caught:
        await keyring.choose(permit("admin", by=route("support")))

    assert (Code.SCOPE_REQUIRED, 2) == (caught.value.code, len(productlane.asked))


@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (401, "unauthenticated", 2),
        (401, None, 1),
        (401, "expired_session", 1),
        (410, "gone", 1),
        (410, "unsupported_key_version", 2),
        (403, "scope_required", 2),
        (403, "forbidden", 1),
        (403, None, 1),
        (200, None, 1),
        (404, "not_found", 1),
        (429, "rate_limited", 1),
        (500, "internal_error", 1),
    ],
)
async def test_what_upstream_answers_can_have_a_secret_asked_about(
    status: int, code: str | None, asked: int, productlane: Productlane, identities: Identities
) -> None:
    """A 401 or 410 that names the key and a 403 `scope_required` have `/me` asked in the background; nothing else does.

    However many of them there are, it is asked once, and no request waits for it.
    """
    keyring = ring(identities, key("support", A), key("other", B))
    for _ in range(3):
        chosen = await keyring.choose(permit(by=route("support")))
        await keyring.choose(permit(by=route("other")))
    keyring.answered(chosen, status, code)
    productlane.gate.clear()
    asking_again = asyncio.create_task(keyring.verifier.verify())
    async with asyncio.timeout(5):
        await keyring.choose(permit(by=route("support")))
        await keyring.choose(permit(by=route("other")))
    productlane.gate.set()
    await asking_again
    for _ in range(3):
        keyring.answered(chosen, status, code)
        await keyring.verifier.verify()

    assert (asked, 1) == (productlane.bearers.count(A.reveal()), productlane.bearers.count(B.reveal()))


async def test_a_choice_is_made_anew_once_an_identity_has_had_its_time(
    productlane: Productlane, identities: Identities, clock: Clock
) -> None:
    """However often a key was chosen before, it is not chosen on the strength of an answer that is too old."""
    productlane.scopes = {A.reveal(): ["docs:read"], B.reveal(): ["docs:read", "tags:read"]}
    keyring = ring(identities, key("narrow", A), key("wide", B))
    for _ in range(3):
        before = await keyring.choose(permit("docs:read", by=route("narrow", "wide")))
    productlane.scopes[A.reveal()] = ["tags:read"]
    clock.now += identities.ttl - 1
    still = await keyring.choose(permit("docs:read", by=route("narrow", "wide")))
    clock.now += 1
    after = await keyring.choose(permit("docs:read", by=route("narrow", "wide")))

    assert ["narrow", "narrow", "wide"] == [before.key, still.key, after.key]


async def test_a_choice_is_made_anew_once_another_secret_serves(
    productlane: Productlane, identities: Identities
) -> None:
    """A secret that was refused is not chosen any more, however often it was before."""
    keyring = ring(identities, key("support", A, B))
    for _ in range(3):
        chosen = await keyring.choose(permit(by=route("support")))
    productlane.statuses[A.reveal()] = 401
    for _ in range(2):
        keyring.answered(chosen, 401, "unauthenticated")

    assert (ONE, TWO) == (chosen, await keyring.choose(permit(by=route("support"))))


async def test_me_is_that_of_the_routes_narrowest_key(productlane: Productlane, identities: Identities) -> None:
    """`GET /me` speaks of the key that would serve a request that needs no scope, with its age."""
    productlane.scopes = {A.reveal(): ["docs:read", "admin"], B.reveal(): ["docs:read"]}
    keyring = ring(identities, key("wide", A), key("narrow", B))
    chosen, known = await keyring.me(permit(by=route("wide", "narrow")))

    assert chosen == await keyring.choose(permit(by=route("wide", "narrow"))) == Chosen("narrow", "1", B)
    assert known.identity is not None
    assert ("key_bbbb", "miss") == (known.identity.api_key_id, known.result)


async def test_me_prefers_a_key_that_is_known(productlane: Productlane, identities: Identities) -> None:
    """A key whose identity is not available does not hide one that is; if none is available, the first is given."""
    productlane.statuses = {A.reveal(): 500}
    keyring = ring(identities, key("a", A), key("b", B))
    one, _ = await keyring.me(permit(by=route("a", "b")))
    nobody, unknown = await keyring.me(permit(by=route("a")))

    assert ("b", "a", None, "error") == (one.key, nobody.key, unknown.identity, unknown.result)


async def test_me_where_every_key_is_refused(productlane: Productlane, identities: Identities) -> None:
    """`GET /me` is refused like any request if no key can be used."""
    productlane.status = 401
    with pytest.raises(Refused) as caught:
        await ring(identities, key("a", A)).me(permit(by=route("a")))

    assert Code.UPSTREAM_KEY_REJECTED is caught.value.code


async def test_every_secret_is_prefetched(productlane: Productlane, identities: Identities) -> None:
    """After prefetching, no request waits for `/me`, whichever secret it takes."""
    keyring = ring(identities, key("support", A, B), key("publisher", None, C))
    await keyring.prefetch()
    await keyring.choose(permit(by=route("support", "publisher")))

    assert {A.reveal(), B.reveal(), C.reveal()} == set(productlane.bearers)
    assert 3 == len(productlane.asked)


async def test_prefetching_is_bounded(productlane: Productlane, identities: Identities) -> None:
    """However many secrets there are, Productlane is asked a few questions at a time."""
    secrets = [Secret(f"pl_v2_{number:04}-secret") for number in range(20)]
    productlane.gate.clear()
    prefetching = asyncio.create_task(ring(identities, key("many", *secrets)).prefetch())
    await productlane.reached(8)
    flying = len(identities._flights._tasks)
    productlane.gate.set()
    await prefetching

    assert (8, 20) == (flying, len(productlane.asked))


async def test_prefetching_in_an_outage_raises_nothing(productlane: Productlane, identities: Identities) -> None:
    """An outage of Productlane does not keep the gateway from starting."""
    productlane.status = 500
    keyring = ring(identities, key("support", A))
    await keyring.prefetch()
    (slot,) = slots(keyring)

    assert ("unverified", "status 500") == (slot.state, slot.identity_fault)


async def test_the_state_of_every_slot(productlane: Productlane, identities: Identities, clock: Clock) -> None:
    """Each slot of each key shows its state from the last answer, without asking."""
    revoked, old = Secret("pl_v2_dddd-revoked-one"), Secret("pl_v2_eeee-no-longer-supported")
    productlane.statuses = {revoked.reveal(): 401, old.reveal(): 410}
    keyring = ring(identities, key("support", revoked, A, B, None), key("publisher", old, C))
    before = [slot.state for slot in slots(keyring)]
    await keyring.prefetch()
    clock.now += 600
    asked = len(productlane.asked)
    shown = slots(keyring)
    names = [state.name for state in keyring.states for _ in state.rotation.all_slots]

    assert ["unverified"] * 3 + ["missing"] + ["unverified"] * 2 == before
    assert [
        ("support", "1", "rejected"),
        ("support", "2", "active"),
        ("support", "3", "standby"),
        ("support", "4", "missing"),
        ("publisher", "1", "unsupported"),
        ("publisher", "2", "active"),
    ] == [(name, slot.slot, slot.state) for name, slot in zip(names, shown, strict=True)]
    assert ["dddd", "aaaa", "bbbb", None, "eeee", "cccc"] == [slot.preview for slot in shown]
    assert asked == len(productlane.asked)


async def test_when_a_secret_was_last_used(productlane: Productlane, identities: Identities) -> None:
    """For each slot it is known when a request last went out with it, so that an old secret can be revoked safely."""
    wall = Clock()
    keyring = ring(identities, key("support", A, B), wall=wall)
    keyring.used(await keyring.choose(permit(by=route("support"))))
    wall.now += 7
    keyring.used(TWO)

    assert [moment(1000), moment(1007)] == [slot.last_used for slot in slots(keyring)]
    assert [None] == [slot.last_used for slot in slots(ring(identities, key("support", A)))]


async def test_look_ups_from_memory_are_told_too(productlane: Productlane, clock: Clock) -> None:
    """The look-up counter also counts cache hits of requests that asked Productlane nothing."""
    reported: list[Event] = []
    async with asking(productlane.url, clock, emit=reported.append) as identities:
        keyring = ring(identities, key("support", A))
        for _ in range(4):
            await keyring.choose(permit(by=route("support")))
        keyring.report_lookups()
        keyring.report_lookups()

    one_by_one = [IdentityLookup("support", result) for result in ("miss", "hit")]
    assert [*one_by_one, IdentityLookup("support", "hit", 2)] == reported


async def test_look_ups_of_a_keyring_that_is_replaced_are_told(productlane: Productlane, clock: Clock) -> None:
    """A reload loses no look-up: a replaced keyring reports what it counted, and each later look-up at once."""
    reported: list[Event] = []
    async with asking(productlane.url, clock, emit=reported.append) as identities:
        keyring = ring(identities, key("support", A))
        for _ in range(4):
            await keyring.choose(permit(by=route("support")))
        keyring.retire()
        retired = sum(event.times() for event in reported)
        for _ in range(3):
            await keyring.choose(permit(by=route("support")))

    assert (4, 7) == (retired, sum(event.times() for event in reported))


async def test_look_ups_of_a_choice_that_no_longer_counts_are_told(productlane: Productlane, clock: Clock) -> None:
    """Where a choice is made anew, because what is known of its secret has changed, its look-ups stay counted."""
    reported: list[Event] = []
    async with asking(productlane.url, clock, emit=reported.append) as identities:
        keyring = ring(identities, key("support", A))
        for _ in range(4):
            await keyring.choose(permit(by=route("support")))
        identities.changes += 1
        for _ in range(2):
            await keyring.choose(permit(by=route("support")))
        keyring.report_lookups()

    assert 6 == sum(event.times() for event in reported)
