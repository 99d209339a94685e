"""The truth table beside a policy."""

from pathlib import Path

from gateway.config.assembly.cases import Case, read_cases

WHOLE = Path(__file__).parents[2] / "support" / "configs" / "cases" / "whole.good.yaml"


def test_each_row_is_a_request_and_its_verdict() -> None:
    """A row has its line, so that a failing one can be found."""
    cases, problems = read_cases(WHOLE)

    assert not problems
    assert Case(1, "GET", "/companies", "allow") == cases[0]
    assert [
        "allow",
        "scope_required",
        "forbidden",
        "not_found",
        "method_not_allowed",
        "invalid_request",
        "unsupported_api_version",
    ] == [case.verdict for case in cases]
    assert [*range(1, 8)] == [case.line for case in cases]


def test_targets_are_whole() -> None:
    """Paths are written without /api/v2 as in policies; one of another version is written out."""
    cases, _ = read_cases(WHOLE)

    assert "/api/v2/companies" == cases[0].target
    assert "/api/v1/threads" == cases[-1].target


def test_a_row_that_is_wrong_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    """One typo does not hide the other rows."""
    path = tmp_path / "a.cases.yaml"
    path.write_text("- [GET /tags, allow]\n- [GET /tags, alow]\n- [GET /me, allow]\n")
    cases, problems = read_cases(path)

    assert ["/tags", "/me"] == [case.path for case in cases]
    assert [2] == [problem.line for problem in problems]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A table that cannot be read does not pass as one without rows."""
    cases, problems = read_cases(tmp_path / "none.yaml")

    assert not cases
    assert [f"{tmp_path}/none.yaml: cannot be read: No such file or directory"] == [str(p) for p in problems]
