"""`gateway.cli.doctor.machine`: each finding about the machine, provoked."""

import socket
from datetime import date, timedelta
from pathlib import Path

import pytest

from gateway.cli.doctor import machine
from gateway.cli.doctor.finding import Id
from gateway.net.listen_address import Address
from tests.support.doctored import bad, loaded
from tests.support.in_process import policy
from tests.support.users import as_nobody, folder_of_nobody

TODAY = date(2026, 11, 24)


def test_a_sound_machine_has_nothing_wrong(tmp_path: Path) -> None:
    """Where policies, listeners and limits are well, every check says so."""
    snapshot = loaded(tmp_path, listen="127.0.0.1:0", admin="127.0.0.1:0")
    found = [
        *machine.policies(snapshot, TODAY),
        *machine.listeners(snapshot),
        *machine.limits(snapshot, 1 << 20, None),
    ]

    assert [] == bad(found)
    assert {"policies", "listeners", "limits"} == {one.check for one in found}


def test_grants_that_have_ended_or_end_soon(tmp_path: Path) -> None:
    """Two weeks before a grant ends there is time to renew it."""
    ends = {"gone": TODAY, "soon": TODAY + timedelta(14), "later": TODAY + timedelta(15)}
    snapshot = loaded(tmp_path, *(policy(name, f"plgw_{name}", expires=str(day)) for name, day in ends.items()))

    assert {
        (Id.POLICY_ENDED, f"policy gone grants nothing since {TODAY}"),
        (Id.POLICY_ENDS_SOON, f"policy soon ends on {ends['soon']}, in 14 d"),
    } == {*bad(machine.policies(snapshot, TODAY))}


def test_listeners_that_cannot_be_had(tmp_path: Path) -> None:
    """A port in use, an address of another machine, and a folder that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        snapshot = loaded(tmp_path, listen=f"127.0.0.1:{port}", admin="192.0.2.1:9090")
        in_use, elsewhere = bad(machine.listeners(snapshot))
    unix = loaded(tmp_path, listen=f"unix:{tmp_path}/none/socket", admin="127.0.0.1:0")

    assert (Id.PORT_TAKEN, f"listen: 127.0.0.1:{port}: Address already in use") == in_use
    assert (Id.ADDRESS_ELSEWHERE, "admin: 192.0.2.1:9090: Cannot assign requested address") == elsewhere
    assert [Id.SOCKET_FOLDER_CLOSED] == [name for name, _ in bad(machine.listeners(unix))]
    assert Address(path=tmp_path / "none" / "socket") == unix.settings.listen


def test_a_port_that_only_root_may_have() -> None:
    """A port below 1024 is reported if the machine reserves those for root."""
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 1:
        pytest.skip("this machine keeps no port for root")
    with folder_of_nobody() as folder:
        snapshot = loaded(folder, listen="127.0.0.1:1", admin="127.0.0.1:0")
        with as_nobody():
            found = bad(machine.listeners(snapshot))

    assert [(Id.PORT_PRIVILEGED, "listen: 127.0.0.1:1: Permission denied")] == found


def test_a_name_that_no_listener_can_have(tmp_path: Path) -> None:
    """A host that does not resolve is the setting's own fault."""
    snapshot = loaded(
        tmp_path, listen="no-such-name.invalid:8080", admin="127.0.0.1:0", dangerously_allow_anonymous=True
    )

    assert [Id.ADDRESS_UNUSABLE] == [name for name, _ in bad(machine.listeners(snapshot))]


def test_limits_that_are_too_low(tmp_path: Path) -> None:
    """Descriptors that the settings may need, and a container with too little memory."""
    snapshot = loaded(tmp_path)
    needed = snapshot.settings.limits.connections + snapshot.settings.upstream.max_connections + machine.OTHER_FILES

    assert [
        (Id.FILES_LIMIT, f"{needed - 1} files may be open, and the settings allow {needed}"),
        (Id.MEMORY_LIMIT, "the memory limit is 32 MiB"),
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
