"""`gateway.budgets.reports`: which replicas are alive, and what of their reports is believed."""

import pytest

from gateway.budgets.reports import CallerReport, CountReport, Report, Reports, encode

COUNT = CountReport(5060, 40, {"app": CallerReport(1, 20, 0, 0.5)})


def stored(number: int, name: bytes = b"other") -> dict[bytes, bytes]:
    """What is in the store after a replica's report of this number, beside our own."""
    return {name: encode(Report(number, {"f:read": COUNT})), b"own": encode(Report(1, {}))}


def test_a_report_is_read_as_it_was_written() -> None:
    """The numbers of another replica arrive; one's own report is left out."""
    alive, dead = Reports().read(stored(7), b"own", 0.0)

    assert ([{"f:read": COUNT}], []) == ([report.counts for report in alive], dead)


def test_a_replica_whose_report_does_not_change_has_ended() -> None:
    """After three seconds it no longer counts, and after a minute its report is deleted; no clocks are compared."""
    reports = Reports()
    seen = [reports.read(stored(7), b"own", now) for now in (0.0, 2.9, 3.1, 59.0, 60.1)]

    assert [1, 1, 0, 0, 0] == [len(alive) for alive, _ in seen]
    assert [[], [], [], [], [b"other"]] == [dead for _, dead in seen]


def test_a_replica_that_reports_again_is_back() -> None:
    """A replica that was stopped for a while is counted again with its next report."""
    reports = Reports()
    counts = [len(reports.read(stored(number), b"own", now)[0]) for number, now in ((7, 0.0), (7, 10.0), (8, 11.0))]

    assert [1, 0, 1] == counts


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"number": 1}',
        b'{"number": 1, "counts": {"f:read": {"reset": 1, "remaining": -1, "callers": {}}}}',
        b'{"number": 1, "counts": {"f:read": {"reset": 1, "remaining": 1, "callers": {"app": [0, 1, 1, 1]}}}}',
        b'{"number": 1, "counts": {"f:read": {"reset": 1, "remaining": 1, "callers": {"app": [1, -1, 1, 1]}}}}',
        b'{"number": 1, "counts": {"f:read": {"reset": 1, "remaining": 1, "callers": {"app": [1, 1, 1, 1e99]}}}}',
    ],
)
def test_what_cannot_be_a_report_is_not_believed(data: bytes) -> None:
    """What somebody else wrote under the name changes no budget, and is deleted."""
    assert ([], [b"other"]) == Reports().read({b"other": data}, b"own", 0.0)
