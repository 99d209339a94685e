"""`gateway.callers.oidc`: which tokens of an OpenID Connect issuer identify a caller."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.kind import Credentials, Rejected
from gateway.callers.oidc import KIND, OidcSubject, Subject, matcher
from gateway.callers.tokens import digest
from tests.support.in_process import policy
from tests.support.issuer import AUDIENCE, NOW, LocalIssuer, Signer, issuer_on_loopback, keys_of
from tests.support.sentinels import TOKEN

GITHUB = "https://token.actions.githubusercontent.com"
# As GitHub's page on the claims of its tokens has them.
CLAIMS = {
    "iss": GITHUB,
    "aud": AUDIENCE,
    "exp": NOW + 300,
    "nbf": NOW - 60,
    "iat": NOW,
    "sub": "repo:acme/app:ref:refs/heads/main",
    "repository": "acme/app",
    "repository_owner_id": "4242",
    "ref": "refs/heads/main",
    "run_attempt": 3,
    "ref_protected": True,
    "groups": ["dev", "ops"],
}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"sub": "repo:acme/app:ref:refs/heads/main"}, True),
        ({"sub": "repo:acme/app:ref:refs/heads/*"}, True),
        ({"sub": "repo:acme/*:ref:refs/heads/main"}, True),
        ({"sub": "repo:*:ref:*"}, True),
        ({"sub": "repo:acme/app:ref:refs/heads/main*"}, True),
        ({"sub": "repo:acme/app:*"}, False),
        ({"sub": "repo:*"}, False),
        ({"sub": "*"}, False),
        ({"sub": "repo:acme/app:ref:refs/heads/mai"}, False),
        ({"sub": "repo:acme/app:ref:refs/heads/main2"}, False),
        ({"sub": "repo:acme.app:ref:refs/heads/main"}, False),
        ({"sub": "repo:acme/.*:ref:refs/heads/main"}, False),
        ({"repository": "acme/app", "ref": "refs/heads/main"}, True),
        ({"repository": "acme/app", "ref": "refs/heads/other"}, False),
        ({"repository": "acme/app", "environment": "*"}, False),
        ({"run_attempt": "3"}, True),
        ({"ref_protected": "true"}, True),
        ({"ref_protected": "True"}, False),
        ({"groups": "ops"}, True),
        ({"groups": "*"}, True),
        ({"groups": "admin"}, False),
        ({"iss": "https*"}, False),
    ],
)
def test_a_pattern_matches_whole_claims_and_never_crosses_a_colon(patterns: dict[str, str], expected: bool) -> None:
    """`*` is any text without a colon; every claim that is named has to be there and match as a whole."""
    assert expected is matcher(Subject("github", tuple(patterns.items())))(CLAIMS)


def test_a_line_break_does_not_end_a_claim() -> None:
    """A claim longer than its pattern does not match."""
    assert not matcher(Subject("github", (("sub", "repo:acme/app"),)))({"sub": "repo:acme/app\n"})


@pytest.mark.parametrize(
    "value",
    [
        OidcSubject(issuer="github", subject="repo:acme/*"),
        OidcSubject(issuer="github", claims={"ref": "main"}),
        OidcSubject(issuer="github", subject="a", claims={"ref": "main", "actor": "x"}),
    ],
)
def test_an_entry_is_written_as_it_was_read(value: OidcSubject) -> None:
    """A policy that a command rewrites keeps its subjects."""
    entry = KIND.entry(value)

    assert entry == KIND.entry(OidcSubject(**KIND.written(entry)))


async def found(entries: dict[Subject, str], **claims: Any) -> str | Rejected | None:
    """The result for a token of GitHub's, with the issuer's key in memory."""
    signer = Signer("k", "RS256")
    keys = keys_of(signer)
    await keys.ask()
    verify = KIND.verifier(entries, (IssuerSettings("github", GITHUB, AUDIENCE),), {GITHUB: keys})
    token = signer.sign({**CLAIMS, **claims})
    outcome = verify(Credentials(token, digest(token), None, None, NOW))
    assert outcome is None or isinstance(outcome, str | Rejected)
    return outcome


MAIN = Subject("github", (("sub", "repo:acme/app:ref:refs/heads/main"),))


async def test_a_token_identifies_the_caller_that_lists_its_subject() -> None:
    """The subject of a verified token leads to its caller; another subject is named in the refusal."""
    assert "deploy" == await found({MAIN: "deploy"})
    assert Rejected("the OIDC token is not accepted: its audience is not `productlane-gateway`") == await found(
        {MAIN: "deploy"}, aud="https://github.com/acme"
    )
    unlisted = "the OIDC token is valid, but no policy lists its subject repo:evil/app:x of the issuer github"
    assert Rejected(unlisted) == await found({MAIN: "deploy"}, sub="repo:evil/app:x")


async def test_an_entry_is_for_its_own_issuer() -> None:
    """A subject that is listed for one issuer is unknown at another, whatever its tokens claim."""
    elsewhere = await found({Subject("gitlab", MAIN.patterns): "deploy"})

    assert isinstance(elsewhere, Rejected)


async def test_a_token_that_two_policies_list_identifies_nobody() -> None:
    """Which caller a token is never depends on the order of files."""
    both = await found({MAIN: "deploy", Subject("github", (("repository", "acme/*"),)): "ci"})

    assert isinstance(both, Rejected)
    assert "is in the policies of ci and deploy" in both.why


@pytest.fixture
async def gitlab(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[LocalIssuer]:
    """A second issuer whose key has the same `kid` as the first one's."""
    async with issuer_on_loopback(tmp_path / "gitlab-ca.crt", authority, "") as local:
        yield local


async def test_several_issuers_through_a_whole_gateway(
    start: Callable[..., Any], issuer: LocalIssuer, gitlab: LocalIssuer
) -> None:
    """Jobs of two CI systems are callers by their tokens, side by side with one that has a token of the gateway's.

    A token of one issuer never identifies another's subject, and `explain` and the status say how a caller is known.
    """
    oidc = {
        name: {"issuer": local.url, "audience": AUDIENCE, "ca": str(local.ca)}
        for name, local in (("ci", issuer), ("gitlab", gitlab))
    }
    listed = [
        {"issuer": "ci", "subject": "repo:acme/app:ref:refs/heads/*"},
        {"issuer": "gitlab", "claims": {"project_path": "acme/app", "ref_protected": "true"}},
    ]
    run = await start(
        callers={"oidc": oidc},
        policies=[policy("deploy") | {"authenticate": {"oidc": listed}}, policy("app")],
        clock=lambda: NOW,
    )
    job = {**CLAIMS, "iss": issuer.url}
    pipeline = {**CLAIMS, "iss": gitlab.url, "sub": "x", "project_path": "acme/app", "ref_protected": "true"}
    tokens = {
        issuer.signers[0].sign(job): 200,
        gitlab.signers[0].sign(pipeline): 200,
        TOKEN: 200,
        gitlab.signers[0].sign(job): 401,
        issuer.signers[0].sign(pipeline): 401,
        gitlab.signers[0].sign({**job, "iss": gitlab.url}): 401,
        issuer.signers[0].sign({**job, "sub": "repo:acme/app:pull_request"}): 401,
    }
    assert tokens == {token: (await run.ask(token=token)).status for token in tokens}

    lines = await run.lines(7)
    assert ["deploy", "deploy", "app"] == [line["caller"] for line in lines[:3]]
    assert "no policy lists its subject repo:acme/app:pull_request of the issuer ci" in lines[-1]["note"]
    assert not [token for token in tokens if token.encode() in run.upstream.received]
    status = (await run.admin("/status.json")).json
    assert {("ci", True), ("gitlab", True)} == {(one["name"], one["up"]) for one in status["issuers"]}
    assert {"deploy": ["oidc"], "app": ["tokens"]} == {
        caller["caller"]: caller["authenticate"] for caller in status["callers"] if caller["caller"] != "-"
    }
    assert "oidc" in (await run.admin("/status")).body.decode()
