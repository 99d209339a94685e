"""A resolver that hangs, fails or knows nothing, behind the real command: what callers notice of it."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.outage import FAULTS, obstacle, outage

# A look-up that hangs takes 10 s and more, and whoever waits for one takes as long. The gateway gives it 2 s; the rest
# is for machines that are slow at times. `bench/outage.py` has the figures.
TOLD: Final = 5.0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen in one run through all faults, of which each test reads its part."""
    folder: Path = tmp_path_factory.mktemp("outage")
    if why := obstacle(folder):
        pytest.skip(why)
    return outage(folder, 2.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_known_name_goes_on_serving(seen: dict[str, Any], fault: str) -> None:
    """Whatever the resolver does, requests on live and on new connections are served, as is `/me`, and none waits."""
    warm = seen["warm"][fault]

    assert ["200"] == list(warm["statuses"]) == list(warm["live"])
    assert warm["connections"] >= 10
    assert warm["identities"] >= 1
    assert warm["slowest"] < TOLD
    assert warm["slowest_probe"] < TOLD


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unknown_name_is_told_in_time(seen: dict[str, Any], fault: str) -> None:
    """A gateway that never knew where its upstream is answers 502 long before its resolver gives up, and why."""
    cold = seen["cold"][fault]

    assert ["502"] == list(cold["statuses"])
    assert {"dns_error", "dns_timeout"} >= set(cold["errors"])
    assert cold["slowest"] < TOLD


def test_it_comes_back_by_itself(seen: dict[str, Any]) -> None:
    """Once the resolver answers, requests are served again within seconds, and the log has told of both turns once."""
    assert seen["cold"]["back"] < TOLD
    assert seen["warm"]["back"] < TOLD
    assert [1, 1] == seen["warm"]["turns"]


def test_a_look_up_that_hangs_holds_up_no_end(seen: dict[str, Any]) -> None:
    """SIGTERM ends a gateway as fast as ever while its resolver is silent, and without a word on standard error."""
    ended = seen["ended"]

    assert (502, 0, "") == (ended["status"], ended["exit"], ended["said"])
    assert ended["seconds"] < TOLD


def test_a_check_is_not_held_up_either(seen: dict[str, Any]) -> None:
    """`check --online` says that the name does not resolve, and ends."""
    checked = seen["checked"]

    assert 1 == checked["exit"]
    assert "its name does not resolve" in checked["said"]
    assert checked["seconds"] < 2 * TOLD
