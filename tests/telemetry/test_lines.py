"""`gateway.telemetry.lines`: a log that is never in a request's way, whatever becomes of its reader or disk."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.telemetry.lines import Lines


def drained(lines: Lines, read: int, write: int) -> list[bytes]:
    """Close the lines while a thread reads the pipe, and return what it read."""
    with os.fdopen(read, "rb") as reader:
        arrived: list[bytes] = []
        drain = threading.Thread(target=lambda: arrived.extend(reader), daemon=True)
        drain.start()
        lines.close(timeout=30)
        os.close(write)
        drain.join(30)
    return arrived


def test_a_reader_that_is_stuck_costs_lines_and_no_time() -> None:
    """Without a reader of the log, requests go on: lines that do not fit are dropped and counted, others stay whole."""
    read, write = os.pipe()
    lines = Lines(write, bound=10_000)
    sent = [b"%099d\n" % n for n in range(3000)]
    for line in sent:
        lines.put(line)
    stuck = lines.dropped
    arrived = drained(lines, read, write)

    # A pipe holds 64 KiB; the rest of 300,000 bytes beyond the bound cannot have gone anywhere.
    assert stuck >= (300_000 - 65_536 - 10_000) // 100
    assert len(sent) == len(arrived) + lines.dropped
    assert sorted(arrived) == arrived


def test_closing_does_not_wait_for_a_reader_that_is_stuck() -> None:
    """The process can end without a reader of its log; the remaining lines are counted as dropped."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    lines = Lines(write)
    lines.put(b"one\n")
    lines.put(b"two\n")
    lines.close(timeout=0.2)
    counted = lines.dropped
    os.close(read)
    os.close(write)

    assert 2 == counted


@pytest.mark.parametrize("full", [True, False], ids=["full disk", "closed pipe"])
def test_a_descriptor_that_fails_costs_lines_only(full: bool) -> None:
    """A full disk or a closed pipe raises nothing into a request; each line lost is counted."""
    if full:
        fd = os.open("/dev/full", os.O_WRONLY)
    else:
        read, fd = os.pipe()
        os.close(read)
    lines = Lines(fd)
    for _ in range(3):
        lines.put(b"line\n")
    lines.close(timeout=30)
    lines.put(b"after the end\n")
    os.close(fd)

    assert 4 == lines.dropped


def test_a_descriptor_that_others_made_non_blocking_is_written_whole() -> None:
    """A terminal or pipe that another program set to non-blocking loses no line to a reader that is merely slow."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    lines = Lines(write)
    for n in range(3000):
        lines.put(b"%099d\n" % n)
    arrived = drained(lines, read, write)

    assert (3000, 0) == (len(arrived), lines.dropped)


def test_a_line_cut_short_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path) -> None:
    """When the disk has room again, the log continues on a new line, not at the end of a partial one."""
    # A limit on the file's size simulates the disk. It applies to a whole process, so the test starts one.
    script = """
import os, resource, sys
from gateway.telemetry.lines import Lines
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
lines = Lines(fd)
for n in range(5):
    lines.put(b"%099d\\n" % n)
while lines.dropped < 3:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
lines.put(b"again\\n")
lines.close(30)
print(lines.dropped)
"""
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=True)

    assert "3\n" == done.stdout
    assert [99, 99, 50, 5] == [len(line) for line in path.read_text().splitlines()]
