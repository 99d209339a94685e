"""`gateway.cli.policies.policy_text`: a policy file with other grants, and nothing else changed."""

from pathlib import Path

import pytest
from msgspec import structs

from gateway.cli.policies.policy_text import with_grants
from gateway.config.assembly.catalog import load_catalog
from gateway.config.assembly.policies import PolicyFile, read_policies
from gateway.core.policy import Policy

CATALOG = load_catalog()
HEAD = "caller: app\nauthenticate: {anonymous: true}\n"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def cut(folder: Path, text: str, scopes: list[str], endpoints: list[str]) -> tuple[PolicyFile, Policy, str]:
    """The file as it is read, the policy that it is to become, and the new text."""
    (folder / "app.yaml").write_text(text)
    (file,), problems = read_policies(folder, CATALOG)
    assert not problems
    named = frozenset(endpoint for name in endpoints if (endpoint := CATALOG.named(name)) is not None)
    policy = file.policy._replace(scopes=frozenset(scopes), endpoints=named)
    return file, policy, with_grants(text, file, policy, CATALOG)


ROWS = [
    pytest.param(
        HEAD + "scopes:\n  # To read.\n  - tags:read\n  # To write,\n  # now and then.\n  - tags:write  # rarely\n\n"
        "# The rest.\nmode: audit\n",
        ["tags:read"],
        [],
        HEAD + "scopes:\n  # To read.\n  - tags:read\n\n# The rest.\nmode: audit\n",
        id="an item goes with what is said of it",
    ),
    pytest.param(
        HEAD + "scopes: [tags:read, tags:write]\nweight: 2\n",
        ["tags:write"],
        [],
        HEAD + "scopes:\n  - tags:write\nweight: 2\n",
        id="flow style",
    ),
    pytest.param(
        HEAD + "scopes:\n- \"tags:read\"\n- 'tags:write'\nweight: 2\n",
        ["tags:read"],
        [],
        HEAD + 'scopes:\n- "tags:read"\nweight: 2\n',
        id="quoted, and not indented",
    ),
    pytest.param(
        HEAD + "scopes:\n  - tags:read\nendpoints:\n  - POST /companies/{company}/merge\n",
        [],
        ["POST /companies/{id}/merge"],
        HEAD + "endpoints:\n  - POST /companies/{company}/merge\n",
        id="a section that is empty goes; placeholders keep their names",
    ),
    pytest.param(
        HEAD + "scopes:\n    - tags:read\ndeny:\n  - GET /tags/{id}\n",
        ["tags:read", "threads:read"],
        ["GET /companies"],
        HEAD
        + "scopes:\n    - tags:read\n    - threads:read\nendpoints:\n  - GET /companies\ndeny:\n  - GET /tags/{id}\n",
        id="what is new comes last, and a new section where it belongs",
    ),
    pytest.param(HEAD, ["tags:read"], [], HEAD + "scopes:\n  - tags:read\n", id="a first scope"),
]


@pytest.mark.parametrize(("text", "scopes", "endpoints", "expected"), ROWS)
def test_the_owners_text_stays(
    tmp_path: Path, text: str, scopes: list[str], endpoints: list[str], expected: str
) -> None:
    """Only the lines of the grants change; comments, order and style of all else are as somebody wrote them."""
    _, _, found = cut(tmp_path, text, scopes, endpoints)

    assert expected == found


@pytest.mark.parametrize(
    "text",
    [
        f"{{caller: app, authenticate: {{tokens: [sha256:{DIGEST}], kubernetes: [a/b], spiffe: [spiffe://a/b], "
        "unix_uids: [7]}, scopes: [tags:read, tags:write], deny: ['GET /tags/{id}'], mode: audit, "
        "expires: 2027-01-01, limits: {reads_per_minute: 5}, weight: 3}\n",
        HEAD + "scopes: [\n  tags:read,\n  tags:write,\n]\n",
        HEAD + "'scopes':\n  - tags:read\n  - tags:write\n",
        HEAD + "scopes:\n  -\n    tags:read\n  - tags:write\n",
    ],
)
def test_a_text_that_cannot_be_edited_is_written_anew(tmp_path: Path, text: str) -> None:
    """Whatever way it was written, the new text is read as the policy that was meant, proofs and all."""
    before, policy, found = cut(tmp_path, text, ["tags:read"], ["GET /threads"])
    (tmp_path / "app.yaml").write_text(found)
    (after,), problems = read_policies(tmp_path, CATALOG)

    assert not problems
    assert structs.replace(before, policy=policy) == after
