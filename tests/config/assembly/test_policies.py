"""A folder of policies, and the rules between them."""

import hashlib
import os
from pathlib import Path

import pytest

from gateway.config.assembly.catalog import load_catalog
from gateway.config.assembly.policies import PolicyCache, PolicyFile, read_folder, read_policies
from gateway.config.reading.problem import Problem
from gateway.core.catalog import Catalog
from gateway.core.policy import Policy

DIGEST = hashlib.sha256(b"token").hexdigest()


def folder_of(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def problems_of(folder: Path) -> list[str]:
    return [str(problem).removeprefix(f"{folder}/") for problem in read_policies(folder, load_catalog())[1]]


def test_a_policy_can_be_read_by_itself(tmp_path: Path) -> None:
    """A folder of policies needs no gateway.yaml: a team tests its own."""
    folder = folder_of(tmp_path, app=f"caller: app\nauthenticate: {{tokens: [sha256:{DIGEST}]}}\nscopes: [tags:read]\n")
    policies, problems = read_policies(folder, load_catalog())
    policy = Policy("app", frozenset({"tags:read"}))

    assert not problems
    assert (PolicyFile(str(tmp_path / "app.yaml"), policy, {"tokens": (bytes.fromhex(DIGEST),)}),) == policies
    assert tmp_path / "app.cases.yaml" == policies[0].cases


def test_nothing_is_granted_that_is_not_written(tmp_path: Path) -> None:
    """A policy without scopes and endpoints allows what any key may do, and no more."""
    folder = folder_of(tmp_path, app="caller: app\nauthenticate: {anonymous: true}\n")
    (file,), _ = read_policies(folder, load_catalog())

    assert Policy("app") == file.policy
    assert {"anonymous": (True,)} == file.authenticate


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        (
            "caller: app\nauthenticate: {anonymous: true}\n",
            f"caller: app\nauthenticate: {{tokens: [sha256:{DIGEST}]}}\n",
            "b.yaml:1: caller: `app` has a policy already, in {folder}/a.yaml",
        ),
        (
            "caller: one\nauthenticate: {anonymous: true}\n",
            "caller: two\nauthenticate: {anonymous: true}\n",
            "b.yaml:2: authenticate.anonymous: is the anonymous caller of caller `one` too",
        ),
        (
            f"caller: one\nauthenticate: {{tokens: [sha256:{DIGEST}]}}\n",
            f"caller: two\nauthenticate:\n  tokens:\n    - sha256:{'0' * 64}\n    - sha256:{DIGEST}\n",
            "b.yaml:5: authenticate.tokens[1]: is a token of caller `one` too",
        ),
    ],
)
def test_two_policies_may_not_claim_the_same(tmp_path: Path, one: str, other: str, problem: str) -> None:
    """A caller has one policy, a token has one caller, and at most one caller is anonymous."""
    folder = folder_of(tmp_path, a=one, b=other)

    assert [problem.format(folder=folder)] == problems_of(folder)


def test_a_policy_with_a_problem_is_left_out(tmp_path: Path) -> None:
    """Nothing is granted by a policy that is not right as a whole; the others are read."""
    good = "caller: good\nauthenticate: {anonymous: true}\n"
    nobodys = "caller: nobodys\nscopes: [tags:read]\n"
    typo = f"caller: typo\nauthenticate: {{tokens: [sha256:{DIGEST}]}}\nscopes: [tags:read, tag:read]\n"
    policies, problems = read_policies(folder_of(tmp_path, good=good, nobodys=nobodys, typo=typo), load_catalog())

    assert ["good"] == [file.policy.caller for file in policies]
    assert ["authenticate", "scopes[1]"] == [problem.where for problem in problems]


@pytest.mark.parametrize("name", ["billing.yml", "billing.json"])
def test_a_file_that_looks_like_a_policy_and_would_not_be_read_is_a_problem(tmp_path: Path, name: str) -> None:
    """A policy under another ending would silently grant nothing."""
    folder = folder_of(tmp_path, app="caller: app\nauthenticate: {anonymous: true}\n")
    (folder / name).touch()

    assert [f"{name}: would not be read as a policy; name it *.yaml or move it away"] == problems_of(folder)


@pytest.mark.timeout(10)
def test_a_pipe_in_a_policys_place_holds_nothing_up(tmp_path: Path) -> None:
    """A named pipe in the folder is refused, because reading it could block for ever."""
    folder = folder_of(tmp_path, app="caller: app\nauthenticate: {anonymous: true}\n")
    os.mkfifo(folder / "pipe.yaml")

    assert ["pipe.yaml: cannot be read: it is a pipe"] == problems_of(folder)


def test_an_empty_folder_is_a_problem(tmp_path: Path) -> None:
    """A folder without policies is a problem."""
    (tmp_path / "app.cases.yaml").touch()

    assert [f"{tmp_path}: holds no policy; the gateway would refuse every caller"] == problems_of(tmp_path)


def test_a_kubernetes_volume_holds_each_policy_once(tmp_path: Path) -> None:
    """The hidden folders in which the kubelet keeps a ConfigMap are passed over."""
    (tmp_path / "..2026").mkdir()
    folder_of(tmp_path / "..2026", app="caller: app\nauthenticate: {anonymous: true}\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "app.yaml").symlink_to("..data/app.yaml")
    policies, problems = read_policies(tmp_path, load_catalog())

    assert not problems
    assert ["app"] == [file.policy.caller for file in policies]


def read_again(folder: Path, cache: PolicyCache, catalog: Catalog) -> tuple[dict[str, Policy], list[str]]:
    """The policies by caller, and the problems of the folder."""
    problems: list[Problem] = []
    files = read_folder(folder, catalog, problems, cache=cache).files
    return {file.policy.caller: file.policy for file in files}, [
        str(problem).removeprefix(f"{folder}/") for problem in problems
    ]


def test_only_what_has_changed_is_read_anew(tmp_path: Path) -> None:
    """A change of one policy among thousands rereads one file; a removed caller is removed."""
    one, two = (
        f"caller: {name}\nauthenticate: {{tokens: [sha256:{n * 64}]}}\n" for name, n in (("a", "1"), ("b", "2"))
    )
    folder, cache, catalog = (
        folder_of(tmp_path, a=one, b=two, c="caller: c\nauthenticate: {anonymous: true}\n"),
        PolicyCache(),
        load_catalog(),
    )
    before, _ = read_again(folder, cache, catalog)
    folder_of(folder, b=f"{two}scopes: [tags:read]\n")
    (folder / "c.yaml").unlink()
    after, problems = read_again(folder, cache, load_catalog())

    assert [] == problems
    assert before["a"] is after["a"]
    assert {"a": Policy("a"), "b": Policy("b", frozenset({"tags:read"}))} == after


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            f"caller: z\nauthenticate: {{tokens: [sha256:{'1' * 64}]}}\n",
            "z.yaml:1: caller: `z` has a policy already, in {folder}/a.yaml",
        ),
        (
            f"caller: a\nauthenticate: {{tokens: [sha256:{DIGEST}]}}\n",
            "z.yaml:2: authenticate.tokens[0]: is a token of caller `a` too",
        ),
        (
            "caller: a\nauthenticate: {kubernetes: [a/z]}\n",
            "z.yaml:2: authenticate.kubernetes[0]: is a service account of caller `a` too",
        ),
        (
            "caller: a\nauthenticate: {spiffe: [spiffe://a/z]}\n",
            "z.yaml:2: authenticate.spiffe[0]: is a SPIFFE id of caller `a` too",
        ),
        (
            "caller: a\nauthenticate: {unix_uids: [7]}\n",
            "z.yaml:2: authenticate.unix_uids[0]: is a user id of caller `a` too",
        ),
        (
            "caller: a\nauthenticate: {anonymous: true}\n",
            "z.yaml:2: authenticate.anonymous: is the anonymous caller of caller `a` too",
        ),
    ],
)
def test_what_has_not_changed_is_held_against_what_has(tmp_path: Path, change: str, problem: str) -> None:
    """A sound policy is a problem, with its line, once another one claims its credential."""
    proofs = (
        f"{{tokens: [sha256:{DIGEST}], kubernetes: [a/z], spiffe: ['spiffe://a/z'], unix_uids: [7], anonymous: true}}"
    )
    folder = folder_of(
        tmp_path, a="caller: a\nauthenticate: {unix_uids: [8]}\n", z=f"caller: z\nauthenticate: {proofs}\n"
    )
    cache, catalog = PolicyCache(), load_catalog()
    before, sound = read_again(folder, cache, catalog)
    folder_of(folder, a=change)
    _, problems = read_again(folder, cache, catalog)

    assert ({"a", "z"}, []) == (set(before), sound)
    assert [problem.format(folder=folder)] == problems


def test_another_catalog_has_every_policy_read_anew(tmp_path: Path) -> None:
    """A policy is checked against the current catalog, not that of the last load."""
    folder = folder_of(tmp_path, a="caller: a\nauthenticate: {anonymous: true}\nscopes: [digests:read]\n")
    (tmp_path / "more").write_text("scopes: {digests:read: read digests}\n")
    cache = PolicyCache()
    _, sound = read_again(folder, cache, load_catalog([tmp_path / "more"]))
    _, problems = read_again(folder, cache, load_catalog())

    assert [] == sound
    assert ["a.yaml:3: scopes[0]"] == [": ".join(problem.split(": ")[:2]) for problem in problems]
