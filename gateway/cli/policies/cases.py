"""The command that holds policies against their truth tables."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import REFUSED, catalog_option, json_option, print_json, unusable, utc_today
from gateway.cli.table import counted, table

if TYPE_CHECKING:
    from gateway.config.assembly.cases import Case
    from gateway.config.assembly.policies import PolicyFile
    from gateway.config.reading.problem import Problem
    from gateway.core.catalog import Catalog
    from gateway.core.policy import Policy


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@catalog_option("Take the folder and the catalog's extra endpoints from this gateway.yaml")
@json_option
def test(folder: Path | None, config: Path | None, as_json: bool) -> None:
    """Hold policies against their truth tables.

    Beside a policy `billing.yaml`, the file `billing.cases.yaml` says what requests must come to:

    \b
        - [GET /companies, allow]
        - [POST /threads, scope_required]
        - [DELETE /companies/c_1, forbidden]

    FOLDER is `policies/` by default; folders in it that hold policies are sets of their own. Rows are decided by the
    functions that serve requests, as of today. A policy with `mode: audit` is held to what it will be when enforced.

    \b
        productlane-gateway test policies/

    Exit status: 0 where every row holds, 1 where one does not, 2 where a file cannot be used.
    """
    from gateway.cli.policies.policy_sets import policy_sets

    problems: list[Problem] = []
    catalog, sets = policy_sets(folder, config, problems)
    day = utc_today()
    reports = [_report(file, catalog, day, problems) for files in sets for file in files]
    if problems:
        unusable(problems)
    if as_json:
        print_json(_facts(reports))
    else:
        click.echo(_told(reports))
    if any(report.failures for report in reports):
        raise SystemExit(REFUSED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that does not hold, and what the request comes to instead; ``why`` is a refusal's note."""

    case: "Case"
    found: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one policy's table. ``rows`` is None where there is none."""

    file: "PolicyFile"
    rows: int | None
    failures: tuple[Failure, ...]


def failures(cases: "Iterable[Case]", policy: "Policy", catalog: "Catalog", today: date) -> Iterator[Failure]:
    """The rows that the policy does not meet on this day (UTC). Routes and keys are not looked at."""

    enforced = policy._replace(audit=False)
    for case in cases:
        found, why = _outcome(case, enforced, catalog, today)
        if found != case.verdict:
            yield Failure(case, found, why)


def _outcome(case: "Case", policy: "Policy", catalog: "Catalog", today: date) -> tuple[str, str]:
    """What a request comes to, as a row says it, and why."""
    from gateway.config.assembly.cases import ALLOW
    from gateway.core.decision import ask, ruling
    from gateway.core.refusal import Refused
    from gateway.core.target import read_target

    try:
        asked = ask(read_target(case.method, case.target), policy, catalog, None, today)
    except Refused as refused:
        return refused.code.value, refused.note
    rule = ruling(asked)
    if rule.code is not None:
        return rule.code.value, rule.refusal(asked).note
    return ALLOW, rule.summary


def _report(file: "PolicyFile", catalog: "Catalog", today: date, problems: "list[Problem]") -> Report:
    """What is wrong with a table goes to ``problems``."""
    from gateway.config.assembly.cases import read_cases

    if not file.cases.exists():
        return Report(file, None, ())
    cases, found = read_cases(file.cases)
    problems.extend(found)
    return Report(file, len(cases), tuple(failures(cases, file.policy, catalog, today)))


def _facts(reports: Sequence[Report]) -> dict[str, object]:
    return {
        "ok": not any(report.failures for report in reports),
        "policies": [
            {
                "file": str(report.file.file),
                "caller": report.file.policy.caller,
                "rows": report.rows,
                "failures": [
                    {
                        "file": str(report.file.cases),
                        "line": failure.case.line,
                        "request": f"{failure.case.method} {failure.case.path}",
                        "expected": failure.case.verdict,
                        "found": failure.found,
                        "why": failure.why,
                    }
                    for failure in report.failures
                ],
            }
            for report in reports
        ],
    }


def _told(reports: Sequence[Report]) -> str:
    lines: list[str] = []
    for report in reports:
        for failure in report.failures:
            case = failure.case
            lines.append(f"{report.file.cases}:{case.line}: {case.method} {case.path}")
            lines.append(f"  - {case.verdict}")
            lines.append(f"  + {failure.found}" + (f"   ({failure.why})" if failure.why else ""))
    if lines:
        lines.append("")
    lines.append(table([_line(report) for report in reports]))
    rows = sum(report.rows or 0 for report in reports)
    failed = sum(len(report.failures) for report in reports)
    lines.append(
        f"\n{counted(rows, 'row')} of {counted(len(reports), 'policy', 'policies')}: "
        + (f"{failed} failed" if failed else "all hold")
    )
    return "\n".join(lines)


def _line(report: Report) -> tuple[str, str]:
    name = str(report.file.file)
    if report.rows is None:
        return name, f"no cases: {report.file.cases.name} is not there"
    failed = f", {len(report.failures)} failed" if report.failures else ""
    return name, f"{counted(report.rows, 'row')}{failed}"
