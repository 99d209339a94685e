"""`gateway.callers.peers`: who is at the other end of a real connection."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.callers.peers import Peer, peer_of
from tests.support.command import environment
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, policy
from tests.support.raw_caller import head

NOBODY_ELSE = 12_345


class Accepts(asyncio.Protocol):
    """Keeps what `peer_of` says of each connection."""

    def __init__(self, found: asyncio.Queue[Peer]) -> None:
        self.found = found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.found.put_nowait(peer_of(transport))
        transport.close()


async def test_a_unix_socket_tells_who_connected(tmp_path: Path) -> None:
    """The user comes from the kernel, not from anything that the process sends."""
    found: asyncio.Queue[Peer] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_unix_server(lambda: Accepts(found), str(tmp_path / "s"))
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    async with asyncio.timeout(DEADLINE):
        peer = await found.get()
    writer.close()
    server.close()

    assert Peer(None, os.getuid()) == peer


async def test_a_tcp_connection_tells_nothing() -> None:
    """Over TCP without TLS there is nothing that proves who connected."""
    found: asyncio.Queue[Peer] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: Accepts(found), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(DEADLINE):
        peer = await found.get()
    writer.close()
    server.close()

    assert Peer(address="127.0.0.1") == peer


@pytest.mark.parametrize("verifies", [True, False])
async def test_a_certificate_counts_only_where_tls_has_verified_it(authority: trustme.CA, verifies: bool) -> None:
    """Whatever certificate the other end has, it says nothing on a connection that verifies none."""
    served, asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(served)
    authority.configure_trust(asked)
    if not verifies:
        asked.check_hostname, asked.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=served)
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(asyncio.Protocol, *address, ssl=asked, server_hostname="localhost")
    peer = peer_of(transport)
    transport.abort()
    server.close()

    assert verifies == (peer.certificate is not None)
    assert not verifies or (peer.certificate is not None and peer.certificate.fault)


def unix_policy(caller: str, *uids: int) -> dict[str, Any]:
    return policy(caller) | {"authenticate": {"unix_uids": list(uids)}}


async def asked(run: Running, uid: int | None = None) -> int:
    """The status of a request on the unix socket, sent by a process of user ``uid`` if that is given."""
    path = str(run.gateway.traffic.path)
    if uid is None:
        return (await run.ask(token=None)).status
    program = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(0); os.setuid(int(sys.argv[2]))\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read())\n"
        "print(s.recv(100).split()[1].decode())\n"
    )
    made = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-c", program, path, str(uid)],
        input=head(token=None),
        capture_output=True,
        timeout=60,
        check=False,
        env=environment(checked=False),
    )
    assert b"" == made.stderr
    return int(made.stdout)


async def test_the_user_of_a_process_is_its_credential(start: Callable[..., Any], tmp_path: Path) -> None:
    """A process of a listed user is its caller, with any Authorization."""
    run = await start(listen=f"unix:{tmp_path}/gw", policies=[unix_policy("app", os.getuid(), NOBODY_ELSE)])

    assert 200 == (await run.ask(token=None)).status
    assert 200 == (await run.ask(token="an SDK wants one")).status
    assert ["app", "app"] == [line["caller"] for line in await run.lines(2)]


async def test_another_user_is_not_this_one(start: Callable[..., Any], tmp_path: Path) -> None:
    """A user that no policy lists reads that the request needs a credential."""
    run = await start(listen=f"unix:{tmp_path}/gw", policies=[unix_policy("app", NOBODY_ELSE)])

    assert 401 == (await run.ask(token=None)).status


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
async def test_users_are_told_apart(start: Callable[..., Any], open_folder: Path) -> None:
    """Two users on one socket are two callers, and a third user is refused."""
    policies = [unix_policy("root", 0), unix_policy("other", NOBODY_ELSE)]
    run = await start(listen=f"unix:{open_folder}/gw", policies=policies)

    assert [200, 200, 401] == [await asked(run), await asked(run, NOBODY_ELSE), await asked(run, NOBODY_ELSE + 1)]
    assert ["root", "other", "-"] == [line["caller"] or "-" for line in await run.lines(3)]


async def test_anonymous_beside_users_is_who_shows_nothing(start: Callable[..., Any], tmp_path: Path) -> None:
    """An unlisted user may use an anonymous policy, but not with an invalid credential."""
    policies = [unix_policy("app", NOBODY_ELSE), policy("anyone", token=None)]
    run = await start(listen=f"unix:{tmp_path}/gw", policies=policies)

    assert 200 == (await run.ask(token=None)).status
    assert 401 == (await run.ask(token="wrong")).status


def test_the_kernels_answer_is_read_as_it_is_laid_out() -> None:
    """The user id comes from its own place in struct ucred, and not from the group's or the process's."""
    program = (
        "import os, socket; from gateway.callers.peers import _uid_of\n"
        "os.setgroups([]); os.setgid(4242); os.setuid(4_294_967_294)\n"
        "one, other = socket.socketpair(); print(_uid_of(one))\n"
    )
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert "4294967294" == made.stdout.strip()


def test_a_tcp_socket_has_no_user() -> None:
    """The kernel answers for TCP sockets too, with nonsense; it is not asked."""
    with socket.socket() as opened:
        from gateway.callers.peers import _uid_of

        assert _uid_of(opened) is None
