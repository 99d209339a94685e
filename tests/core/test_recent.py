"""`gateway.core.recent`: a memory with a bound."""

from gateway.core.recent import Recent


def test_memory_is_bounded_by_what_was_used_last() -> None:
    """A full memory drops the least recently used entry."""
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.get("a")
    recent.put("c", 3)

    assert [1, None, 3] == [recent.get(key) for key in "abc"]
    assert 2 == len(recent)


def test_putting_anew_does_not_grow() -> None:
    """The same key takes one place, however often it is written."""
    recent: Recent[str, int] = Recent(2)
    for value in range(5):
        recent.put("a", value)
    recent.put("b", 0)

    assert (4, 0, 2) == (recent.get("a"), recent.get("b"), len(recent))
