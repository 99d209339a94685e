"""A resolver that fails behind the real command, by hand: `python -m bench.outage [--seconds 10]`.

The resolver is silent, answers SERVFAIL and then NXDOMAIN, each for that long: once behind a gateway that knew the
name, and once behind one that never did. Printed is what callers saw: answers by status on live connections and on new
ones, the slowest of these and the slowest probe of the loop in seconds; then how long the resolver's return and the
end of a process with a hanging look-up took. As root on Linux; see `tests.support.outage`.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.command import options
from tests.support.outage import FAULTS, obstacle, outage


def _told(seen: dict[str, Any]) -> None:
    print(f"known name: noticed after {seen['warm']['noticed']} s, live {seen['warm']['unnoticed']['live']}")
    for state in ("warm", "cold"):
        for fault in FAULTS:
            one = seen[state][fault]
            live = f"  live {one['live']}  slowest probe {one['slowest_probe']}" if "live" in one else ""
            print(f"{state} {fault:9} new {one['statuses']}  slowest {one['slowest']}  {one['errors']}{live}")
        print(f"{state} back after {seen[state]['back']} s")
    for name in ("ended", "checked"):
        print(f"{name} after {seen[name]['seconds']} s, exit status {seen[name]['exit']}")


def main() -> None:
    """One run through all of it."""
    seconds: float = options(__doc__, seconds=10.0).parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        if why := obstacle(Path(folder)):
            sys.exit(why)
        _told(outage(Path(folder), seconds))


if __name__ == "__main__":
    main()
