"""`gateway.cli.doctor.machine`: each finding about the machine, provoked."""

import os
import socket
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.doctor import machine
from gateway.cli.doctor.finding import Finding, Severity
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import load
from gateway.net.listen_address import Address
from tests.support.certs import Authority
from tests.support.in_process import config, policy
from tests.support.sentinels import KEY

TODAY = date(2026, 11, 24)


def loaded(folder: Path, *policies: dict[str, Any], **settings: Any) -> Snapshot:
    """A configuration whose one key is in a file, read without its secrets."""
    (folder / "policies").mkdir(exist_ok=True)
    for fields in policies or (policy(),):
        (folder / "policies" / f"{fields['caller']}.yaml").write_text(yaml.safe_dump(fields))
    secret = folder / "main.key"
    if not secret.exists():
        secret.write_text(KEY)
        secret.chmod(0o600)
    keys = {"keys": {"main": {"secrets": [f"file:{secret}"]}}}
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config("http://127.0.0.1:1", **(keys | settings))))
    return load(folder / "gateway.yaml", environ={}, offline=True)


def bad(found: Iterable[Finding]) -> list[tuple[str, str]]:
    """What is wrong, and its severity; each says how to mend it."""
    wrong = [one for one in found if one.severity is not Severity.OK]
    assert all(one.fix for one in wrong)
    return [(one.severity.value, one.what) for one in wrong]


def test_a_sound_machine_has_nothing_wrong(tmp_path: Path) -> None:
    """Where files, policies, listeners and limits are well, every check says so."""
    snapshot = loaded(tmp_path, listen="127.0.0.1:0", admin="127.0.0.1:0")
    found = [
        *machine.files(snapshot, ""),
        *machine.policies(snapshot, TODAY),
        *machine.listeners(snapshot),
        *machine.limits(snapshot, 1 << 20, None),
    ]

    assert [] == bad(found)
    assert {"files", "policies", "listeners", "limits"} == {one.check for one in found}
    assert any("it changed 0 h ago" in one.what for one in found)


def test_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    """A secret that is not there may still come; one that is empty is a mistake."""
    snapshot = loaded(tmp_path)
    secret = tmp_path / "main.key"
    secret.write_text("")
    empty = bad(machine.files(snapshot, ""))
    secret.unlink()

    assert [("error", f"{secret} is empty")] == empty
    assert [("warning", f"{secret} does not exist")] == bad(machine.files(snapshot, ""))


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file of another user, as a Secret without fsGroup is."""
    snapshot = loaded(tmp_path)
    (tmp_path / "main.key").chmod(0)

    assert [("error", f"{tmp_path}/main.key cannot be read by user {os.getuid()}")] == bad(machine.files(snapshot, ""))


def test_a_file_that_anybody_can_read(tmp_path: Path) -> None:
    """A key that every process of the machine can read is shown."""
    snapshot = loaded(tmp_path)
    (tmp_path / "main.key").chmod(0o644)

    assert [("warning", f"{tmp_path}/main.key can be read by every user")] == bad(machine.files(snapshot, ""))


def test_a_file_that_is_mounted_alone(tmp_path: Path) -> None:
    """A subPath mount is a mount of the file itself, and no rotation ever reaches it."""
    snapshot = loaded(tmp_path)
    mounts = f"36 35 98:0 /k {tmp_path}/main.key ro,relatime - tmpfs tmpfs ro\n"

    ((severity, what),) = bad(machine.files(snapshot, mounts))
    assert ("warning", True) == (severity, "mounted alone (subPath)" in what)
    assert [] == bad(machine.files(snapshot, mounts.replace("main.key", "")))


def test_grants_that_have_ended_or_end_soon(tmp_path: Path) -> None:
    """Two weeks before a grant ends there is time to renew it."""
    ends = {"gone": TODAY, "soon": TODAY + timedelta(14), "later": TODAY + timedelta(15)}
    snapshot = loaded(tmp_path, *(policy(name, f"plgw_{name}", expires=str(day)) for name, day in ends.items()))

    assert {
        ("warning", f"policy gone grants nothing since {TODAY}"),
        ("warning", f"policy soon ends on {ends['soon']}, in 14 d"),
    } == {*bad(machine.policies(snapshot, TODAY))}


def test_listeners_that_cannot_be_had(tmp_path: Path) -> None:
    """A port in use, an address of another machine, and a folder that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        snapshot = loaded(tmp_path, listen=f"127.0.0.1:{port}", admin="192.0.2.1:9090")
        in_use, elsewhere = bad(machine.listeners(snapshot))
    unix = loaded(tmp_path, listen=f"unix:{tmp_path}/none/socket", admin="127.0.0.1:0")

    assert ("error", f"listen: 127.0.0.1:{port}: Address already in use") == in_use
    assert ("error", "admin: 192.0.2.1:9090: Cannot assign requested address") == elsewhere
    assert [("error", f"listen: {tmp_path}/none cannot be written")] == bad(machine.listeners(unix))
    assert Address(path=tmp_path / "none" / "socket") == unix.settings.listen


@pytest.mark.parametrize(
    ("lasts", "expected"), [(-60, "error"), (13 * 86_400, "warning"), (30 * 86_400, None)], ids=["over", "soon", "good"]
)
def test_the_end_of_the_listeners_certificate(tmp_path: Path, lasts: float, expected: str | None) -> None:
    """A certificate that nobody renewed is shown before callers meet it."""
    start = datetime.now(UTC) - timedelta(days=1)
    made, key = Authority().issue(dns=("gateway",), start=start, lasts=86_400 + lasts).write(tmp_path / "tls", "own")
    snapshot = loaded(tmp_path, tls={"certificate": str(made), "private_key": str(key)})

    found = bad(machine.certificate(snapshot, time.time()))
    assert ([expected] if expected else []) == [severity for severity, _ in found]
    made.write_text("no certificate")
    assert [("error", f"{made} holds no certificate")] == bad(machine.certificate(snapshot, time.time()))


def test_limits_that_are_too_low(tmp_path: Path) -> None:
    """Descriptors that the settings may need, and a container with too little memory."""
    snapshot = loaded(tmp_path)
    needed = snapshot.settings.limits.connections + snapshot.settings.upstream.max_connections + machine.OTHER_FILES

    assert [
        ("error", f"{needed - 1} files may be open, and the settings allow {needed}"),
        ("warning", "the memory limit is 32 MiB"),
    ] == bad(machine.limits(snapshot, needed - 1, 32 << 20))


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "134217728\n", 134_217_728),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("none", "", None),
    ],
)
def test_the_memory_limit_is_that_of_the_container(tmp_path: Path, name: str, text: str, limit: int | None) -> None:
    """cgroup v2 and v1 are read, and no limit is called one."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)

    assert limit == machine.memory_limit(tmp_path)
