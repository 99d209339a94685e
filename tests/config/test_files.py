"""Files that must load and files that must not, in `configs/`: a bad one names its problems in its first lines."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from gateway.config.assembly.cases import read_cases
from gateway.config.assembly.catalog import load_catalog
from gateway.config.assembly.policies import read_policies
from gateway.config.load import load
from gateway.config.reading.problem import ConfigError, Problem
from tests.support.certs import write_listener

CONFIGS = Path(__file__).parents[1] / "support" / "configs"
DIGEST = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
ENVIRON = {
    "SUPPORT": "pl_v2_supportsupport",
    "BILLING": "pl_v2_billingbilling",
    "REDIS": "open-sesame",
    "EMPTY": "",
    "V1": "pl_v1_oldoldoldoldold",
}
TOKENED = "caller: {}\nauthenticate: {{tokens: [sha256:{:064x}]}}\n"
AROUND = {
    "policies/billing.yaml": TOKENED.format("billing", 1),
    "policies/bot.yaml": TOKENED.format("bot", 2),
    "policies/bot.cases.yaml": "this is not a policy",
    "policies/notes.txt": "and neither is this",
    "grants/billing.yaml": TOKENED.format("billing", 1),
    "open/app.yaml": "caller: app\nauthenticate: {anonymous: true}\n",
    "faulty/broken.yaml": "caller: broken\nscopes: [threads:red]\nauthenticate: {anonymous: true}\n",
    "proofs/app.yaml": (
        "caller: app\nauthenticate:\n  kubernetes: [billing/api]\n"
        "  spiffe: [spiffe://cluster.local/x]\n  unix_uids: [7]\n"
    ),
    "extra.yaml": "endpoints: [{method: GET, path: /digests, scopes: [threads:read]}]\n",
    "bad-catalog.yaml": "endpoints: [{method: GET, path: digests, scopes: [threads:read]}]\n",
    "not-certificates.pem": "nothing of the kind\n",
}


@pytest.fixture(autouse=True)
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that `configs/gateway` refers to."""
    for name, text in AROUND.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    write_listener(tmp_path, "ca.pem")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(kind: str, end: str) -> list[pytest.ParameterSet]:
    found = sorted((CONFIGS / kind).glob(f"*.{end}.yaml"))
    assert found
    return [pytest.param(path, id=path.name.removesuffix(".yaml")) for path in found]


def expected(path: Path) -> list[str]:
    """What the first lines of a file say must be reported."""
    lines = path.read_text().splitlines()
    return [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]


def of_gateway(path: Path) -> Sequence[Problem]:
    shutil.copy(path, "gateway.yaml")
    try:
        load(Path("gateway.yaml"), environ=ENVIRON)
    except ConfigError as error:
        return error.problems
    return ()


def of_policy(path: Path) -> Sequence[Problem]:
    Path("folder").mkdir()
    shutil.copy(path, "folder/policy.yaml")
    problems = read_policies(Path("folder"), load_catalog())[1]
    return [Problem(Path(problem.file).name, problem.line, problem.where, problem.message) for problem in problems]


def of_catalog(path: Path) -> Sequence[Problem]:
    shutil.copy(path, "extra.yaml")
    try:
        load_catalog([Path("extra.yaml")])
    except ConfigError as error:
        return error.problems
    return ()


def of_cases(path: Path) -> Sequence[Problem]:
    shutil.copy(path, "policy.cases.yaml")
    return read_cases(Path("policy.cases.yaml"))[1]


READERS: Mapping[str, Callable[[Path], Sequence[Problem]]] = {
    "gateway": of_gateway,
    "policy": of_policy,
    "catalog": of_catalog,
    "cases": of_cases,
}


@pytest.mark.parametrize("path", [case for kind in READERS for case in files(kind, "good")])
def test_a_good_file_loads(path: Path) -> None:
    """What the schema allows is accepted without a word."""
    assert [] == [str(problem) for problem in READERS[path.parent.name](path)]


@pytest.mark.parametrize("path", [case for kind in READERS for case in files(kind, "bad")])
def test_a_bad_file_is_told_everything_that_is_wrong(path: Path) -> None:
    """Every problem of a file is reported at once with its line and its key, and nothing that is not one."""
    problems = [str(problem) for problem in READERS[path.parent.name](path)]

    assert expected(path)
    assert sorted(expected(path)) == sorted(problems)


def test_problems_come_in_the_order_of_the_lines() -> None:
    """The problems of a file come in the order of its lines."""
    problems = of_gateway(CONFIGS / "gateway" / "yaml_1_1.bad.yaml")

    assert sorted(problem.line for problem in problems) == [problem.line for problem in problems]


def test_no_problem_holds_a_secret() -> None:
    """A key in a wrong file or variable is not copied into the log: every problem is expected, and none holds a key."""
    text = "\n".join(line for path in CONFIGS.rglob("*.bad.yaml") for line in expected(path))

    for secret in ("thisoneisinthefile", "abcdefghijklmnop", "oldoldold", "a-token-in-clear", "sesame", ":pw"):
        assert secret not in text.replace("user name or password", "")


def test_every_fixture_is_used() -> None:
    """Every example file is read by a test."""
    names = {str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*") if path.is_file()}
    read = {str(path.relative_to(CONFIGS)) for kind in READERS for path in (CONFIGS / kind).glob("*.*.yaml")}

    assert read == names
    assert all(name.endswith((".good.yaml", ".bad.yaml")) for name in read)
