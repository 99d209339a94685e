"""What takes effect of policies while a change of the configuration cannot be used."""

from pathlib import Path

from hypothesis import given

from gateway.config.assembly.catalog import load_catalog
from gateway.config.assembly.narrowing import both
from gateway.config.load import ConfigSource
from gateway.core.catalog import Endpoint
from gateway.core.policy import Policy
from tests.support.policies import policies

CATALOG = load_catalog()
GATEWAY = "keys: {main: {secrets: [env:MAIN]}}\nroutes: [{path: /**, keys: [main]}]\n"
POLICY = "caller: {}\nauthenticate: {{tokens: [sha256:{:064x}, sha256:{:064x}]}}\nscopes: [{}]\n"


def allows(policy: Policy, endpoint: Endpoint) -> bool:
    """The decision of a policy about an endpoint on a day before any expiry."""
    if endpoint in policy.deny:
        return False
    return endpoint in policy.endpoints or (not endpoint.guarded and (policy.audit or endpoint.scopes <= policy.scopes))


@given(old=policies(CATALOG), new=policies(CATALOG))
def test_both_allow_what_the_narrower_one_allows(old: Policy, new: Policy) -> None:
    """An endpoint is allowed only if the old and the new policy allow it, and no cap or expiry is wider."""
    policy = both(old, new)

    for endpoint in CATALOG.endpoints:
        assert allows(policy, endpoint) == (allows(old, endpoint) and allows(new, endpoint)), endpoint.name
    for name in ("expires", "reads", "writes"):
        given_by = [value for one in (old, new) if (value := getattr(one, name)) is not None]
        assert getattr(policy, name) == min(given_by, default=None)


@given(policy=policies(CATALOG))
def test_a_policy_and_itself_are_that_policy(policy: Policy) -> None:
    """An unchanged policy allows the same endpoints, however its text is written."""
    same = both(policy, policy)

    assert [allows(policy, one) for one in CATALOG.endpoints] == [allows(same, one) for one in CATALOG.endpoints]


def origin(tmp_path: Path) -> ConfigSource:
    (tmp_path / "policies").mkdir()
    (tmp_path / "gateway.yaml").write_text(GATEWAY)
    for number, name in enumerate(("a", "b", "c")):
        put(tmp_path, name, number, "threads:read, contacts:read")
    return ConfigSource(tmp_path / "gateway.yaml", {"MAIN": "pl_v2_mainmainmain"})


def put(tmp_path: Path, name: str, number: int, scopes: str, second: int = 0) -> None:
    path = tmp_path / "policies" / f"{name}.yaml"
    path.write_text(POLICY.format(name, number * 10 + 1, number * 10 + 2 + second, scopes))


def test_a_removed_caller_and_a_removed_token_are_gone(tmp_path: Path) -> None:
    """A broken file keeps its caller; a removed file removes its caller; a removed token is unknown."""
    files = origin(tmp_path)
    running = files.load()
    (tmp_path / "policies" / "a.yaml").write_text("caller: [\n")
    (tmp_path / "policies" / "b.yaml").unlink()
    put(tmp_path, "c", 2, "threads:read, companies:read", second=5)
    left = files.narrowed(running)

    assert {"a", "c"} == {*left.policies}
    assert running.policies["a"] == left.policies["a"]
    assert {"threads:read"} == left.policies["c"].scopes
    tokens = {int.from_bytes(token): caller for token, caller in left.callers.by_kind["tokens"].items()}
    assert {1: "a", 2: "a", 21: "c"} == tokens


def test_what_is_renamed_stays_and_what_is_new_waits(tmp_path: Path) -> None:
    """A renamed file keeps its caller; a caller that is new is not added."""
    files = origin(tmp_path)
    running = files.load()
    (tmp_path / "policies" / "a.yaml").write_text("caller: [\n")
    (tmp_path / "policies" / "b.yaml").rename(tmp_path / "policies" / "z.yaml")
    put(tmp_path, "new", 7, "threads:read")

    assert {"a", "b", "c"} == {*files.narrowed(running).policies}


def test_a_folder_that_cannot_be_read_takes_nothing_away(tmp_path: Path) -> None:
    """A mount that is missing or empty for a moment revokes no caller."""
    files = origin(tmp_path)
    running = files.load()
    folder = tmp_path / "policies"
    for path in [*folder.iterdir()]:
        path.unlink()

    assert files.narrowed(running) is running
    folder.rmdir()
    assert files.narrowed(running) is running
