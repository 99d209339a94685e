"""Another user of this machine, for tests that run as root."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# `nobody` of Debian, who owns no file.
NOBODY: Final = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Become a user without privileges, and come back; without root, nothing changes.

    It is the whole process, so nothing else may run meanwhile: for blocking code, and never across an ``await``.
    """
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder that this user may enter, which those of ``tmp_path`` are not."""
    with tempfile.TemporaryDirectory() as name:
        if os.getuid() == 0:
            os.chown(name, NOBODY, -1)
        yield Path(name)
