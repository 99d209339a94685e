"""CPU per request of this tree beside other versions of it and other proxies, in one run, as Markdown.

    python -m bench.compare HEAD~20 Envoy [--request POST] [--rounds 12]

Each is a peer of `bench.peers`, a revision of git, or a folder with a checkout. All run at once and take turns, and a
ratio is the median of the rounds' ratios, so that a busy machine weighs on all alike: how one step of work is judged.
Versions get the settings of this tree; one that does not know a setting does not start.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.ablation import Around, around
from bench.peers.setups import PEERS, Place
from bench.peers.stage import CORES, Running, busy, free_port, started
from bench.peers.traffic import GET, POST

_REQUESTS: Final = {"GET": GET, "POST": POST}
_ROOT: Final = Path(__file__).parents[1]


@contextmanager
def checkout(version: str, folder: Path) -> Iterator[Path]:
    """The folder of a version: the one it names, or a work tree of the revision for as long as it lasts."""
    if Path(version).is_dir():
        yield Path(version).resolve()
        return
    tree = folder / "tree"
    git = ["git", "-C", str(_ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), version], check=True, timeout=60)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True, timeout=60)


@contextmanager
def run(name: str, folder: Path, beside: Around, secure: bool) -> Iterator[Running]:
    """A peer or a version that serves."""
    scheme, port = ("https", beside.secure) if secure else ("http", beside.plain)
    place = Place(folder, free_port(), scheme, port, beside.folder / "ca.pem")
    with ExitStack() as stack:
        if name in PEERS:
            one = started(name, PEERS[name](place), place.port)
        else:
            tree = stack.enter_context(checkout(name, folder))
            # -P keeps the working directory off the path, so that PYTHONPATH says which gateway this is.
            command = [sys.executable, "-P", *PEERS["gateway"](place)[1:]]
            one = started(name, command, place.port, {"PYTHONPATH": str(tree)})
        stack.callback(one.end)
        yield one


def main() -> None:
    """Run them all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("others", nargs="+", metavar="VERSION|FOLDER|PEER")
    parser.add_argument("--request", choices=list(_REQUESTS), default="GET")
    parser.add_argument("--tls", action="store_true", help="the upstream is spoken to over TLS")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.8, help="how long a turn in a round is, about")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CORES[0]})
    running: list[Running] = []
    with around() as beside, ExitStack() as stack:
        for number, name in enumerate([str(_ROOT), *options.others]):
            folder = beside.folder / str(number)
            folder.mkdir()
            running.append(stack.enter_context(run(name, folder, beside, options.tls)))
        busy(running, options.rounds, options.seconds, options.request, _REQUESTS[options.request])
    here = running[0].cpu[options.request]
    print(f"| {options.request} | CPU µs a request | this tree ÷ it |\n|---|---:|---:|")
    for one in running:
        ratio = statistics.median(ours / its for ours, its in zip(here, one.cpu[options.request], strict=True))
        cost = statistics.median(one.cpu[options.request]) * 1e6
        print(f"| {'this tree' if one is running[0] else one.name} | {cost:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
