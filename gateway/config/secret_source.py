"""Where a secret is, ``file:/path`` or ``env:NAME``, and the rules that its file has to keep.

A file may be read by its owner alone (no bit of 0o077), because every reader holds the key. Kubernetes and Docker
mount secrets readable for all inside the container, where nobody else is; such a mount is known by one of these, and
there the mode is not looked at:

- the file's folder holds a ``..data`` symlink, which is how the kubelet writes Secret and projected volumes;
- the file, or its folder if others cannot write there, is itself the mount point of a tmpfs (``subPath`` mounts, Docker
  secrets). ``/tmp`` and ``/dev/shm`` are not that: everybody can write there.

A symlink may lead only to files in its own folder or below, as Kubernetes' do.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.core.secret import BadSecret, Secret

# What `is_mounted_alone` means for the rotation of a key.
SINGLE_FILE: Final = (
    "its file is mounted alone (as `subPath` does), and such a mount never shows a new file; mount the folder"
)

# More than any key has; what is longer is cut, and refused as no key.
_LONGEST: Final = 4096


class MissingSecret(Exception):
    """There is no such file or variable. The message names it."""


def located(source: str, base: Path) -> str:
    """The source with its path, if it has one, taken from a folder."""
    kind, _, name = source.partition(":")
    return f"file:{base / name}" if kind == "file" else source


def read_secret(source: str, environ: Mapping[str, str]) -> Secret:
    """The secret that a source names.

    Raises `MissingSecret`, or `BadSecret` where there is something that cannot be used; neither says what was read.
    """
    return Secret(read_text(source, environ))


def read_text(source: str, environ: Mapping[str, str]) -> str:
    """What a source holds, of any shape, one line end at its end taken off. Raises as `read_secret` does."""
    kind, _, name = source.partition(":")
    if kind == "file":
        return _read_file(Path(name))
    if name not in environ:
        raise MissingSecret(f"the variable {name} is not set")
    return environ[name]


def _read_file(path: Path) -> str:
    try:
        # Non-blocking, so that a pipe put in its place cannot hold the start up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingSecret(f"the file {path} does not exist") from None
    except OSError as error:
        raise BadSecret(f"cannot be read: {error.strerror}") from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise BadSecret("is not a file")
        _check_place(path, facts)
        data = os.read(descriptor, _LONGEST)
    except OSError as error:
        raise BadSecret(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    text = data.decode("latin-1")
    return text.removesuffix("\n").removesuffix("\r")


def is_mounted_alone(source: str, mounts: str) -> bool:
    """Whether a source is a file that is itself a mount point, so that one put in its place is never seen here.

    The kubelet does not update ``subPath`` mounts, and a bind mount of one file goes on showing what was there.
    ``mounts`` is what `mountinfo` gives.
    """
    kind, _, name = source.partition(":")
    path = Path(name)
    return kind == "file" and str(Path(os.path.realpath(path.parent)) / path.name) in _mounts(mounts)


def _check_place(path: Path, facts: os.stat_result) -> None:
    folder = Path(os.path.realpath(path.parent))
    if not Path(os.path.realpath(path)).is_relative_to(folder):
        raise BadSecret("is a symlink that leads out of its folder; name the file itself")
    if facts.st_mode & 0o077 and not is_secret_mount(folder / path.name, mountinfo()):
        raise BadSecret(f"can be read by others (mode {stat.S_IMODE(facts.st_mode):04o}); run `chmod 600` on the file")


def is_secret_mount(file: Path, mounts: str) -> bool:
    """Whether a file, its folder resolved, is on a mount that Kubernetes or Docker made to hold secrets."""
    folder = file.parent
    if (folder / "..data").is_symlink():
        return True
    points = _mounts(mounts, "tmpfs ")
    return str(file) in points or (str(folder) in points and not folder.stat().st_mode & 0o022)


def mountinfo() -> str:
    """The mounts that this process sees, as proc(5) describes them; empty where that cannot be read."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _mounts(mounts: str, kind: str = "") -> frozenset[str]:
    """The mount points of a kind. In proc(5)'s mountinfo the type stands after a lone hyphen, the point in field 5."""
    pairs = (line.partition(" - ") for line in mounts.splitlines())
    return frozenset(_unescaped(head.split(" ")[4]) for head, _, tail in pairs if tail.startswith(kind))


def _unescaped(text: str) -> str:
    """Mountinfo writes space, tab, line feed and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
