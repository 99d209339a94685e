"""What this process leaves for others to find: no core file, no memory to look into, no exception's text.

The text of an exception may quote a header, and so a key; its frames hold names and lines of the source alone.
"""

import contextlib
import ctypes
import os
import resource
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Final

# prctl(2): 4 is PR_SET_DUMPABLE. A process that is not dumpable cannot be traced by another of the same user, its files
# in /proc belong to root, and the kernel hands no core to whatever `core_pattern` names, which RLIMIT_CORE would allow.
_PR_SET_DUMPABLE: Final = 4


def harden() -> list[str]:
    """Shut this process for good; to be called before it holds a key. Returns what the platform lacks, in words.

    Root, and any process with CAP_SYS_PTRACE, can still look into it.
    """
    # The TLS contexts here ignore this variable, but aiohttp makes one at import that would open the file.
    os.environ.pop("SSLKEYLOGFILE", None)
    sys.excepthook = _tell
    sys.unraisablehook = lambda found: _tell(found.exc_type, found.exc_value, found.exc_traceback)
    threading.excepthook = lambda found: _tell(found.exc_type, found.exc_value, found.exc_traceback)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return [] if _undumpable() else ["prctl(PR_SET_DUMPABLE): others of this user can read the memory of this process"]


@contextlib.contextmanager
def trusting_nobody() -> Iterator[None]:
    """A time in which a TLS context that loads the system's certificates finds none; for the import of aiohttp.

    It makes contexts of its own then, at 2 MB and 40 ms, that nothing here uses. What came to use one would be refused.
    OpenSSL's SSL_CTX_set_default_verify_paths(3) names the two variables.
    """
    before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(before, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def descriptors(needed: int) -> int:
    """Raise this process's soft limit of open files to ``needed`` as far as the hard limit allows; what it then is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    reachable = needed if hard == unlimited else min(needed, hard)
    if soft != unlimited and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    return needed if soft == unlimited else soft


def _undumpable() -> bool:
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return False
    return bool(prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def _tell(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Where an uncaught exception was raised and what it is, on standard error; not what it says."""
    if issubclass(kind, KeyboardInterrupt) or sys.stderr is None:
        return
    lines = ["Traceback (most recent call last):\n", *traceback.format_tb(trace)]
    sys.stderr.write("".join(lines) + f"{kind.__module__}.{kind.__qualname__}{_origin(error)}\n")


def _origin(error: BaseException | None) -> str:
    """The exception behind this one, which is often the fault itself."""
    behind = (error.__cause__ or error.__context__) if error is not None else None
    if behind is None:
        return ""
    last = traceback.extract_tb(behind.__traceback__)[-1:]
    return f", after {type(behind).__qualname__}" + "".join(f" at {frame.filename}:{frame.lineno}" for frame in last)
