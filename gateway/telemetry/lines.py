"""Bytes to a file descriptor without ever making the caller wait: a bounded buffer and one thread that empties it.

`logging` with a QueueHandler does the same for 9 µs a line where this takes 0.3 (`python -m bench.instead`), which is
6 % of a request; and its queue has no bound in bytes, nor a count of what was lost.
"""

import math
import os
import select
import threading
import time
from collections import deque
from typing import Final

# About 10,000 request lines: what a reader may fall behind before lines are dropped.
_BOUND: Final = 4 << 20

# How long lines gather before they are written together: one thread switch for many lines, not one for each.
_GATHER: Final = 0.01

# How long a descriptor that would block is waited for before looking again whether to stop.
_POLL_MS: Final = 100

# What one write carries at most. Linux keeps a write to a pipe whole up to 4096 bytes; larger ones only save calls.
_CHUNK: Final = 1 << 18


class Lines:
    """Writes whole lines to ``fd`` in order. Where they cannot be written they are dropped and counted, never raised.

    It writes to the descriptor itself: a buffered file's lock, held by a daemon thread that is stuck in a write, stops
    the interpreter from ending. The descriptor is not closed here.
    """

    def __init__(self, fd: int, *, bound: int = _BOUND) -> None:
        self._fd = fd
        self._bound = bound
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque()
        self._held = 0
        self._writing = 0
        self._dropped = 0
        self._deadline = math.inf
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._torn = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost so far: the buffer was full, or the descriptor refused them."""
        return self._dropped

    def put(self, line: bytes) -> None:
        """Take a line, with its line end. Costs a microsecond, whatever the reader does."""
        with self._lock:
            if self._held + len(line) > self._bound or self._closing.is_set():
                self._dropped += 1
                return
            self._held += len(line)
            first = not self._lines
            self._lines.append(line)
        if first:
            self._awake.set()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is held, for at most ``timeout`` seconds; what is then left is dropped and counted."""
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._awake.set()
        self._thread.join(timeout)
        with self._lock:
            self._dropped += len(self._lines) + self._writing
            self._lines.clear()
            self._writing = 0

    def _run(self) -> None:
        while True:
            self._awake.wait()
            self._closing.wait(_GATHER)
            self._awake.clear()
            while lines := self._take():
                self._write(lines)
            if self._closing.is_set():
                return

    def _take(self) -> list[bytes]:
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._lines and size < _CHUNK:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._writing = len(taken)
        return taken

    def _write(self, lines: list[bytes]) -> None:
        # A line that an error cut short must not swallow the first of these.
        mended = b"\n" if self._torn else b""
        data = memoryview(mended + b"".join(lines))
        at = 0
        try:
            while at < len(data):
                at += self._write_some(data[at:])
        except OSError:
            # A full disk, a closed pipe. There is nobody to tell but the counter.
            pass
        written = bytes(data[len(mended) : at])
        if at:
            self._torn = data[at - 1] != ord("\n")
        with self._lock:
            self._held -= sum(map(len, lines))
            self._dropped += self._writing - min(written.count(b"\n"), self._writing)
            self._writing = 0

    def _write_some(self, data: memoryview) -> int:
        """How much was written. Raises OSError where the descriptor is broken, or blocks beyond the deadline."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            # Somebody else made the descriptor non-blocking: a terminal or a pipe is shared with other programs.
            if time.monotonic() >= self._deadline:
                raise
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(_POLL_MS)
            return 0
