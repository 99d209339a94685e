"""`gateway.net.inotify`: the kernel's notices, and the end of them."""

import asyncio
import os
import threading

from gateway.net.inotify import Inotify
from tests.support.deadline import DEADLINE


async def test_a_watch_that_comes_after_the_close_ends_at_once() -> None:
    """A thread that starts to watch after the notices were closed does not delay the end of the process."""
    notices = Inotify(asyncio.Event())
    notices.close()

    late = threading.Thread(target=notices.watch, args=({},), daemon=True)
    late.start()
    late.join(DEADLINE)

    assert not late.is_alive()


async def test_the_descriptor_is_closed_once() -> None:
    """After the close a thread does not use the descriptor's number, which may belong to another file by then."""
    notices = Inotify(asyncio.Event())
    notices.close()
    reading, writing = os.pipe()

    notices.watch({})

    assert 1 == os.write(writing, b".")
    assert b"." == os.read(reading, 1)
    os.close(reading)
    os.close(writing)
