"""The keys of a process through every change: looked up in the background, reported, and kept over a reload."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.config.assembly.snapshot import Key, Slot
from gateway.config.schema.gateway import Identity as IdentitySettings
from gateway.core.promotion import Read
from gateway.core.refusal import Code, Refused
from gateway.core.secret import Secret
from gateway.keys.identity import Identities
from gateway.keys.key_state import Chosen
from gateway.keys.keyring import Keyring
from gateway.keys.status import slot_statuses
from gateway.telemetry.event import Event
from gateway.telemetry.events.keys import IdentityBack, IdentityStale, SecretStateChanged
from gateway.telemetry.status import moment
from tests.support.clock import Clock
from tests.support.keyrings import key, keyring_of, permit, route, slots
from tests.support.me_upstream import A, B, C, Productlane, asking
from tests.support.turns import ready_have_run

ROUTE = route("support")


class Changes:
    """The reported changes, and a way to wait for one."""

    def __init__(self) -> None:
        self.changes: list[SecretStateChanged] = []
        self._came = asyncio.Event()

    def __call__(self, change: Event) -> None:
        if isinstance(change, SecretStateChanged):
            self.changes.append(change)
            self._came.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self._came.clear()
                await self._came.wait()

    @property
    def states(self) -> list[tuple[str, str, str]]:
        return [(change.slot, change.previous, change.state) for change in self.changes]


@pytest.fixture
def reported() -> Changes:
    return Changes()


@pytest.fixture
def keyring(identities: Identities, clock: Clock, reported: Changes) -> Keyring:
    return keyring_of(
        {"support": key("support", A)}, identities, prefetch=True, clock=clock, wall=Clock(), emit=reported
    )


@asynccontextmanager
async def running(keyring: Keyring) -> AsyncIterator[None]:
    """The background work of a keyring, ended and looked at afterwards."""
    work = asyncio.create_task(keyring.verifier.run())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.wait({work})
        assert work.cancelled()


def write(keyring: Keyring, *secrets: Secret | None) -> None:
    number = keyring.verifier.begin_reading()
    reads = [Read(str(n), f"env:SECRET_{n}", secret, number=number) for n, secret in enumerate(secrets, 1)]
    keyring.verifier.reread("support", reads)


def states(keyring: Keyring) -> dict[str, str]:
    return {slot.slot: slot.state for slot in slots(keyring)}


async def test_a_new_secret_is_verified_and_promoted_in_the_background(
    keyring: Keyring, productlane: Productlane, reported: Changes
) -> None:
    """A written secret serves as soon as `/me` accepts it; no request waits, and each step is reported."""
    async with running(keyring):
        await reported.until(lambda: bool(reported.changes))
        productlane.gate.clear()
        write(keyring, B)
        await productlane.reached(2)
        meanwhile = await keyring.choose(permit(by=ROUTE))
        productlane.gate.set()
        await reported.until(lambda: ("1", "unverified", "active") in reported.states[1:])

    assert (Chosen("support", "replaced", A), Chosen("support", "1", B)) == (
        meanwhile,
        await keyring.choose(permit(by=ROUTE)),
    )
    assert [
        ("1", "unverified", "active"),
        ("1", "", "unverified"),
        ("replaced", "", "active"),
        ("1", "unverified", "active"),
        ("replaced", "active", "standby"),
    ] == reported.states
    assert {"aaaa", "bbbb"} == {change.preview for change in reported.changes}
    assert [A.reveal(), B.reveal()] == productlane.bearers


@pytest.mark.parametrize(
    ("status", "workspace", "scopes", "state", "reason"),
    [
        (401, "wks_1", ["threads:read"], "rejected", "Productlane answers 401"),
        (410, "wks_1", ["threads:read"], "unsupported", "Productlane answers 410"),
        (200, "wks_2", ["threads:read"], "wrong_workspace", "it belongs to workspace wks_2, the key to wks_1"),
        (200, "wks_1", ["docs:read"], "standby", "it lacks threads:read, which another secret carries"),
    ],
)
async def test_a_bad_new_secret_is_an_alarm_and_changes_nothing(
    status: int,
    workspace: str,
    scopes: list[str],
    state: str,
    reason: str,
    productlane: Productlane,
    identities: Identities,
    clock: Clock,
    reported: Changes,
) -> None:
    """A problem with a new secret is reported as a warning with the reason, and the old one continues to serve."""
    needs = frozenset({(("support",), frozenset({"threads:read"}))})
    keyring = keyring_of({"support": key("support", A)}, identities, needs=needs, clock=clock, emit=reported)
    await keyring.prefetch()
    productlane.statuses[B.reveal()] = status
    productlane.workspaces[B.reveal()] = workspace
    productlane.scopes[B.reveal()] = scopes
    write(keyring, B)
    await keyring.verifier.verify()

    last = reported.changes[-1]
    assert ("1", state, True) == (last.slot, last.state, last.alarming)
    assert last.reason.startswith(reason)
    assert Chosen("support", "replaced", A) == await keyring.choose(permit(by=ROUTE))
    assert {"1": state, "replaced": "active"} == states(keyring)


async def test_a_refused_secret_comes_back(
    keyring: Keyring, productlane: Productlane, clock: Clock, reported: Changes
) -> None:
    """A secret that Productlane refused for a while serves again after a question in the background."""
    productlane.statuses[A.reveal()] = 401
    await keyring.verifier.verify()
    with pytest.raises(Refused):
        await keyring.choose(permit(by=ROUTE))
    productlane.statuses.clear()
    clock.now += 12
    async with running(keyring):
        await reported.until(lambda: reported.states[-1] == ("1", "rejected", "active"))

    assert Chosen("support", "1", A) == await keyring.choose(permit(by=ROUTE))


async def test_a_key_whose_every_secret_is_refused_answers_at_once(
    productlane: Productlane, identities: Identities, clock: Clock
) -> None:
    """No request asks Productlane about a refused secret, however many come and for however long."""
    productlane.status = 401
    keyring = keyring_of({"support": key("support", A, B)}, identities, clock=clock)
    for _ in range(50):
        with pytest.raises(Refused) as caught:
            await keyring.choose(permit(by=ROUTE))
        clock.now += 60

    assert (Code.UPSTREAM_KEY_REJECTED, 2) == (caught.value.code, len(productlane.asked))


async def test_an_outage_of_me_delays_a_promotion_and_no_more(
    keyring: Keyring, productlane: Productlane, clock: Clock, reported: Changes
) -> None:
    """While `/me` fails a new secret waits, and it is promoted by the first answer after that."""
    await keyring.verifier.verify()
    productlane.status = 503
    write(keyring, B)
    await keyring.verifier.verify()
    waiting, note = states(keyring), slots(keyring)[0].note
    productlane.status = 200
    clock.now += 2
    await keyring.verifier.verify()

    assert {"1": "unverified", "replaced": "active"} == waiting
    assert "`/me` could not be asked: status 503" == note
    assert {"1": "active", "replaced": "standby"} == states(keyring)


async def test_an_outage_is_reported_once_the_identity_is_older_than_its_ttl(
    productlane: Productlane, identities: Identities, clock: Clock
) -> None:
    """A failed look-up is reported when the last answer is older than `ttl`, once, and so is its end."""
    events: list[Event] = []
    verifier = keyring_of({"support": key("support", A)}, identities, clock=clock, emit=events.append).verifier
    (state,) = verifier.adopt({"support": key("support", A)}, identities=identities).values()
    await verifier.lookup(state, A)
    reported = []
    for status, seconds in ((503, 10), (503, 60), (503, 10), (200, 10)):
        productlane.status, clock.now = status, clock.now + seconds
        await verifier.lookup(state, A, fresh=True)
        reported.append([type(one) for one in events if isinstance(one, IdentityStale | IdentityBack)])

    assert [[], [IdentityStale], [IdentityStale], [IdentityStale, IdentityBack]] == reported


async def test_a_question_on_its_way_is_not_put_twice(productlane: Productlane, clock: Clock) -> None:
    """While `/me` is slow, what happens to a key meanwhile starts no second look-up of the same secret."""
    looked: list[str] = []
    async with asking(productlane.url, clock, emit=lambda event: looked.append(event.key)) as identities:
        keyring = keyring_of({"support": key("support", A)}, identities, clock=clock, prefetch=True)
        productlane.gate.clear()
        first = asyncio.create_task(keyring.verifier.verify())
        await productlane.reached(1)
        await keyring.verifier.verify()
        productlane.gate.set()
        await first

    assert ["support"] == looked


async def test_a_question_on_its_way_is_not_asked_twice(
    keyring: Keyring, productlane: Productlane, reported: Changes
) -> None:
    """While `/me` is slow, one question about a secret is on its way, and no second one."""
    productlane.gate.clear()
    async with running(keyring):
        await productlane.reached(1)
        for _ in range(5):
            write(keyring, A)
            await ready_have_run()
        productlane.gate.set()
        await reported.until(lambda: bool(reported.changes))

    assert 1 == len(productlane.asked)


async def test_a_recheck_asks_productlane_and_no_memory(productlane: Productlane, clock: Clock) -> None:
    """A revoked standby secret is detected within minutes, however long identities are remembered."""
    settings = IdentitySettings(ttl=86_400.0, refused_ttl=10.0, stale_if_error=0.0, prefetch=False)
    async with asking(productlane.url, clock, identity=settings) as identities:
        keyring = keyring_of({"support": key("support", A, B)}, identities, clock=clock)
        await keyring.prefetch()
        productlane.statuses[B.reveal()] = 401
        clock.now += 361
        await keyring.verifier.verify()

        assert {"1": "active", "2": "rejected"} == states(keyring)


async def test_a_recheck_that_fails_is_tried_again_soon(
    keyring: Keyring, productlane: Productlane, clock: Clock
) -> None:
    """A fault of `/me` says nothing of a good secret: it serves on, and is asked about again within seconds."""
    await keyring.verifier.verify()
    productlane.status = 503
    clock.now += 361
    await keyring.verifier.verify()
    productlane.statuses[A.reveal()] = 401
    serving = states(keyring)
    clock.now += 2
    await keyring.verifier.verify()

    assert ({"1": "active"}, {"1": "rejected"}) == (serving, states(keyring))


async def test_use_of_what_is_gone_is_forgotten(keyring: Keyring) -> None:
    """However often a key rotates, nothing piles up in memory."""
    for secret in (A, B, C, A, B, C):
        write(keyring, secret)
        await keyring.verifier.verify()
        keyring.used(await keyring.choose(permit(by=ROUTE)))
    (held,) = keyring.states

    assert (2, 2) == (len(held._uses), len(held.rotation.known))


async def test_a_slow_question_does_not_hold_up_another(
    productlane: Productlane, identities: Identities, clock: Clock, reported: Changes
) -> None:
    """A secret whose `/me` hangs does not stop the promotion of another key's new secret."""
    keyring = keyring_of(
        {"support": key("support", A), "other": key("other", B)}, identities, clock=clock, emit=reported, prefetch=True
    )
    await keyring.verifier.verify()
    clock.now += 400
    productlane.held[A.reveal()] = asyncio.Event()
    async with running(keyring):
        write(keyring, C)
        await reported.until(lambda: ("1", "unverified", "active") == reported.states[-2])

    assert "active" == states(keyring)["1"]
    productlane.held[A.reveal()].set()


async def test_late_answers_do_not_reinstate(keyring: Keyring, productlane: Productlane, clock: Clock) -> None:
    """A good answer of `/me` that was asked for before a 401 on a request does not count after it."""
    await keyring.verifier.verify()
    productlane.gate.clear()
    clock.now += 400
    asking_late = asyncio.create_task(keyring.verifier.verify())
    await productlane.reached(2)
    for _ in range(2):
        keyring.answered(Chosen("support", "1", A), 401, "unauthenticated")
    productlane.gate.set()
    await asking_late

    assert {"1": "unverified"} == states(keyring)


async def test_the_next_good_secret_is_given_after_a_401(productlane: Productlane, identities: Identities) -> None:
    """A request that Productlane refused can be sent with another secret, which `/me` is asked about first."""
    productlane.statuses[B.reveal()] = 401
    keyring = keyring_of({"support": key("support", A, B, C)}, identities)
    first = await keyring.choose(permit(by=ROUTE))
    for _ in range(2):
        keyring.answered(first, 401, "unauthenticated")
    second = await keyring.another(first)

    assert (Chosen("support", "1", A), Chosen("support", "3", C)) == (first, second)
    assert second == await keyring.choose(permit(by=ROUTE))
    assert [A.reveal(), B.reveal(), C.reveal()] == productlane.bearers


async def test_there_may_be_no_other_secret(productlane: Productlane, identities: Identities) -> None:
    """A key without another accepted secret gives none."""
    productlane.statuses[B.reveal()] = 401
    keyring = keyring_of({"support": key("support", A, B), "lone": key("lone", C)}, identities)

    assert None is await keyring.another(Chosen("support", "1", A))
    assert None is await keyring.another(Chosen("lone", "1", C))


async def test_a_reload_carries_what_is_known(
    keyring: Keyring, identities: Identities, productlane: Productlane
) -> None:
    """A reload keeps the states, the use and the replaced secret of a key, and asks nothing again."""
    await keyring.prefetch()
    keyring.used(Chosen("support", "1", A))
    later = keyring_of({"support": key("support", B), "new": key("new", C)}, identities, after=keyring, prefetch=False)
    await later.verifier.verify()
    one, replaced = slot_statuses(later, later.states[0])

    assert ("1", "active", "replaced", "standby") == (one.slot, one.state, replaced.slot, replaced.state)
    assert (moment(1000), 1) == (replaced.last_used, replaced.requests_last_hour)
    assert [A.reveal(), B.reveal()] == productlane.bearers
    assert Chosen("support", "1", B) == await keyring.choose(permit(by=ROUTE))


async def test_a_request_of_the_configuration_before_still_has_its_key(
    keyring: Keyring, identities: Identities
) -> None:
    """A request in progress keeps its key when a reload removes that key."""
    await keyring.prefetch()
    later = keyring_of({"other": key("other", B)}, identities, after=keyring)

    assert Chosen("support", "1", A) == await keyring.choose(permit(by=ROUTE))
    assert ["other"] == [state.name for state in later.states]


async def test_a_reload_that_read_old_files_does_not_reinstate_them(keyring: Keyring, identities: Identities) -> None:
    """A reload that began before a secret was written, and ends after it, leaves the new secret in place."""
    await keyring.prefetch()
    number = keyring.verifier.begin_reading()
    write(keyring, B)
    later = keyring_of({"support": key("support", A)}, identities, after=keyring, number=number)

    assert ["bbbb", "aaaa"] == [slot.preview for slot in slots(later)]


async def test_use_is_counted_by_secret_and_not_by_place(keyring: Keyring) -> None:
    """A secret that moves to another place takes its count and its last use with it."""
    await keyring.prefetch()
    keyring.used(Chosen("support", "1", A))
    write(keyring, B)
    one, replaced = slots(keyring)

    assert (None, 0) == (one.last_used, one.requests_last_hour)
    assert (moment(1000), 1) == (replaced.last_used, replaced.requests_last_hour)


async def test_since_when_a_secret_is_here(keyring: Keyring, clock: Clock) -> None:
    """For each secret it is known when it came, in Unix time."""
    await keyring.prefetch()
    clock.now += 60
    write(keyring, B)
    clock.now += 5

    assert [moment(1000 - 5), moment(1000 - 65)] == [slot.since for slot in slots(keyring)]


async def test_a_file_fault_is_told_and_over_again(keyring: Keyring, reported: Changes) -> None:
    """An unusable file is reported once as an alarm with the reason, and once more when it is usable again."""
    await keyring.prefetch()
    del reported.changes[:]
    for fault in ("the file x is empty", "the file x is empty", ""):
        number = keyring.verifier.begin_reading()
        read = Read("1", "env:SECRET_1", None if fault else A, fault, number)
        keyring.verifier.reread("support", [read])

    assert [("the file x is empty", True), ("", False)] == [(c.reason, c.alarming) for c in reported.changes]
    assert [("1", "active", "active")] * 2 == reported.states


async def test_a_forgotten_secret_is_told(keyring: Keyring, productlane: Productlane, reported: Changes) -> None:
    """When a revoked secret leaves memory, the log can say so."""
    await keyring.prefetch()
    write(keyring, B)
    await keyring.verifier.verify()
    productlane.statuses[A.reveal()] = 401
    keyring.answered(Chosen("support", "replaced", A), 401, "unauthenticated")
    await keyring.verifier.verify()

    assert ("replaced", "standby", "forgotten") == reported.states[-1]


async def test_a_key_that_is_not_held_is_passed_over(keyring: Keyring) -> None:
    """A reading that ends after a reload took its key away does nothing."""
    keyring.verifier.reread("gone", [Read("1", "env:X", A)])

    assert ["support"] == [state.name for state in keyring.states]


async def test_the_stale_answer_of_a_storage_is_a_first_word(productlane: Productlane, clock: Clock) -> None:
    """If Productlane is unreachable at the start, the remembered identity decides, and faults do not change it."""
    async with asking(productlane.url, clock) as identities:
        keyring = keyring_of({"support": Key("support", (Slot(1, "env:S", A),), None)}, identities, clock=clock)
        await keyring.prefetch()
        productlane.status = 503
        clock.now += 120
        again = keyring_of({"support": Key("support", (Slot(1, "env:S", A),), None)}, identities, clock=clock)
        await again.prefetch()

        assert {"1": "active"} == states(again)
