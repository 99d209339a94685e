"""`gateway.core.promotion`: which secret serves after each event; a verified one serves if there is one."""

from collections.abc import Iterable
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.key_faults import KeyFault
from gateway.core.promotion import (
    FAULT_PAUSE,
    RECHECK,
    REFUSAL_PAUSE,
    RELIEF,
    Read,
    arrange,
    begin,
    doubt,
    due,
    learn,
    recheck,
)
from gateway.core.rotation import REPLACED, SUFFICES, UNVERIFIED, Finding, Rotation, candidates, rank_of, reason, state
from gateway.core.secret import Secret

A, B, C, D = SECRETS = tuple(Secret(f"pl_v2_{letter * 4}-secret") for letter in "abcd")
FULL = frozenset({"threads:read", "threads:write"})
NEEDED = frozenset({frozenset({"threads:read"}), frozenset({"threads:write"})})
GOOD = Finding(None, "wks_1", FULL)
NARROW = Finding(None, "wks_1", frozenset({"threads:read"}))
FOREIGN = Finding(None, "wks_2", FULL)
REVOKED = Finding(KeyFault.REJECTED)
OLD = Finding(KeyFault.UNSUPPORTED)


def reads(*secrets: Secret | None, number: int = 0) -> list[Read]:
    return [Read(str(n), f"file:/s/{n}", secret, number=number) for n, secret in enumerate(secrets, 1)]


def key(
    *secrets: Secret | None, pin: str | None = None, needed: frozenset[frozenset[str]] = NEEDED, eager: bool = False
) -> Rotation:
    return begin(reads(*secrets), pin=pin, needed=needed, now=0, eager=eager)


def written(rotation: Rotation, *secrets: Secret | None, now: float = 0, number: int = 0) -> Rotation:
    return arrange(rotation, reads(*secrets, number=number), now, pin=rotation.pin, needed=rotation.needed)


def learned(rotation: Rotation, secret: Secret, finding: Finding | None, *, now: float = 0) -> Rotation:
    return learn(rotation, secret, finding, asked=rotation.epoch, now=now, jitter=0.5)


def states(rotation: Rotation) -> dict[str, str]:
    return {slot.name: state(rotation, slot) for slot in rotation.all_slots}


def reasons(rotation: Rotation) -> dict[str, str]:
    return {slot.name: reason(rotation, slot) for slot in rotation.all_slots}


def test_the_first_in_order_that_verifies_is_active() -> None:
    """Of several good secrets the first in order serves, and the others are standby."""
    second_first = learned(key(A, B), B, GOOD)
    both = learned(second_first, A, GOOD)

    assert (B, {"1": "unverified", "2": "active"}) == (second_first.current, states(second_first))
    assert (A, {"1": "active", "2": "standby"}) == (both.current, states(both))


@pytest.mark.parametrize(
    ("finding", "shown"),
    [
        (REVOKED, "rejected"),
        (OLD, "unsupported"),
        (FOREIGN, "wrong_workspace"),
        (NARROW, "standby"),
        (None, "unverified"),
    ],
)
def test_a_bad_new_secret_changes_nothing(finding: Finding | None, shown: str) -> None:
    """A new value that is refused, of another workspace, with fewer scopes or unknown is never the one that serves."""
    before = learned(key(A), A, GOOD)
    unverified = written(before, B)
    after = learned(unverified, B, finding)

    assert A == unverified.current == after.current
    assert {"1": shown, REPLACED: "active"} == states(after)


def test_a_good_new_secret_is_promoted_once_it_is_verified() -> None:
    """A new value serves as soon as `/me` verifies it, and the replaced one is standby in memory."""
    before = learned(key(A), A, GOOD)
    unverified = written(before, B, now=7)
    after = learned(unverified, B, GOOD)

    assert (A, (B,)) == (unverified.current, due(unverified, 7))
    assert (B, {"1": "active", REPLACED: "standby"}) == (after.current, states(after))
    assert A == learned(doubt(after, B, 9), B, REVOKED).current


def test_what_is_wrong_is_said_in_words() -> None:
    """The status says why a secret does not serve: missing scopes or another workspace."""
    before = learned(key(A), A, GOOD)
    narrow = learned(written(before, B), B, NARROW)
    foreign = learned(written(before, B), B, FOREIGN)

    assert "it lacks threads:write, which another secret carries and policies need" == reasons(narrow)["1"]
    assert "it belongs to workspace wks_2, the key to wks_1" == reasons(foreign)["1"]
    assert "" == reasons(narrow)[REPLACED]
    assert "Productlane answers 401; it was revoked or is mistyped" == reasons(learned(key(A), A, REVOKED))["1"]
    assert "Productlane answers 410; it is not a v2 key" == reasons(learned(key(A), A, OLD))["1"]


def test_a_standby_that_carries_less_is_no_alarm() -> None:
    """After a rotation to a wider secret the old one is not reported as a fault."""
    wider = learned(learned(key(A, B), A, GOOD), B, NARROW)

    assert ({"1": "active", "2": "standby"}, {"1": "", "2": ""}) == (states(wider), reasons(wider))


def test_what_no_secret_carries_holds_none_back() -> None:
    """A scope that policies ask for and no secret of the key has is drift, and no reason not to rotate."""
    narrow = learned(key(A), A, NARROW)

    assert B == learned(written(narrow, B), B, NARROW).current


def test_scopes_that_nobody_needs_may_go() -> None:
    """A new secret without scopes that no policy asks for is as good as the old one."""
    before = learned(key(A, needed=frozenset({frozenset({"threads:read"})})), A, GOOD)

    assert B == learned(written(before, B), B, NARROW).current


def test_a_narrower_secret_serves_where_the_full_one_is_gone() -> None:
    """Once the old secret is revoked, one with fewer scopes is better than none."""
    narrow = learned(written(learned(key(A), A, GOOD), B), B, NARROW)
    revoked = learned(doubt(narrow, A, 0), A, REVOKED)

    assert (B, {"1": "active"}) == (revoked.current, states(revoked))


@pytest.mark.parametrize("finding", [REVOKED, OLD])
def test_a_refused_one_gives_way_at_once_and_comes_back(finding: Finding) -> None:
    """After a second 401 the next good secret serves at once; when `/me` takes the first one again, it is back."""
    both = learned(learned(key(A, B), A, GOOD), B, GOOD)
    suspected = doubt(both, A, 10)
    doubted = doubt(suspected, A, 10)
    refused = learned(doubted, A, finding, now=10)
    back = learned(refused, A, GOOD, now=20)

    assert [A, A, B, B, A] == [each.current for each in (both, suspected, doubted, refused, back)]
    assert {"1": "unverified", "2": "active"} == states(doubted)
    assert (A,) == due(doubted, 10)


def test_one_answer_does_not_make_a_secret_doubtful() -> None:
    """An answer that refuses the secret starts a look-up of `/me`; the secret serves meanwhile."""
    both = learned(learned(key(A, B), A, GOOD), B, GOOD)
    suspected = doubt(both, A, 10)
    vouched = learned(suspected, A, GOOD, now=10)

    assert (A, {"1": "active", "2": "standby"}, (A,)) == (suspected.current, states(suspected), due(suspected, 10))
    assert vouched is doubt(vouched, A, 14.9)
    assert A == doubt(vouched, A, 15).current


def test_a_refused_scope_has_a_secret_asked_about_once_in_five_seconds() -> None:
    """However many requests lack a scope that `/me` named, the secret is asked about once, and serves meanwhile."""
    good = learned(key(A), A, GOOD)
    asked = recheck(good, A, 10)
    answered = learned(asked, A, NARROW, now=10)

    assert ((A,), A) == (due(asked, 10), asked.current)
    assert [asked, answered] == [recheck(asked, A, 14.9), recheck(answered, A, 14.9)]
    assert (A,) == due(recheck(answered, A, 15), 15)
    assert () == due(recheck(learned(key(A), A, REVOKED), A, 0), 0)


def test_a_lone_doubted_secret_is_the_last_resort() -> None:
    """A 401 from upstream alone does not leave a key without a secret: `/me` has the last word on it."""
    alone = doubt(doubt(learned(key(A), A, GOOD), A, 0), A, 0)

    assert (A, None) == (alone.current, learned(alone, A, REVOKED).current)


def test_an_unverified_secret_is_better_than_a_doubted_one() -> None:
    """A secret that was just refused is tried after a secret that was never refused."""
    assert (B, A) == candidates(doubt(doubt(learned(key(A, B), A, GOOD), A, 0), A, 0))


def test_an_answer_from_before_the_doubt_does_not_count() -> None:
    """A late `/me` answer that was asked for before a 401 cannot reinstate the secret."""
    both = learned(learned(key(A, B), A, GOOD), B, GOOD)
    doubted = doubt(doubt(both, A, 0), A, 0)

    assert doubted is learn(doubted, A, GOOD, asked=both.epoch, now=0, jitter=0)
    assert A == learn(doubted, A, GOOD, asked=doubted.epoch, now=0, jitter=0).current


def test_an_answer_about_a_value_that_is_gone_does_not_count() -> None:
    """A late answer about a value that no slot holds changes nothing."""
    rotation = learned(key(A), A, GOOD)

    assert rotation is learned(rotation, B, GOOD)


def test_a_late_reading_does_not_reinstate_an_old_value() -> None:
    """Of two readings that overlap, the one that was begun later counts, whichever ends first."""
    newer = written(learned(key(A), A, GOOD), B, number=2)
    late = written(newer, A, number=1)

    assert B == late.slots[0].secret


def test_a_file_that_cannot_be_read_keeps_its_value() -> None:
    """An empty, truncated or deleted file is reported, and the secret stays in memory."""
    before = learned(key(A), A, GOOD)
    broken = arrange(before, [Read("1", "file:/s/1", None, "the file /s/1 is empty")], 5, pin=None, needed=NEEDED)

    assert (A, {"1": "active"}) == (broken.current, states(broken))
    assert ("the file /s/1 is empty", 0) == (broken.slots[0].fault, broken.slots[0].since)


def test_a_refused_value_goes_with_its_file() -> None:
    """After a secret was revoked and its file removed, its slot is missing and the secret out of memory."""
    refused = learned(learned(learned(key(A, B), A, GOOD), B, GOOD), B, REVOKED)
    gone = written(refused, A, None)

    assert ({"1": "active", "2": "missing"}, {A}) == (states(gone), set(gone.known))


def test_a_replaced_value_that_is_refused_is_forgotten() -> None:
    """Once Productlane refuses the replaced secret, nothing of it stays in memory."""
    rotated = learned(written(learned(key(A), A, GOOD), B), B, GOOD)

    assert ({"1": "active"}, {B}) == (states(learned(rotated, A, REVOKED)), set(learned(rotated, A, REVOKED).known))


def test_of_replaced_values_the_one_that_serves_stays() -> None:
    """The good value in memory serves however often bad values are written."""
    rotation = learned(key(A), A, GOOD)
    for bad in (B, C, D):
        rotation = learned(written(rotation, bad), bad, REVOKED)

    assert (A, {"1": "rejected", REPLACED: "active"}, {A, D}) == (
        rotation.current,
        states(rotation),
        set(rotation.known),
    )


def test_a_good_standby_that_was_displaced_stays() -> None:
    """A good secret in the second slot stays in memory as well when another one is written over it."""
    both = learned(learned(key(A, B), A, GOOD), B, GOOD)

    assert {"1": "active", "2": "unverified", REPLACED: "standby"} == states(written(both, A, C))


def test_of_two_that_are_displaced_the_one_that_serves_stays() -> None:
    """When both files are written at once, the serving secret continues, even if another has the same scopes."""
    other = Finding(None, "wks_1", frozenset({"threads:write"}))
    both = learned(learned(doubt(key(A, B), A, 0), B, NARROW), A, other, now=1)
    after = written(both, C, D)

    assert B == both.current == after.current


def test_a_new_first_secret_does_not_bring_the_second_to_serve() -> None:
    """While a new first secret is verified, the old first one serves before the second."""
    both = learned(learned(key(A, B), A, GOOD), B, GOOD)
    rewritten = written(both, C, B)

    assert (A, (A, B, C)) == (rewritten.current, candidates(rewritten))


def test_a_secret_of_another_workspace_is_no_measure() -> None:
    """The scopes of a secret from another workspace do not block the promotion of others."""
    rotation = learned(learned(key(A, B), A, NARROW), B, FOREIGN)

    assert SUFFICES == rank_of(rotation, A)


def test_a_value_that_moves_keeps_what_is_known_of_it() -> None:
    """Copying the old secret to the second file asks `/me` nothing and keeps it once."""
    rotated = learned(written(learned(key(A, D), A, GOOD), B, D), B, GOOD)
    moved = written(rotated, B, A, now=50)

    assert ({"1": "active", "2": "standby"}, ()) == (states(moved), due(moved, 50))


def test_a_rollback_is_at_once() -> None:
    """Writing the old secret back needs no new verification."""
    rotated = learned(written(learned(key(A), A, GOOD), B), B, REVOKED)

    back = written(rotated, A, now=90)

    assert (A, {"1": "active"}, 0) == (back.current, states(back), back.slots[0].since)


def test_the_configuration_can_withdraw_a_secret() -> None:
    """A source that the configuration names no more leaves memory with its value, unless that one serves."""
    both = learned(learned(key(A, B), A, GOOD), B, GOOD)
    only_first = arrange(both, reads(A), 0, pin=None, needed=NEEDED)
    only_second = arrange(both, reads(A, B)[1:], 0, pin=None, needed=NEEDED)

    assert {A} == set(only_first.known)
    assert (B, {A, B}) == (only_second.current, set(only_second.known))


def test_a_pin_decides_about_the_workspace() -> None:
    """A pinned key uses secrets of its workspace alone, and a changed pin is heeded."""
    pinned = learned(learned(key(A, B, pin="wks_2"), A, GOOD), B, FOREIGN)
    moved = arrange(pinned, reads(A, B), 0, pin="wks_1", needed=NEEDED)

    assert ({"1": "wrong_workspace", "2": "active"}, B) == (states(pinned), pinned.current)
    assert ({"1": "active", "2": "wrong_workspace"}, A) == (states(moved), moved.current)
    assert A == arrange(pinned, reads(A, B), 0, pin=None, needed=NEEDED).current


def test_without_a_pin_the_workspace_stays_what_it_was() -> None:
    """Even when the only good secret is revoked, no secret of another workspace takes over."""
    rotation = learned(learned(key(A, B), A, GOOD), B, FOREIGN)
    alone = learned(doubt(rotation, A, 0), A, REVOKED)

    assert (None, {"1": "rejected", "2": "wrong_workspace"}) == (alone.current, states(alone))


def test_a_workspace_is_not_certain_before_the_first_secret_is_known() -> None:
    """A second secret that verifies first does not make the first one foreign."""
    rotation = learned(learned(key(A, B), B, FOREIGN), A, GOOD)

    assert ({"1": "active", "2": "wrong_workspace"}, "wks_1") == (states(rotation), rotation.workspace)


def test_a_replaced_unverified_secret_goes_on_while_me_is_away() -> None:
    """With `/me` out of reach since the start, a new value does not push out the one that serves."""
    assert A == written(key(A), B).current


def next_due(rotation: Rotation) -> float:
    """When the first value is to be asked about."""
    return min(dossier.due for dossier in rotation.known.values())


def test_nothing_is_asked_before_it_is_wanted() -> None:
    """Without prefetch a secret is asked about when a request wants it, with it at once."""
    assert ((), inf) == (due(key(A, B), 1e9), next_due(key(A, B)))
    assert ((A, B), 0) == (due(key(A, B, eager=True), 0), next_due(key(A, B, eager=True)))


@pytest.mark.parametrize(
    ("finding", "delays"),
    [
        (REVOKED, [10, 20, 40, 80, 160, 300, 300]),
        (None, [1, 2, 4, 8, 16, 32, 60, 60]),
        (GOOD, [300, 300]),
    ],
)
def test_questions_become_rarer(finding: Finding | None, delays: list[float]) -> None:
    """A refused secret is asked about ever more rarely, up to five minutes; after a mere fault it is asked sooner."""
    rotation, found = key(A, eager=True), []
    for _ in delays:
        now = next_due(rotation)
        rotation = learned(rotation, A, finding, now=now)
        found.append(next_due(rotation) - now)

    assert delays == found


@given(st.floats(0, 1), st.sampled_from([None, REVOKED, GOOD]), st.integers(0, 40))
def test_a_delay_is_spread_and_bounded(jitter: float, finding: Finding | None, tries: int) -> None:
    """However often and whatever the chance, a question is never further than 20 % beyond its longest delay."""
    rotation = key(A, eager=True)
    for _ in range(tries):
        rotation = learn(rotation, A, finding, asked=0, now=0, jitter=jitter)
    delay = next_due(rotation)

    assert 0 <= delay <= 1.2001 * max(RECHECK, FAULT_PAUSE[1], REFUSAL_PAUSE[1])


def test_a_secret_that_me_has_just_vouched_for_is_not_doubted_again() -> None:
    """Where Productlane answers 401 for another reason than the key, that costs one question in five seconds."""
    sure = learned(doubt(learned(key(A), A, GOOD), A, 0), A, GOOD, now=1)

    assert sure is doubt(sure, A, 1 + RELIEF - 0.1)
    assert sure is not doubt(sure, A, 1 + RELIEF)


FINDINGS = st.sampled_from([None, GOOD, NARROW, FOREIGN, REVOKED, OLD])
VALUES = st.sampled_from([None, *SECRETS])
EVENTS = st.one_of(
    st.tuples(st.just("write"), VALUES, VALUES),
    st.tuples(st.just("learn"), st.sampled_from(SECRETS), FINDINGS),
    st.tuples(st.just("late"), st.sampled_from(SECRETS), FINDINGS),
    st.tuples(st.just("doubt"), st.sampled_from(SECRETS), st.none()),
)


def history(events: Iterable[tuple[str, object, object]]) -> list[Rotation]:
    """Random events of a key with two slots, from two secrets on."""
    passed = [key(A, B)]
    for now, (kind, one, other) in enumerate(events, 1):
        rotation = passed[-1]
        if kind == "write":
            rotation = written(rotation, one, other, now=now, number=now)  # type: ignore[arg-type]
        elif kind == "learn":
            rotation = learned(rotation, one, other, now=now)  # type: ignore[arg-type]
        elif kind == "late":
            rotation = learn(rotation, one, other, asked=-1, now=now, jitter=0)  # type: ignore[arg-type]
        else:
            rotation = doubt(rotation, one, now)  # type: ignore[arg-type]
        passed.append(rotation)
    return passed


@given(st.lists(EVENTS, max_size=12))
def test_what_serves_is_the_best_there_is(events: list[tuple[str, object, object]]) -> None:
    """After any events the serving secret is held and usable, and no held secret is better."""
    for rotation in history(events):
        held = {slot.secret for slot in rotation.all_slots if slot.secret is not None}
        ranks = {secret: rank for secret in held if (rank := rank_of(rotation, secret)) is not None}

        assert held == set(rotation.known)
        assert set(ranks) == set(candidates(rotation))
        assert (rotation.current is None) == (not ranks)
        assert rotation.current is None or ranks[rotation.current] == min(ranks.values())
        assert len(held) <= 3


@given(st.lists(EVENTS, max_size=12))
def test_a_good_secret_never_gives_way_to_an_unverified_one(events: list[tuple[str, object, object]]) -> None:
    """No event makes a value serve that `/me` has not vouched for, as long as one that it has vouched for is good."""
    for (before, after), (kind, secret, finding) in zip(pairwise(history(events)), events, strict=True):
        serving = before.current
        refused = kind in ("learn", "late") and secret == serving and finding in (REVOKED, OLD)
        if serving is None or rank_of(before, serving) != SUFFICES or refused or rank_of(after, serving) is None:
            continue

        assert serving in after.known
        assert after.current is not None
        if rank_of(after, serving) == SUFFICES:
            rank = rank_of(after, after.current)
            assert rank is not None
            assert rank < UNVERIFIED


@given(st.lists(EVENTS, max_size=12))
def test_one_place_at_most_is_active(events: list[tuple[str, object, object]]) -> None:
    """A key shows one active slot where its current secret is verified, and none else."""
    for rotation in history(events):
        active = [slot.secret for slot in rotation.all_slots if state(rotation, slot) == "active"]
        rank = None if rotation.current is None else rank_of(rotation, rotation.current)

        assert active == ([rotation.current] if rank is not None and rank < UNVERIFIED else [])
