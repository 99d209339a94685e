"""`gateway.runtime.reload`: a change of the files is applied whole or not at all, and loses no request."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.keys.sources import POLL
from gateway.runtime.server import serve
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, config, policy
from tests.support.raw_caller import Caller, head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.sentinels import ALL_SCOPES, KEY, OTHER_KEY, TOKEN

Start = Callable[..., Any]
OTHER_TOKEN = "plgw_token-of-other-0123456789"
BROKEN_TOKEN = "plgw_token-of-broken-0123456789"
SECOND = {"main": {"secrets": ["env:SECOND_KEY"]}}


def put(path: Path, text: str) -> None:
    """Write as careful programs do: another file, renamed into place."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def put_policy(run: Running, name: str = "0.yaml", **fields: Any) -> None:
    put(run.folder / "policies" / name, yaml.safe_dump(policy(**fields)))


def put_config(run: Running, **settings: Any) -> None:
    put(run.folder / "gateway.yaml", yaml.safe_dump(config(run.upstream.url, **settings)))


async def test_a_policy_that_is_added_counts_at_once(start: Start) -> None:
    """A team that puts its file into the folder is served without a restart, and the log says who came."""
    run = await start(live=True)
    before = await run.ask(token=OTHER_TOKEN)
    put_policy(run, "new.yaml", caller="newcomer", token=OTHER_TOKEN)
    (logged,) = await run.events("policy_change")
    (reload,) = await run.events("reload")

    assert (401, 200) == (before.status, (await run.ask(token=OTHER_TOKEN)).status)
    assert ("newcomer", "added") == (logged["caller"], logged["outcome"])
    assert ("success", 2) == (reload["outcome"], reload["policies"])


async def test_a_policy_that_is_changed_or_removed_counts_at_once(start: Start) -> None:
    """A revoked grant is refused from then on, and a caller without a policy is unknown."""
    run = await start(live=True, policies=[policy(), policy("other", OTHER_TOKEN)])
    put_policy(run, scopes=["contacts:read"])
    await run.events("policy_change", caller="app", outcome="changed")
    narrowed = await run.ask()
    (run.folder / "policies" / "1.yaml").unlink()
    await run.events("policy_change", caller="other", outcome="removed")
    removed = await run.ask(token=OTHER_TOKEN)

    assert (403, "scope_required", 401) == (narrowed.status, narrowed.code, removed.status)


async def test_what_is_taken_away_is_refused_on_a_connection_that_was_there_before(start: Start) -> None:
    """A removed grant or token is not remembered: the same bytes are judged again."""
    run = await start(live=True, policies=[policy(), policy("other", OTHER_TOKEN)])
    granted, known = await run.connect(), await run.connect()
    asked = {granted: head("GET", "/api/v2/threads"), known: head("GET", "/api/v2/threads", token=OTHER_TOKEN)}
    before = [await _again(caller, request) for caller, request in asked.items() for _ in range(3)]
    put_policy(run, scopes=["contacts:read"])
    await run.events("policy_change", caller="app", outcome="changed")
    (run.folder / "policies" / "1.yaml").unlink()
    await run.events("policy_change", caller="other", outcome="removed")

    assert [200] * 6 == before
    assert [403, 401] == [await _again(caller, request) for caller, request in asked.items()]


async def _again(caller: Caller, request: bytes) -> int:
    await caller.send(request)
    return (await caller.response()).status


async def test_another_token_is_a_change_of_its_caller(start: Start) -> None:
    """A rotated token works at once and the old one no longer does, and the log names the caller."""
    run = await start(live=True)
    put_policy(run, token=OTHER_TOKEN)
    await run.events("policy_change", caller="app", outcome="changed")

    assert (401, 200) == ((await run.ask()).status, (await run.ask(token=OTHER_TOKEN)).status)


async def test_a_reload_loses_no_count_of_look_ups(start: Start) -> None:
    """Every request is a look-up in the metrics, although a policy was removed before they were next read."""
    run = await start(live=True, policies=[policy(), policy("other", OTHER_TOKEN)])
    caller = await run.connect()
    for token in (TOKEN, OTHER_TOKEN) * 3:
        await caller.send(head("GET", "/api/v2/threads", token=token))
        await caller.response()
    (run.folder / "policies" / "1.yaml").unlink()
    await run.events("policy_change", caller="other", outcome="removed")
    await _again(caller, head("GET", "/api/v2/threads"))
    counted = [await run.metric("identity_lookups_total", key="main", result=result) for result in ("miss", "hit")]

    assert [1, 6] == counted


OTHERS_BROKEN = {"policies/broken.yaml": "caller: [\n", "gateway.yaml": "keys: [\n"}


@pytest.mark.parametrize("file", OTHERS_BROKEN)
async def test_a_revocation_does_not_wait_for_another_file(start: Start, file: str) -> None:
    """While another file is broken, removed callers and narrower grants take effect; wider grants do not."""
    run = await start(live=True, policies=[policy(), policy("other", OTHER_TOKEN), policy("broken", BROKEN_TOKEN)])
    good = (run.folder / "gateway.yaml").read_text()
    (run.folder / "policies" / "2.yaml").rename(run.folder / "policies" / "broken.yaml")
    await run.events("reload", outcome="success")
    put(run.folder / file, OTHERS_BROKEN[file])
    await run.events("reload", outcome="failure")
    untouched = [(await run.ask(token=token)).status for token in (TOKEN, OTHER_TOKEN, BROKEN_TOKEN)]
    (run.folder / "policies" / "1.yaml").unlink()
    await run.events("policy_change", caller="other", outcome="removed")
    put_policy(run, scopes=["contacts:read"], endpoints=["POST /webhooks"])
    await run.events("policy_change", caller="app", outcome="changed")
    removed, narrower = await run.ask(token=OTHER_TOKEN), await run.ask()
    wider, kept = await run.ask("POST", "/api/v2/webhooks", body=b"{}"), await run.ask(token=BROKEN_TOKEN)
    status = (await run.admin("/status.json")).json["reload"]
    put(run.folder / "gateway.yaml", good)
    put_policy(run, "broken.yaml", caller="broken", token=BROKEN_TOKEN)
    await run.events("reload", outcome="success", count=2)
    mended = await run.ask("POST", "/api/v2/webhooks", body=b"{}")

    assert [200, 200, 200] == untouched
    assert (401, 403, 403, 200) == (removed.status, narrower.status, wider.status, kept.status)
    assert (False, ["app", "other"]) == (status["ok"], status["narrowed"])
    assert 403 != mended.status


BROKEN = {
    "syntax": ("policies/0.yaml", "caller: [\n"),
    "a duplicate key": ("policies/0.yaml", yaml.safe_dump(policy()) + "caller: app\n"),
    "an unknown key": ("policies/0.yaml", yaml.safe_dump(policy() | {"scope": []})),
    "0 bytes": ("policies/0.yaml", ""),
    "a missing secret": (
        "gateway.yaml",
        yaml.safe_dump(config("http://127.0.0.1:1") | {"keys": {"main": {"secrets": ["env:NO"]}}}),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_change_keeps_the_last_good(start: Start, name: str) -> None:
    """Log, status and metrics report a mistake once, with its place; callers are not affected."""
    run = await start(live=True)
    file, text = BROKEN[name]
    good = (run.folder / file).read_text()
    put(run.folder / file, text)
    (failure,) = await run.events("reload", outcome="failure")
    status, served = (await run.admin("/status.json")).json["reload"], await run.ask()
    failing = await run.metric("config_last_reload_successful")
    put(run.folder / file, good)
    await run.events("reload", outcome="success")
    mended = (await run.admin("/status.json")).json["reload"]

    assert 200 == served.status
    assert failure["problems"] == status["problems"]
    assert file in failure["problems"][0]
    assert (False, 0.0) == (status["ok"], failing)
    assert status["failing_since"] is not None
    assert {"ok": True, "problems": [], "failing_since": None, "restart_needed": [], "narrowed": []} == mended
    assert 1.0 == await run.metric("config_last_reload_successful")
    assert (2.0, 1.0) == (
        await run.metric("config_reloads_total", outcome="success"),
        await run.metric("config_reloads_total", outcome="failure"),
    )


@pytest.mark.parametrize("way", ["a link to itself", "a name that no file can have"])
async def test_a_path_that_leads_nowhere_does_not_end_the_watch(start: Start, way: str) -> None:
    """A path that was wrong for a while is noticed and served once it is right."""
    run = await start(live=True)
    file = run.folder / "gateway.yaml"
    good = file.read_text()
    if way == "a link to itself":
        file.with_name(".link").symlink_to("gateway.yaml")
        file.with_name(".link").replace(file)
    else:
        put(file, good + f"catalog: [{'x' * 300}]\n")
    await run.events("reload", outcome="failure")
    put(file, good)
    await run.events("reload", outcome="success")
    put_policy(run, scopes=["contacts:read"])
    await run.events("policy_change", outcome="changed")

    assert 403 == (await run.ask()).status


async def test_a_name_that_is_no_text_is_told_legibly(start: Start) -> None:
    """A file name that is not UTF-8, or contains a line end, is reported like any problem in log and status."""
    run = await start(live=True)
    os.close(os.open(os.fsencode(run.folder / "policies") + b"/\xff\n.yml", os.O_CREAT))
    (failure,) = await run.events("reload", outcome="failure")
    page, status = await run.admin("/status"), await run.admin("/status.json")

    assert [f"{run.folder}/policies/??.yml: would not be read as a policy; name it *.yaml or move it away"] == [
        *failure["problems"]
    ]
    assert (200, 200) == (page.status, status.status)
    assert failure["problems"] == status.json["reload"]["problems"]


async def test_every_problem_is_told_once(start: Start) -> None:
    """While a change stays broken, a reported problem is not reported again; a new problem is."""
    run = await start(live=True)
    put_policy(run, scopes=["threads:red"])
    await run.events("reload", outcome="failure")
    put_policy(run, scopes=["threads:red"], weight=2)
    await run.gateway.parts.reloads.look()
    put_policy(run, scopes=["threads:red", "docs:wirte"])
    logged = await run.events("reload", 2, outcome="failure")

    assert ["threads:read", "docs:write"] == [
        problem.rsplit('"', 2)[1] for line in logged for problem in line["problems"]
    ]


async def test_the_same_bytes_are_no_reload(start: Start) -> None:
    """A deployment that rewrites every file with the same content changes nothing and counts nothing."""
    run = await start(live=True)
    put(run.folder / "policies" / "0.yaml", (run.folder / "policies" / "0.yaml").read_text())
    (run.folder / "policies" / "0.cases.yaml").write_text("- [GET /threads, allow]\n")
    await run.gateway.parts.reloads.look()
    (logged,) = await run.events("reload")

    assert "unchanged" == logged["outcome"]
    assert 1.0 == await run.metric("config_reloads_total")


async def test_what_is_set_at_the_start_waits_for_a_restart(start: Start) -> None:
    """A new address, store or log is not taken up half: the rest of the change counts, and the log says what waits."""
    run = await start(live=True)
    assert 0 == await run.metric("restart_needed")
    put_config(run, admin="127.0.0.1:1", log={"level": "error"}, upstream={"key_errors": "translate"})
    (logged,) = await run.events("restart_needed")
    assert 1 == await run.metric("restart_needed")
    run.upstream.reply = b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n"
    served = await run.ask()

    assert "admin, log" == logged["reason"]
    assert ["admin", "log"] == (await run.admin("/status.json")).json["reload"]["restart_needed"]
    assert (502, "upstream_key_rejected") == (served.status, served.code)


async def test_an_anonymous_policy_is_not_taken_up_by_an_open_listener(start: Start) -> None:
    """A file that moves the listener to loopback for its anonymous policy does not open the old one meanwhile."""
    run = await start(live=True, listen="0.0.0.0:0")
    put_config(run, listen="127.0.0.1:0")
    await run.events("restart_needed")
    put_policy(run, "open.yaml", caller="anybody", token=None)
    (failure,) = await run.events("reload", outcome="failure")

    assert "anonymous" in failure["problems"][0]
    assert 401 == (await run.ask(token=None)).status


async def test_another_upstream_and_key_are_taken_up(start: Start) -> None:
    """Keys, routes and the upstream change live; a request in progress ends with the old ones."""
    run = await start(live=True)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_: Any, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    run.upstream.reply = slowly
    under_way = asyncio.create_task(run.ask())
    async with asyncio.timeout(DEADLINE):
        await asked.wait()
    settings: dict[str, Any] = {"keys": {"second": {"secrets": ["env:SECOND_KEY"]}}}
    settings["routes"] = [{"path": "/**", "keys": ["second"]}]
    put_config(run, upstream={"idle_timeout": "7s"}, **settings)
    await run.events("reload", outcome="success")
    run.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"
    new = await run.ask()
    go_on.set()

    assert (b"old", b"new") == ((await under_way).body, new.body)
    assert [KEY, OTHER_KEY] == [arrival.bearer for arrival in run.upstream.arrivals]


async def test_another_productlane_has_keys_of_another_workspace(start: Start) -> None:
    """Moved to another upstream, a key is what that one says of it, and no secret of before is sent there."""
    run = await start(live=True, identity={"prefetch": True})
    await run.ask()
    elsewhere = Upstream()
    await elsewhere.start()
    elsewhere.workspace, elsewhere.scopes = "wks_2", {OTHER_KEY: ALL_SCOPES}
    try:
        put(run.folder / "gateway.yaml", yaml.safe_dump(config(elsewhere.url, keys=SECOND)))
        await run.events("reload", outcome="success")
        served = await run.ask()
        (slot,) = (await run.admin("/status.json")).json["keys"][0]["slots"]
    finally:
        await elsewhere.stop()

    assert (200, "active", "wks_2") == (served.status, slot["state"], slot["workspace"])
    assert {OTHER_KEY} == {arrival.bearer for arrival in (*elsewhere.lookups, *elsewhere.arrivals)}


async def test_what_is_known_of_keys_survives(start: Start) -> None:
    """A reload sends no request to Productlane, and keeps the last use of each key and the usage of callers."""
    run = await start(live=True)
    await run.ask()
    looked_up = len(run.upstream.lookups)
    put_policy(run, "new.yaml", caller="newcomer", token=OTHER_TOKEN)
    await run.events("reload", outcome="success")
    await run.ask(token=OTHER_TOKEN)
    status = (await run.admin("/status.json")).json

    assert 1 == looked_up == len(run.upstream.lookups)
    assert status["keys"][0]["slots"][0]["last_used"] is not None
    assert {"app", "newcomer"} == {caller["caller"] for caller in status["callers"] if caller["used"]}


async def test_what_a_secret_in_memory_has_spent_survives(start: Start, tmp_path: Path) -> None:
    """While the file has no good secret, a reload remembers that the secret in memory has no budget left."""
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(KEY)
    settings: dict[str, Any] = {"keys": {"main": {"secrets": [f"file:{file}"]}}, "pacing": {"max_wait": "0s"}}
    run = await start(live=True, identity={"prefetch": True}, **settings)
    spent = ("X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {int(time.time()) + 50}")
    run.upstream.reply = answer(fields=spent)
    await run.ask()
    file.write_text("pl_v2_bad-one-for-tests")
    await run.events("key_state", preview="bad-", state="rejected")
    put_policy(run, weight=2)
    await run.events("reload", outcome="success")

    assert 429 == (await run.ask()).status
    assert 1 == len(run.upstream.arrivals)


async def test_limits_of_connections_and_bodies_change_live(start: Start) -> None:
    """A smaller body limit counts from the next request on."""
    run = await start(live=True)
    before = await run.ask("POST", "/api/v2/threads", body=b"x" * 100)
    put_config(run, limits={"body": {"write": 50}})
    await run.events("reload", outcome="success")
    after = await run.ask("POST", "/api/v2/threads", body=b"x" * 100)

    assert (200, 413) == (before.status, after.status)


async def test_sighup_looks_at_once(start: Start) -> None:
    """`kill -HUP` is answered in the log even if nothing changed, and does not end the process."""
    run = await start(live=True)
    run.gateway.look()
    (logged,) = await run.events("reload")

    assert "unchanged" == logged["outcome"]
    assert 200 == (await run.ask()).status
    assert signal.SIGHUP in signal.valid_signals()
    assert serve.__doc__ is not None


async def test_sighup_reads_secrets_too(start: Start, tmp_path: Path) -> None:
    """A secret behind a changed link further up its path, which causes no notice, is found by the poll."""
    for name, secret in (("one", KEY), ("two", OTHER_KEY)):
        file = tmp_path / name / "folder" / "key"
        file.parent.mkdir(parents=True)
        file.touch(0o600)
        file.write_text(secret)
    (tmp_path / "link").symlink_to("one")
    keys = {"main": {"secrets": [f"file:{tmp_path}/link/folder/key"]}}
    run = await start(live=True, identity={"prefetch": True}, keys=keys)
    async with asyncio.timeout(DEADLINE):
        await run.gateway.parts.sources.watcher.watching.wait()
    await run.gateway.parts.sources.watcher.look()
    (tmp_path / ".link").symlink_to("two")
    (tmp_path / ".link").replace(tmp_path / "link")
    run.gateway.look()
    async with asyncio.timeout(POLL / 2):
        await run.events("key_state", preview="Ktwo")


@pytest.mark.timeout(300)
async def test_hundreds_of_changes_under_load_lose_no_request(start: Start) -> None:
    """200 changes, every other one broken: each request is answered by one configuration or another, whole.

    The token is now of one caller and now of another, and each caller has a route and a key of its own: who is judged
    by the policies of one configuration and the routes of another has no route, and is refused.
    """
    keys = {"even": {"secrets": ["env:MAIN_KEY"]}, "odd": {"secrets": ["env:SECOND_KEY"]}}

    def routes(name: str) -> list[dict[str, Any]]:
        return [{"path": "/**", "callers": [name], "keys": [name]}, {"path": "/docs/**", "keys": ["even", "odd"]}]

    def reply(arrival: Any, writer: asyncio.StreamWriter) -> None:
        body = {KEY: b"even", OTHER_KEY: b"odd!"}[arrival.bearer]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)

    run = await start(live=True, keys=keys, routes=routes("even"), policies=[policy("even")])
    run.upstream.scopes[OTHER_KEY] = ALL_SCOPES
    run.upstream.reply = reply
    done, answers, reloads = asyncio.Event(), list[tuple[int, bytes]](), run.gateway.parts.reloads

    reloads.watcher.settle = 0.0

    async def load() -> None:
        caller = await run.connect()
        while not done.is_set():
            await caller.send(head())
            response = await caller.response()
            answers.append((response.status, response.body))

    loads = [asyncio.create_task(load()) for _ in range(4)]
    broken = [*BROKEN.values()]
    for number in range(100):
        name = ("odd", "even")[number % 2]
        file, text = broken[number % len(broken)]
        put(run.folder / file, text)
        await reloads.look()
        failed = run.gateway.parts.facts.reload.problems
        put_config(run, keys=keys, routes=routes(name))
        put_policy(run, caller=name)
        await reloads.look()

        assert failed
        assert not run.gateway.parts.facts.reload.problems
        response = await run.ask()
        assert (200, {"odd": b"odd!", "even": b"even"}[name]) == (response.status, response.body), (
            response.head + response.body
        )
    done.set()
    await asyncio.gather(*loads)

    assert len(answers) > 100
    assert {(200, b"even"), (200, b"odd!")} == set(answers)
    assert await run.metric("config_reloads_total", outcome="failure") >= 100
    assert await run.metric("config_reloads_total", outcome="success") >= 101


async def test_a_request_that_has_waited_is_judged_again(start: Start) -> None:
    """A request that waited for its body is judged again by the current configuration."""
    run = await start(live=True)
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 4", "Expect: 100-continue"))
    asked_for_body = await caller.response()
    put_policy(run, scopes=["contacts:read"])
    await run.events("policy_change", outcome="changed")
    await caller.send(b"body")

    assert (100, 403) == (asked_for_body.status, (await caller.response()).status)
    assert [] == run.upstream.arrivals
    assert 403 == (await run.ask("POST", "/api/v2/threads", body=b"body", token=TOKEN)).status


async def test_a_write_that_is_whole_is_judged_again_where_it_waited(start: Start) -> None:
    """A write whose body came at once, and which waited for what `/me` says, is judged by the current configuration."""
    run, known = await start(live=True), asyncio.Event()
    identity = {"workspace_id": "w", "api_key_id": "k", "scopes": [*ALL_SCOPES]}

    async def me(_: Arrival, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(DEADLINE):
            await known.wait()
        writer.write(answer(200, json.dumps(identity).encode()))

    run.upstream.me = me
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 4") + b"body")
    await run.upstream.until(lambda: bool(run.upstream.lookups))
    put_policy(run, scopes=["contacts:read"])
    await run.events("policy_change", outcome="changed")
    known.set()

    assert 403 == (await caller.response()).status
    assert [] == run.upstream.arrivals
