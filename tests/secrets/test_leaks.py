"""No key and no token can be read, whole or in part, in anything that a gateway leaves behind, however it is treated.

The gateway is the real command at log level debug; `tests.support.faulty` plants the faults.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.command import Ended
from tests.support.deadline import DEADLINE
from tests.support.hostile import mangled, wire_rows
from tests.support.hunt import found
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.sentinels import KEY, TOKEN
from tests.support.served import Served, serving

ADMIN: Final = ("/metrics", "/status", "/status.json", "/livez", "/readyz", "/none", f"/status?token={TOKEN}")
FAULTS: Final = ("caller", "forward", "judge", "answer", "reply", "listener", "strays")
# By the class of the exception, so that no fault can be passed by without having been set off.
SET_OFF: Final = ("Caller", "Forward", "Judge", "Answer", "Reply", "Status", "Task", "Callback", "Thread", "Dying")


async def left_by(served: Served) -> dict[str, bytes]:
    """Everything that can be read of a gateway from outside while it runs; then it is ended."""
    for path in ADMIN:
        await served.ask_admin(path)
    proc = Path("/proc") / str(served.process.pid)
    left = {name: (proc / name).read_bytes() for name in ("cmdline", "environ", "comm", "status", "maps")}
    status = (await served.end()).status

    assert 0 == status
    return left | {"stdout": bytes(served.out), "stderr": bytes(served.err), "answers": b"\n".join(served.answers)}


async def test_the_hunt_finds_what_is_there() -> None:
    """A secret is found by any twelve of its characters, in capitals, in hex and in base64; a preview is not one."""
    places = {
        "whole": KEY.encode(),
        "part": f"x{KEY[9:21]}x".encode(),
        "capitals": TOKEN.upper().encode(),
        "hex": TOKEN.encode().hex().encode(),
        "base64": __import__("base64").b64encode(b"Bearer " + KEY.encode()),
        "preview": f"pl_v2_{KEY[6:10]}…".encode(),
        "short": KEY[9:20].encode(),
    }

    assert {"whole", "part", "capitals", "hex", "base64"} == {hit.split(":")[0] for hit in found(places)}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="/proc is Linux'")
async def test_no_request_makes_a_gateway_tell_a_secret(tmp_path: Path, upstream: Upstream) -> None:
    """Broken and hostile requests, each row of the wire tables among them, leave no secret in any log or answer."""
    requests = [*wire_rows(), *mangled()]
    async with serving(tmp_path, upstream) as served:
        await served.send_all(requests)
        await served.until_said(b'"status":400')
        left = await left_by(served)

    assert len(requests) > 300
    assert [] == found(left)


async def test_no_request_makes_the_admin_listener_tell_a_secret(tmp_path: Path, upstream: Upstream) -> None:
    """A message sent to the wrong listener is quoted neither to the sender nor in the log."""
    async with serving(tmp_path, upstream) as served:
        requests = [raw.replace(b"/api/v2/threads", b"/status") for raw in mangled()]
        await served.send_all(requests, address=served.admin)
        left = await left_by(served)

    assert [] == found(left)


def echoes() -> dict[str, bytes]:
    """Answers in which an upstream repeats the key, selected by the thread in the request."""
    key, big = KEY.encode(), b"x" * 65_530
    json = b'{"error":{"code":"%b","message":"no %b","details":{"%b":"%b"}}}'.replace(b"%b", key)
    return {
        "error": answer(401, json),
        "own-code": answer(418, json),
        "header": answer(500, b"{}", fields=(f"X-Echo: Bearer {KEY}", f"Proxy-Status: {KEY}")),
        "good-header": answer(200, b"{}", fields=(f"X-Echo: Bearer {KEY}", f"ETag: {KEY}", f"Location: /{KEY}")),
        "request-id": answer(200, b"{}", fields=(f"X-Request-Id: {KEY}", f"X-RateLimit-Limit: {KEY}")),
        "reason": b"HTTP/1.1 403 %b\r\nContent-Length: 2\r\n\r\n{}" % key,
        "large-error": answer(500, big + key + b"x" * 100_000 + key),
        "good-body": answer(200, b'{"echo":"%b"}' % key),
        "good-large-body": answer(200, big + key + b"x" * 200_000 + key + b"x"),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % byte for byte in key)
        + b"0\r\n\r\n",
        "malformed": b"HTTP/1.1 200 OK\r\nX: %b\x00\r\n\r\n" % key,
        "no-http": key + b"\r\n\r\n",
        "status": b"HTTP/1.1 %b OK\r\n\r\n" % key,
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % key,
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % key,
        "cut": b"HTTP/1.1 500 OK\r\nContent-Length: 900\r\n\r\n%b" % key,
        "interim": b"HTTP/1.1 103 Hints\r\nLink: %b\r\n\r\n" % key + answer(200, b"{}"),
        "surplus": answer(200, b"{}") + key,
    }


async def test_an_upstream_that_echoes_the_key_gives_it_to_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """An answer with the key in its fields or body reaches the caller and the log without it."""
    answers = echoes()

    def echo(arrival: Arrival, writer: object) -> None:
        writer.write(answers[arrival.target.decode().rpartition("/")[2]])  # type: ignore[attr-defined]
        if b"cut" in arrival.target:
            writer.close()  # type: ignore[attr-defined]

    upstream.reply = echo
    async with serving(tmp_path, upstream) as served:
        for name in answers:
            got = await served.send(head("GET", f"/api/v2/threads/{name}", "Connection: close"))
            assert got.startswith(b"HTTP/1.1 "), name
        left = await left_by(served)

    assert [] == found(left)


async def test_a_key_that_comes_in_two_pieces_reaches_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """A key is taken out of a body although its second half arrives when what came before the first has left."""
    before, half = b"x" * 100, len(KEY) // 2
    go_on = asyncio.Event()

    async def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(body=before + KEY.encode())[: half - len(KEY)])
        async with asyncio.timeout(DEADLINE):
            await go_on.wait()
        writer.write(KEY.encode()[half:])

    upstream.reply = reply
    async with serving(tmp_path, upstream) as served:
        caller = await served.connect()
        await caller.send(head("GET", "/api/v2/threads", "Connection: close"))
        async with asyncio.timeout(DEADLINE):
            got = await caller.reader.readuntil(before)
        go_on.set()
        got += await caller.closed()

    assert got.endswith(b"*")
    assert [] == found({"answer": got})


async def test_an_identity_that_echoes_the_key_gives_it_to_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """What `/me` says is shown on the status page and to callers; a key in it is not."""
    body = '{"workspace_id":"%s","api_key_id":"%s","scopes":["%s"],"extra":"%s"}'.replace("%s", KEY)
    upstream.me = answer(200, body.encode(), fields=(f"X-Echo: {KEY}", "Content-Type: application/json"))
    async with serving(tmp_path, upstream) as served:
        await served.send(head("GET", "/api/v2/me", "Connection: close"))
        await served.send(head("GET", "/api/v2/threads", "Connection: close"))
        left = await left_by(served)

    assert [] == found(left)


async def test_no_fault_of_the_program_tells_a_secret(tmp_path: Path, upstream: Upstream) -> None:
    """If an exception's text is a secret, every part of the program logs only its class and place."""
    upstream.reply = lambda arrival, writer: writer.write(answer(200, b"fault " + arrival.head))
    async with serving(tmp_path, upstream, program=("-m", "tests.support.faulty")) as served:
        for name in FAULTS:
            await served.send(head("GET", f"/api/v2/threads/fault-{name}", "Connection: close"))
        for name in SET_OFF:
            if name != "Status":
                await served.until_said(f"{name}Fault".encode())
        await served.ask_admin("/status")
        await served.until_said(b"StatusFault")
        left = await left_by(served)

    assert [] == found(left)


async def test_a_gateway_that_dies_at_its_start_tells_no_secret(tmp_path: Path, upstream: Upstream) -> None:
    """A fault that ends the process is logged with its place, so that it can be fixed, and without its text."""
    with pytest.raises(Ended) as died:
        async with serving(tmp_path, upstream, program=("-m", "tests.support.faulty", "--at-start")):
            pass
    said: bytes = died.value.args[0]

    assert b"StartFault, after ValueError" in said
    assert b"faulty.py" in said
    assert [] == found({"stderr": said})


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="/proc is Linux'")
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
async def test_a_crash_of_the_interpreter_leaves_no_secret(tmp_path: Path, upstream: Upstream, number: int) -> None:
    """A process that the system kills leaves no core file, and Python's fault handler prints frames without values."""
    environ = {"PYTHONFAULTHANDLER": "1"}
    async with serving(tmp_path, upstream, environ=environ, ulimits=("-Sc $(ulimit -Hc)",)) as served:
        assert 200 == (await served.ask()).status
        before = set(os.listdir(tmp_path))  # noqa: PTH208 - no more than a look
        ended = (await served.end(number)).status

    assert -number == ended
    assert before == set(os.listdir(tmp_path))  # noqa: PTH208
    assert b"Fatal Python error" in served.err
    assert [] == found({"stdout": bytes(served.out), "stderr": bytes(served.err)})
