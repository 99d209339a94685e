"""What is wrong on the machine or in the pod: files and mounts, listeners, certificates, descriptors, memory."""

import errno
import os
import resource
import socket
import stat
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from gateway.cli.doctor.finding import Finding, error, ok, warning
from gateway.cli.serve.health import fault_of
from gateway.config.assembly.snapshot import Snapshot
from gateway.net.listen_address import Address

# Time enough to order a certificate or to renew a grant.
SOON_DAYS: Final = 14
_DAY: Final = 86_400
# What a gateway with a thousand connections takes, with room for bodies: see docs/deploy.md.
LEAST_MEMORY: Final = 96 * 1024 * 1024
# Listeners, log, store and resolver: what a process opens beside connections.
OTHER_FILES: Final = 64


def files(snapshot: Snapshot, mounts: str) -> Iterator[Finding]:
    """Each file that holds a secret or a certificate. ``mounts`` is the text of ``/proc/self/mountinfo``."""
    points = {line.split()[4].replace("\\040", " ") for line in mounts.splitlines() if len(line.split()) > 4}
    for path in _files(snapshot):
        yield from _file(path, points)


def _files(snapshot: Snapshot) -> list[Path]:
    sources = [slot.source for key in snapshot.keys.values() for slot in key.slots]
    found = [Path(source.removeprefix("file:")) for source in sources if source.startswith("file:")]
    tls = snapshot.settings.tls
    return [*found, *([tls.certificate, tls.private_key] if tls is not None else [])]


def _file(path: Path, points: set[str]) -> Iterator[Finding]:
    try:
        found = path.stat()
    except FileNotFoundError:
        yield warning("files", f"{path} does not exist", "create it, or mount the Secret that holds it")
        return
    except PermissionError:
        yield error(
            "files", f"{path}: a folder above it cannot be entered", "let this user enter the folder (chmod +x)"
        )
        return
    if not os.access(path, os.R_OK):
        yield error(
            "files", f"{path} cannot be read by user {os.getuid()}", "set fsGroup in the pod, or chown the file"
        )
        return
    if not found.st_size:
        yield error("files", f"{path} is empty", "write the secret into it")
        return
    if str(path.absolute()) in points:
        fix = "mount the whole Secret as a folder, without subPath"
        yield warning("files", f"{path} is mounted alone (subPath), so a change of its Secret never arrives", fix)
    if stat.S_IMODE(found.st_mode) & stat.S_IROTH and path.suffix not in {".crt", ".pem"}:
        yield warning("files", f"{path} can be read by every user", "chmod 640, or defaultMode: 0440 in the volume")
    yield ok("files", f"{path} is readable; it changed {_ago(time.time() - found.st_mtime)} ago")


def _ago(seconds: float) -> str:
    days = int(seconds // _DAY)
    return f"{days} d" if days else f"{int(max(0.0, seconds) // 3600)} h"


def policies(snapshot: Snapshot, today: date) -> Iterator[Finding]:
    """Grants that have ended or end soon. ``today`` is in UTC."""
    for policy in snapshot.policies.values():
        if policy.expires is None:
            continue
        left = (policy.expires - today).days
        fix = f"set a later date under `expires` in policy {policy.caller}, or remove the policy"
        if left <= 0:
            yield warning("policies", f"policy {policy.caller} grants nothing since {policy.expires}", fix)
        elif left <= SOON_DAYS:
            yield warning("policies", f"policy {policy.caller} ends on {policy.expires}, in {left} d", fix)
    yield ok("policies", f"{len(snapshot.policies)} policies, {len(snapshot.routes.all)} routes")


def listeners(snapshot: Snapshot) -> Iterator[Finding]:
    """Whether the gateway can listen at its addresses, or listens there already."""
    settings = snapshot.settings
    runs = not fault_of(settings.admin)
    for name, address in (("listen", settings.listen), ("admin", settings.admin)):
        yield _listener(name, address, runs=runs)


def _listener(name: str, address: Address, *, runs: bool) -> Finding:
    if address.path is not None:
        if os.access(address.path.parent, os.W_OK | os.X_OK):
            return ok("listeners", f"{name}: {address} can be made")
        return error(
            "listeners", f"{name}: {address.path.parent} cannot be written", "create it, writable by this user"
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address.host, address.port))
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE and runs:
            return ok("listeners", f"{name}: {address} is served by a gateway that is alive")
        fixes = {
            errno.EADDRINUSE: "end the process that listens there, or choose another port",
            errno.EACCES: "choose a port above 1023",
            errno.EADDRNOTAVAIL: "use an address of this machine, or 0.0.0.0",
        }
        what = f"{name}: {address}: {failure.strerror}"
        return error("listeners", what, fixes.get(failure.errno or 0, f"correct the setting `{name}`"))
    return ok("listeners", f"{name}: {address} is free")


def certificate(snapshot: Snapshot, now: float) -> Iterator[Finding]:
    """How long the listener's own certificate is still good. ``now`` is Unix time in seconds."""
    tls = snapshot.settings.tls
    if tls is None:
        return
    from cryptography import x509

    try:
        leaf = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    except (OSError, ValueError):
        yield error("certificates", f"{tls.certificate} holds no certificate", "put the chain there, the leaf first")
        return
    yield ending("certificates", str(tls.certificate), leaf.not_valid_after_utc.timestamp(), now)


def ending(check: str, name: str, end: float, now: float) -> Finding:
    """A certificate by the moment of its end. Both are Unix times in seconds."""
    day = datetime.fromtimestamp(end, UTC).date()
    if end <= now:
        return error(check, f"the certificate of {name} ended on {day}", "renew it")
    if end - now < SOON_DAYS * _DAY:
        return warning(check, f"the certificate of {name} ends on {day}", "renew it, or look why it was not renewed")
    return ok(check, f"the certificate of {name} is good until {day}")


def limits(snapshot: Snapshot, most_files: int, most_memory: int | None) -> Iterator[Finding]:
    """Whether the process may open what the settings allow. ``most_memory`` is in bytes, None for no limit."""
    needed = snapshot.settings.limits.connections + snapshot.settings.upstream.max_connections + OTHER_FILES
    if most_files != resource.RLIM_INFINITY and most_files < needed:
        fix = "raise the hard limit of open files, or lower `limits.connections`"
        yield error("limits", f"{most_files} files may be open, and the settings allow {needed}", fix)
    else:
        yield ok("limits", f"{needed} open files are allowed")
    if most_memory is not None and most_memory < LEAST_MEMORY:
        fix = f"set the memory limit of the container to at least {LEAST_MEMORY >> 20}Mi"
        yield warning("limits", f"the memory limit is {most_memory >> 20} MiB", fix)


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


def mounts() -> str:
    """The mounts of this process; empty where the system does not say."""
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return ""
