"""The fuzzing harnesses run on seeds, random bytes and the rows of the tables, so that they cannot rot."""

from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz import answer, fields, source, target
from tests.support import wire_grammar as grammar

Check = Callable[[bytes], None]
HARNESSES = (answer, fields, source, target)


def _changed(random: Random, seed: bytes) -> bytes:
    """A seed with a few bytes inserted, removed, changed or taken from elsewhere in it."""
    made = bytearray(seed)
    for _ in range(random.randint(0, 4)):
        at = random.randint(0, len(made))
        match random.randrange(4):
            case 0:
                made[at:at] = random.randbytes(random.randint(1, 3))
            case 1:
                del made[at : at + random.randint(1, 3)]
            case 2:
                made[at : at + 1] = bytes([random.choice(b"\r\n\t :;,.-_/%0159afx\x00\x7f\xff&*[]{}#'\"|>")])
            case _:
                made[at:at] = made[: random.randint(0, len(made))][-8:]
    return bytes(made)


@pytest.mark.parametrize("harness", HARNESSES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_what_a_harness_checks_holds(harness: object, fuzz: tuple[int, int]) -> None:
    """Randomly damaged seeds of each harness break no promise; a failure shows its input."""
    check: Check = harness.check  # type: ignore[attr-defined]
    seeds: tuple[bytes, ...] = harness.SEEDS  # type: ignore[attr-defined]
    seed, count = fuzz
    random = Random(seed)
    for given in (*seeds, b"", *(_changed(random, random.choice(seeds)) for _ in range(count // 4))):
        try:
            check(given)
        except Exception as failure:
            raise AssertionError(f"--fuzz-seed={seed}: {given!r}") from failure


def test_the_grammars_targets_hold_too(fuzz: tuple[int, int]) -> None:
    """Targets of the grammar keep the target harness's promise without a socket in between."""
    seed, count = fuzz
    random = Random(seed)
    for _ in range(count // 4):
        target.check(b"\0" + grammar.target(random))


def test_a_harness_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness finds a reader that accepts an encoded slash."""
    import re

    monkeypatch.setattr("gateway.core.target._PATH", re.compile(r"(?:/[A-Za-z0-9._~%-]{1,128})+"))

    with pytest.raises(AssertionError):
        target.check(b"\0/api/v2/threads/..%2fcompanies%2f1")
