"""`keys`: the secrets of running gateways, by the real command over real admin listeners."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.keys.replicas import BadAddress, ask_all, one_kind
from tests.support.command import run
from tests.support.deadline import eventually
from tests.support.in_process import Running
from tests.support.recording import Upstream
from tests.support.sentinels import KEY, OTHER_KEY

Start = Callable[..., Any]
TWO = {"keys": {"main": {"secrets": ["env:MAIN_KEY", "env:SECOND_KEY"]}}, "identity": {"prefetch": True}}


async def shows(gateway: Running, **states: str) -> None:
    """Wait until the metrics show the slots in these states."""
    async with asyncio.timeout(10):
        for slot, state in states.items():
            while True:
                if await gateway.metric("key_state", slot=slot.removeprefix("s"), state=state):
                    break
                await asyncio.sleep(0.01)


def admin(gateway: Running) -> tuple[str, str]:
    return "--admin", f"http://{gateway.gateway.admin}"


async def test_a_table_and_what_may_be_revoked(start: Start, upstream: Upstream) -> None:
    """The table shows each secret by its preview, and a sentence says which one may be revoked."""
    gateway = await start(**TWO)
    await shows(gateway, s1="active", s2="standby")
    await gateway.ask()
    done = await run("keys", *admin(gateway), "--replicas", "1", "--unused-for", "0s")
    heads, first, second, _, sentence = done.out.splitlines()

    assert (0, "") == (done.status, done.err)
    assert ["key", "slot", "preview", "state", "workspace"] == heads.split()[:5]
    assert ["main", "1", "Kone", "active", "wks_1"] == first.split()[:5]
    assert ["main", "2", "Ktwo", "standby", "wks_1"] == second.split()[:5]
    assert sentence.startswith("`main/SECOND_KEY` has not been used in the ")
    assert sentence.endswith("it is safe to revoke.")
    assert KEY not in done.out
    assert OTHER_KEY not in done.out


async def test_every_replica_is_asked(start: Start, upstream: Upstream) -> None:
    """Requests are added up over replicas; one that does not answer is a fault, and nothing is safe to revoke then."""
    one, two = await start(**TWO), await start(**TWO)
    for gateway in (one, two):
        await shows(gateway, s1="active", s2="standby")
        await gateway.ask()
    two_of_two = await run("keys", *admin(one), *admin(two), "--replicas", "2", "--json", "--unused-for", "0s")
    silent = await run("keys", *admin(one), "--admin", "http://127.0.0.1:1", "--json", "--unused-for", "0s")

    assert (0, True, 2) == (
        two_of_two.status,
        two_of_two.json["ok"],
        two_of_two.json["secrets"][0]["requests_last_hour"],
    )
    assert [False, True] == [secret["safe_to_revoke"] for secret in two_of_two.json["secrets"]]
    assert (1, False) == (silent.status, silent.json["ok"])
    assert [False, False] == [secret["safe_to_revoke"] for secret in silent.json["secrets"]]
    assert ["127.0.0.1:1 did not answer: Connection refused."] == silent.json["faults"]


async def test_a_key_that_is_not_served_by_its_first_secret(start: Start, upstream: Upstream) -> None:
    """A failed rotation is reported with its reason, and the exit status is 1."""
    del upstream.scopes[KEY]
    gateway = await start(**TWO)
    await shows(gateway, s1="rejected", s2="active")
    done = await run("keys", *admin(gateway))

    assert 1 == done.status
    assert "`main` is not served by the first of its secrets, main/MAIN_KEY: Productlane answers 401" in done.out


async def test_over_a_unix_socket(start: Start, upstream: Upstream, tmp_path: Any) -> None:
    """`keys` can ask an admin listener on a unix socket."""
    gateway = await start(admin=f"unix:{tmp_path / 'admin.sock'}")
    done = await run("keys", "--admin", str(gateway.gateway.admin), "--json")

    assert [f"unix:{tmp_path / 'admin.sock'}"] == done.json["replicas"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--admin", "http://127.0.0.1:1"), "127.0.0.1:1 did not answer: Connection refused"),
        (
            ("--admin", "http://no-such-name.invalid:9090"),
            "no-such-name.invalid:9090 did not answer: the name does not resolve",
        ),
        (("--admin", "https://127.0.0.1:9090"), "is not an admin listener's address"),
        (("--admin", "http://127.0.0.1:9090/metrics"), "is not an admin listener's address"),
        (("--admin", "http://127.0.0.1:port"), "is not an admin listener's address"),
        (("--unused-for", "soon"), "expected a duration such as 30m or 1h"),
    ],
)
async def test_what_cannot_be_asked(words: tuple[str, ...], said: str) -> None:
    """If the gateway does not answer or the command line is wrong, one line says why, with status 2."""
    done = await run("keys", *words)

    assert (2, "") == (done.status, done.out)
    assert said in done.err


async def test_something_else_at_the_address(upstream: Upstream) -> None:
    """The command recognizes a server that is not a gateway's admin listener."""
    done = await run("keys", "--admin", upstream.url.removesuffix("/api/v2"))

    assert 2 == done.status
    assert "the answer is not a gateway's status" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "but nothing says that {} is all there is; give --replicas"),
        (("--replicas", "2"), "but 1 of 2 replicas were asked"),
    ],
)
async def test_without_certainty_nothing_is_safe(
    words: tuple[str, ...], said: str, start: Start, upstream: Upstream
) -> None:
    """If a replica was not asked, the answer says that it may use the secret, with status 1."""
    gateway = await start(**TWO)
    await shows(gateway, s1="active", s2="standby")
    done = await run("keys", *admin(gateway), "--unused-for", "0s", *words)
    as_json = await run("keys", *admin(gateway), "--unused-for", "0s", "--json", *words)

    assert (1, 1, False) == (done.status, as_json.status, as_json.json["ok"])
    assert said.format(gateway.gateway.admin) in done.out
    assert "safe to revoke" not in done.out
    assert [False, False] == [secret["safe_to_revoke"] for secret in as_json.json["secrets"]]


async def test_one_process_at_two_addresses_is_one_replica(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """One gateway named twice counts once; a file can say how many gateways there are."""
    gateway = await start(**TWO)
    await shows(gateway, s1="active", s2="standby")
    (tmp_path / "replicas").write_text("2\n")
    port = gateway.gateway.admin.port
    twice = "--admin", f"http://127.0.0.1:{port}", "--admin", f"http://localhost:{port}"
    done = await run("keys", *twice, "--replicas", f"file:{tmp_path}/replicas", "--json")
    wrong = await run("keys", *twice, "--replicas", "file:/nowhere")

    assert (1, 2) == (len(done.json["replicas"]), done.json["expected"])
    assert (2, True) == (wrong.status, "expected a number from 1" in wrong.err)


async def test_a_secret_whose_file_is_gone(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """While the value in memory serves on, the command shows the fault beside it and exits with 1; a metric has it."""
    file = tmp_path / "secret"
    file.write_text(KEY)
    file.chmod(0o600)
    gateway = await start(keys={"main": {"secrets": [f"file:{file}"]}}, identity={"prefetch": True})
    await shows(gateway, s1="active")
    good = await run("keys", *admin(gateway))
    before = await gateway.metric("key_source_fault", slot="1")
    file.unlink()

    async def seen() -> bool:
        return bool(await gateway.metric("key_source_fault", slot="1"))

    await eventually(seen)
    gone = await run("keys", *admin(gateway))
    served = await gateway.ask()

    assert (0, 0, 1, 200) == (good.status, before, gone.status, served.status)
    assert "active, source_fault" in gone.out
    assert "`main/secret` is in memory only, and a restart would not find it: " in gone.out
    assert str(file) in gone.out


def test_a_name_stands_for_its_addresses() -> None:
    """A name is resolved, and one of both kinds of address counts once."""
    assert ["127.0.0.1:1"] == [answer.replica for answer in ask_all(["http://localhost:1"]).answers]
    assert ["127.0.0.1:9090", "[::1]:2"] == [answer.replica for answer in ask_all(["127.0.0.1", "[::1]:2"]).answers]
    both = [(socket.AF_INET6, "fd00::1"), (socket.AF_INET, "10.0.0.1"), (socket.AF_INET, "10.0.0.1")]
    assert (["10.0.0.1"], ["fd00::1"]) == (one_kind(both), one_kind(both[:1]))
    with pytest.raises(BadAddress):
        ask_all(["ftp://localhost"])
