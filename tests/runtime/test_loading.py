"""`gateway.runtime.loading`: a configuration is loaded beside a loop that serves."""

import gc
import sys
from datetime import date
from types import SimpleNamespace
from typing import Any

from gateway.runtime.loading import narrow


def test_a_load_starts_no_search_for_garbage_in_everything() -> None:
    """Such a search stops all threads for as long as it takes; after the load all is as before."""
    seen: list[Any] = []

    def narrowed(running: Any) -> Any:
        seen.append((gc.isenabled(), gc.get_threshold(), sys.getswitchinterval()))
        return running

    before = gc.isenabled(), gc.get_threshold(), sys.getswitchinterval()
    narrow(SimpleNamespace(), SimpleNamespace(narrowed=narrowed), date(2026, 1, 1))  # type: ignore[arg-type]

    (during,) = seen
    assert during[0] == before[0]
    assert during[1][:2] == before[1][:2]
    assert during[1][2] > 1_000_000
    assert during[2] < before[2]
    assert before == (gc.isenabled(), gc.get_threshold(), sys.getswitchinterval())
