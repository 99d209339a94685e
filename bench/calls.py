"""Calls of Python functions and instructions that a request takes, in this tree and in others, as Markdown.

    python -m bench.calls [HEAD~20] [--functions 30]

No neighbour on the machine disturbs a count, so that one run tells what a step of work saves; how much time that is,
`bench.compare` tells. Each other is a revision of git or a folder with a checkout, run with the settings of this tree.
The counts depend on the version of Python. A coroutine that goes on counts as a call.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Final, TypeAlias

from bench.command import options
from bench.compare import checkout
from bench.peers.setups import PEERS
from bench.peers.stage import Around, Running, around, started
from bench.peers.traffic import GET, POST
from bench.report import table

_REQUESTS: Final = {"GET": GET, "POST": POST}
_ROOT: Final = Path(__file__).parents[1]
_WARM_UP: Final = 500
_COUNTED: Final = 1000
_DEADLINE: Final = 30.0

# Calls and instructions a request, by function.
Counts: TypeAlias = "dict[str, tuple[float, float]]"


def counted(one: Running, request: bytes, written: Path) -> Counts:
    """What a request takes."""
    written.unlink(missing_ok=True)
    one.turn(_WARM_UP, request)
    one.process.send_signal(signal.SIGUSR1)
    time.sleep(0.1)  # Until the signal has been taken; nothing is counted while nobody asks.
    one.turn(_COUNTED, request)
    one.process.send_signal(signal.SIGUSR2)
    latest = time.monotonic() + _DEADLINE
    while not written.exists():
        if time.monotonic() > latest:
            raise SystemExit(f"{one.name} has not counted")
        time.sleep(0.01)
    found: dict[str, list[int]] = json.loads(written.read_text())
    return {name: (calls / _COUNTED, instructions / _COUNTED) for name, (calls, instructions) in found.items()}


def of_version(version: str, beside: Around) -> dict[str, Counts]:
    """The counts of a version, by kind of request."""
    place = beside.place()
    written = place.folder / "counted.json"
    with checkout(version, place.folder) as tree:
        # -P keeps the folder of the program off the path, so that PYTHONPATH says which gateway this is.
        command = [sys.executable, "-P", str(_ROOT / "bench" / "counted.py"), *PEERS["gateway"](place)[3:]]
        environ = {"PYTHONPATH": str(tree), "COUNTED": str(written)}
        with started(version, command, place.port, environ, connections=8) as one:
            return {kind: counted(one, request, written) for kind, request in _REQUESTS.items()}


def figures(counts: Counts) -> tuple[str, str]:
    """All calls and all instructions."""
    calls, instructions = map(sum, zip(*counts.values(), strict=True))
    return f"{calls:.1f}", f"{instructions:,.0f}"


def main() -> None:
    """Count in all versions and print the table, and of this tree the dearest functions, so many as asked for."""
    parser = options(__doc__, functions=0)
    parser.add_argument("others", nargs="*", metavar="VERSION|FOLDER")
    asked = parser.parse_args()
    with around() as beside:
        found = {version: of_version(version, beside) for version in (str(_ROOT), *asked.others)}
    here = found[str(_ROOT)]
    rows = [
        ("this tree" if counts is here else version, *figures(counts["GET"]), *figures(counts["POST"]))
        for version, counts in found.items()
    ]
    print(f"Python {sys.version.split()[0]}\n")
    print(table(("", "GET: calls", "instructions", "POST: calls", "instructions"), rows))
    for kind, counts in here.items() if asked.functions else ():
        dearest = sorted(counts.items(), key=lambda item: item[1][1], reverse=True)[: asked.functions]
        print(f"\n{table((kind, 'calls', 'instructions'), ((name, *figures({name: of})) for name, of in dearest))}")


if __name__ == "__main__":
    main()
