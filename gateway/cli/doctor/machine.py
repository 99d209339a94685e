"""What is wrong on the machine or in the pod: grants that ended, listeners, descriptors, memory."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

from gateway.cli.doctor.files import SOON_DAYS
from gateway.cli.doctor.finding import Finding, Id, ok, wrong
from gateway.cli.serve.health import fault_of
from gateway.cli.table import counted
from gateway.config.assembly.snapshot import Snapshot
from gateway.net.listen_address import Address

# What a gateway with a thousand connections takes, with room for bodies: see docs/deploy.md.
LEAST_MEMORY: Final = 96 * 1024 * 1024
# Listeners, log, store and resolver: what a process opens beside connections.
OTHER_FILES: Final = 64

_UNBOUND: Final = {
    errno.EADDRINUSE: Id.PORT_TAKEN,
    errno.EACCES: Id.PORT_PRIVILEGED,
    errno.EADDRNOTAVAIL: Id.ADDRESS_ELSEWHERE,
}


def policies(snapshot: Snapshot, today: date) -> Iterator[Finding]:
    """Grants that have ended or end soon. ``today`` is in UTC."""
    for policy in snapshot.policies.values():
        if policy.expires is None:
            continue
        left = (policy.expires - today).days
        if left <= 0:
            yield wrong(Id.POLICY_ENDED, f"policy {policy.caller} grants nothing since {policy.expires}")
        elif left <= SOON_DAYS:
            yield wrong(Id.POLICY_ENDS_SOON, f"policy {policy.caller} ends on {policy.expires}, in {left} d")
    yield ok(
        "policies",
        f"{counted(len(snapshot.policies), 'policy', 'policies')}, {counted(len(snapshot.routes.all), 'route')}",
    )


def listeners(snapshot: Snapshot) -> Iterator[Finding]:
    """Whether the gateway can listen at its addresses, or listens there already."""
    settings = snapshot.settings
    runs = not fault_of(settings.admin)
    for name, address in (("listen", settings.listen), ("admin", settings.admin)):
        yield _listener(name, address, runs=runs)


def _listener(name: str, address: Address, *, runs: bool) -> Finding:
    if address.path is not None:
        folder = address.path.parent
        if os.access(folder, os.W_OK | os.X_OK):
            return ok("listeners", f"{name}: {address} can be made")
        return wrong(Id.SOCKET_FOLDER_CLOSED, f"{name}: {folder} cannot be written by user {os.getuid()}")
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address.host, address.port))
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE and runs:
            return ok("listeners", f"{name}: {address} is served by a gateway that is alive")
        found = _UNBOUND.get(failure.errno or 0, Id.ADDRESS_UNUSABLE)
        fix = f"correct the setting `{name}`" if found is Id.ADDRESS_UNUSABLE else ""
        return wrong(found, f"{name}: {address}: {failure.strerror}", fix)
    return ok("listeners", f"{name}: {address} is free")


def limits(snapshot: Snapshot, most_files: int, most_memory: int | None) -> Iterator[Finding]:
    """Whether the process may open what the settings allow. ``most_memory`` is in bytes, None for no limit."""
    needed = snapshot.settings.limits.connections + snapshot.settings.upstream.max_connections + OTHER_FILES
    if most_files != resource.RLIM_INFINITY and most_files < needed:
        yield wrong(Id.FILES_LIMIT, f"{most_files} files may be open, and the settings allow {needed}")
    else:
        yield ok("limits", f"{needed} open files are allowed")
    if most_memory is not None and most_memory < LEAST_MEMORY:
        fix = f"set the memory limit of the container to at least {LEAST_MEMORY >> 20}Mi"
        yield wrong(Id.MEMORY_LIMIT, f"the memory limit is {most_memory >> 20} MiB", fix)


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The memory limit of this container in bytes; None where there is none, or none can be read."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        # cgroup v1 has a number near 2^63 in place of "max".
        return int(text) if text.isdigit() and int(text) < 1 << 60 else None
    return None
