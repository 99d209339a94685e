"""What is wrong with the files that a configuration names: permissions and mounts, and certificates that end."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.cli.doctor.finding import Finding, Id, ok, wrong
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.store import Redis

# Time enough to order a certificate or to renew a grant.
SOON_DAYS: Final = 14
_DAY: Final = 86_400


def secrets(snapshot: Snapshot) -> list[Path]:
    """The files that hold a secret: of keys, of the status page, of Redis, and the private key of the listener."""
    settings = snapshot.settings
    sources = [slot.source for key in snapshot.keys.values() for slot in key.slots]
    sources += [settings.status_token or "", settings.redis.password or ""]
    found = [Path(source.removeprefix("file:")) for source in sources if source.startswith("file:")]
    return [*found, *([settings.tls.private_key] if settings.tls is not None else [])]


def certificates(snapshot: Snapshot) -> list[Path]:
    """The files that hold certificates: the listener's own, and the authorities that it trusts."""
    settings, store = snapshot.settings, snapshot.store
    tls = settings.tls
    found = [] if tls is None else [tls.certificate, tls.client_ca]
    found += [settings.upstream.ca, store.ca if isinstance(store, Redis) else None]
    found += [issuer.ca for issuer in snapshot.callers.issuers]
    return [*dict.fromkeys(path for path in found if path is not None)]


def files(snapshot: Snapshot, mounts: str) -> Iterator[Finding]:
    """Each of these files. ``mounts`` is the text of ``/proc/self/mountinfo``."""
    points = {line.split()[4].replace("\\040", " ") for line in mounts.splitlines() if len(line.split()) > 4}
    for path in secrets(snapshot):
        yield from _file(path, points, private=True)
    for path in certificates(snapshot):
        yield from _file(path, points, private=False)


def _file(path: Path, points: set[str], *, private: bool) -> Iterator[Finding]:
    try:
        found = path.stat()
    except PermissionError:
        yield wrong(Id.FILE_FOLDER_CLOSED, f"{path}: user {os.getuid()} cannot enter a folder above it")
        return
    except OSError:
        yield wrong(Id.FILE_MISSING, f"{path} does not exist")
        return
    if not os.access(path, os.R_OK):
        yield wrong(Id.FILE_UNREADABLE, f"{path} cannot be read by user {os.getuid()}")
        return
    if not found.st_size:
        yield wrong(Id.FILE_EMPTY, f"{path} is empty")
        return
    if str(path.absolute()) in points:
        yield wrong(Id.FILE_MOUNTED_ALONE, f"{path} is mounted alone (subPath): a change of its Secret never arrives")
    if private and stat.S_IMODE(found.st_mode) & stat.S_IROTH:
        yield wrong(Id.FILE_OPEN_TO_ALL, f"{path} can be read by every user")
    yield ok("files", f"{path} is readable; it changed {_ago(time.time() - found.st_mtime)} ago")


def _ago(seconds: float) -> str:
    days = int(seconds // _DAY)
    return f"{days} d" if days else f"{int(max(0.0, seconds) // 3600)} h"


def ends(snapshot: Snapshot, now: float) -> Iterator[Finding]:
    """How long each of these certificates is still good. ``now`` is Unix time in seconds.

    `files` reports those that cannot be read.
    """
    own = snapshot.settings.tls and snapshot.settings.tls.certificate
    for path in certificates(snapshot):
        with suppress(OSError):
            yield _end(path, path.read_bytes(), now, chain=path == own)


def _end(path: Path, pem: bytes, now: float, *, chain: bool) -> Finding:
    """A chain is as good as its shortest certificate, a list of authorities as its longest."""
    from cryptography import x509

    try:
        moments = [one.not_valid_after_utc for one in x509.load_pem_x509_certificates(pem)]
    except ValueError:
        return wrong(Id.CERTIFICATE_UNREADABLE, f"{path} holds no certificate that can be read")
    end = (min(moments) if chain else max(moments)).timestamp()
    if end <= now:
        return wrong(Id.CERTIFICATE_ENDED, f"the certificate in {path} ended on {day(end)}")
    if is_soon(end, now):
        return wrong(Id.CERTIFICATE_ENDS_SOON, f"the certificate in {path} ends on {day(end)}")
    return ok("certificates", f"the certificate in {path} is good until {day(end)}")


def is_soon(end: float, now: float) -> bool:
    """Whether a certificate ends within `SOON_DAYS`. Both are Unix times in seconds."""
    return end - now < SOON_DAYS * _DAY


def day(moment: float) -> str:
    """The day of a Unix time, in UTC."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def mounts() -> str:
    """The mounts of this process; empty where the system does not say."""
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return ""
