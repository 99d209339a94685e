"""Notices of the Linux kernel about folders, inotify(7), on the event loop: no thread, no work while all is quiet.

``watchfiles`` brings the same notices, but its thread wakes every 50 ms: 190 ms of CPU a minute, all day, in every pod.
`bench/idle.py` measures both.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Mapping
from typing import Final

from gateway.net.places import Interest, Place

# linux/inotify.h.
_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_ONLYDIR, _MASK_ADD = 0x1000000, 0x20000000
_ITSELF: Final = _DELETE_SELF | _MOVE_SELF
_ENTRIES: Final = _ITSELF | _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO
_CONTENT: Final = _ENTRIES | _MODIFY | _CLOSE_WRITE | _ATTRIB
_MASKS: Final = {Interest.ITSELF: _ITSELF, Interest.ENTRIES: _ENTRIES, Interest.CONTENT: _CONTENT}
# Always a reason to look: the folder itself has changed, or notices were lost.
_ALWAYS: Final = _ITSELF | _UNMOUNT | _OVERFLOW

# The head of struct inotify_event: descriptor, mask, cookie, length of the name.
_HEAD: Final = struct.Struct("iIII")
_READ: Final = 1 << 16


class Inotify:
    """Sets ``noticed``, on the running loop, when something of interest happens in the folders of `watch`.

    Raises OSError where the kernel has none to give: a limit (fs.inotify.max_user_instances), or another system.
    """

    def __init__(self, noticed: asyncio.Event) -> None:
        self._noticed: Final = noticed
        try:
            library = ctypes.CDLL(None, use_errno=True)
            self._add: Final = library.inotify_add_watch
            self._remove: Final = library.inotify_rm_watch
            # O_NONBLOCK and O_CLOEXEC are IN_NONBLOCK and IN_CLOEXEC.
            self._fd: Final = int(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except (AttributeError, OSError):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
        if self._fd < 0:
            raise _last_error()
        self._places: Mapping[int, list[Place]] = {}
        self._busy: Final = threading.Lock()
        self._closed = self._given_back = False
        self._loop: Final = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def watch(self, places: Mapping[str, Place]) -> None:
        """Have notices from these folders from now on, and from no others. For a thread: it may block on a mount.

        A folder that is gone, or may not be read, is left out; notices from the folder above tell of a new one. Raises
        OSError for a limit (fs.inotify.max_user_watches) and for a folder with files of interest that may not be read.
        """
        with self._busy:
            failed = None if self._closed else self._watch(places)
        self._give_back()
        if failed is not None:
            raise failed

    def _watch(self, places: Mapping[str, Place]) -> OSError | None:
        found: dict[int, list[Place]] = {}
        failed: OSError | None = None
        for folder, place in places.items():
            mask = _MASKS[place.interest] | _ONLYDIR | _MASK_ADD
            descriptor = int(self._add(self._fd, os.fsencode(folder), mask))
            if descriptor >= 0:
                found.setdefault(descriptor, []).append(place)
                continue
            error = _last_error()
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            hidden = error.errno == errno.EACCES and place.interest is not Interest.CONTENT
            if not gone and not hidden:
                failed = failed or error
        before, self._places = self._places, found
        for descriptor in before.keys() - found.keys():
            self._remove(self._fd, descriptor)
        return failed

    def close(self) -> None:
        """Give the descriptor back, at once or when the thread in `watch` is done with it."""
        self._loop.remove_reader(self._fd)
        self._closed = True
        self._give_back()

    def _give_back(self) -> None:
        if self._closed and self._busy.acquire(blocking=False):
            if not self._given_back:
                self._given_back = True
                os.close(self._fd)
            self._busy.release()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(self._fd, _READ)
                at = 0
                while at < len(data):
                    descriptor, mask, _, length = _HEAD.unpack_from(data, at)
                    name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
                    if self._concerns(descriptor, mask, os.fsdecode(name)):
                        self._noticed.set()
                    at += _HEAD.size + length

    def _concerns(self, descriptor: int, mask: int, name: str) -> bool:
        if mask & _OVERFLOW:
            return True
        places = self._places.get(descriptor, ())
        return any(mask & _ALWAYS or (not mask & _IGNORED and place.concerns(name)) for place in places)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
