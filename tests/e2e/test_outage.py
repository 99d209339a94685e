"""A resolver that hangs, fails or knows nothing, behind the real command: what callers notice of it."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.outage import FAULTS, obstacle, outage

# A look-up that hangs takes 10 s and more, and so does a request that waits for it. The gateway waits 2 s; the rest
# is for slow machines. `bench/outage.py` has the figures.
PROMPT: Final = 5.0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The observations of one run through all faults; each test reads its part."""
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
    assert warm["slowest"] < PROMPT
    assert warm["slowest_probe"] < PROMPT


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unknown_name_is_told_in_time(seen: dict[str, Any], fault: str) -> None:
    """A gateway that never knew where its upstream is answers 502 long before its resolver gives up, and why."""
    cold = seen["cold"][fault]

    assert ["502"] == list(cold["statuses"])
    assert {"dns_error", "dns_timeout"} >= set(cold["errors"])
    assert cold["slowest"] < PROMPT


def test_it_comes_back_by_itself(seen: dict[str, Any]) -> None:
    """Once the resolver answers, requests succeed within seconds; the log has one event for each change."""
    assert seen["cold"]["back"] < PROMPT
    assert seen["warm"]["back"] < PROMPT
    assert [1, 1] == seen["warm"]["turns"]


def test_a_look_up_that_hangs_holds_up_no_end(seen: dict[str, Any]) -> None:
    """SIGTERM ends a gateway as fast as ever while its resolver is silent, and without a word on standard error."""
    ended = seen["ended"]

    assert (502, 0, "") == (ended["status"], ended["exit"], ended["said"])
    assert ended["seconds"] < PROMPT


def test_a_check_is_not_held_up_either(seen: dict[str, Any]) -> None:
    """`check --online` says that the name does not resolve, and ends."""
    checked = seen["checked"]

    assert 1 == checked["exit"]
    assert "its name does not resolve" in checked["said"]
    assert checked["seconds"] < 2 * PROMPT
