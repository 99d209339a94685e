"""What a gateway costs while nobody asks: CPU per minute, wake-ups per second, memory; and how soon it first answers.

    python -m bench.idle [--seconds 30] [--starts 5]

The numbers are the kernel's: /proc/PID/task/*/schedstat (time on a CPU) and status (voluntary switches: each is a
thread that slept and was woken). The gateway has a configuration file, a policy and a key in a file, so that both of
its watchers run. Prints one line of JSON.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# An installed program is compiled; where Python may not keep what it compiles, every start would compile all anew.
_ENVIRON: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_CONFIG: Final = """
listen: 127.0.0.1:0
admin: unix:admin.sock
upstream: {url: "http://127.0.0.1:9/api/v2"}
keys: {main: {secrets: ["file:key"]}}
routes: [{path: /**, keys: [main]}]
identity: {prefetch: false}
drain: {delay: 0ms}
"""
_POLICY: Final = "caller: app\nauthenticate: {tokens: ['sha256:%064x']}\nscopes: [threads:read]\n"


@contextmanager
def gateway(python: str) -> Iterator[tuple[int, float]]:
    """A gateway that serves: its process id, and the milliseconds from exec to the first answer of /readyz."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "policies" / "app.yaml").write_text(_POLICY % 1)
        (folder / "gateway.yaml").write_text(_CONFIG)
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_text("pl_v2_0123456789abcdef\n")
        began = time.perf_counter()
        process = subprocess.Popen(
            [python, "-m", "gateway", "serve", "--config", "gateway.yaml"],
            cwd=folder,
            env={**_ENVIRON, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_ready(folder / "admin.sock", process)
            yield process.pid, (time.perf_counter() - began) * 1000
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_ready(path: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if client.recv(100).startswith(b"HTTP/1.1 200"):
                    return
            except OSError:
                pass
        time.sleep(0.001)
    raise SystemExit("the gateway did not start")


def cost(pid: int) -> tuple[float, int]:
    """CPU milliseconds and wake-ups of all threads so far."""
    busy, woken = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        busy += int((task / "schedstat").read_text().split()[0]) / 1e6
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE)
        woken += int(found[1]) if found else 0
    return busy, woken


def memory(pid: int) -> float:
    """Resident memory in MB."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long it is left alone")
    parser.add_argument("--starts", type=int, default=5, help="how many starts are timed")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to run it with")
    asked = parser.parse_args()
    starts = []
    for _ in range(asked.starts):
        with gateway(asked.python) as (_, milliseconds):
            starts.append(milliseconds)
    with gateway(asked.python) as (pid, _):
        time.sleep(3)  # what a start leaves to do
        before, began = cost(pid), time.monotonic()
        time.sleep(asked.seconds)
        after, seconds = cost(pid), time.monotonic() - began
        print(
            json.dumps(
                {
                    "cpu_ms_per_minute": round((after[0] - before[0]) * 60 / seconds, 1),
                    "wakeups_per_second": round((after[1] - before[1]) / seconds, 2),
                    "memory_mb": round(memory(pid), 1),
                    "start_ms": [round(start) for start in sorted(starts)],
                    "seconds": round(seconds),
                    "python": asked.python,
                }
            )
        )


if __name__ == "__main__":
    main()
