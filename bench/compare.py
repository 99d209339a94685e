"""CPU per request of this tree beside other versions of it and other proxies, in one run, as Markdown.

    python -m bench.compare HEAD~20 Envoy [--request POST] [--tls] [--rounds 12] [--seconds 0.8]

Each is a peer of `bench.peers`, a revision of git, or a folder with a checkout. All run at once and take turns, and a
ratio is the median of the rounds' ratios, so that a busy machine weighs on all alike: how one step of work is judged.
Versions get the settings of this tree; one that does not know a setting does not start. With ``--tls`` the upstream is
spoken to over TLS.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.command import options
from bench.peers.setups import PEERS
from bench.peers.stage import Around, Running, around, busy, started
from bench.peers.traffic import GET, POST
from bench.report import microseconds, ratio, table

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


def run(name: str, beside: Around, secure: bool, stack: ExitStack) -> Running:
    """A peer or a version that serves."""
    place = beside.place(secure=secure)
    if name in PEERS:
        return stack.enter_context(started(name, PEERS[name](place), place.port))
    tree = stack.enter_context(checkout(name, place.folder))
    # -P keeps the working directory off the path, so that PYTHONPATH says which gateway this is.
    command = [sys.executable, "-P", *PEERS["gateway"](place)[1:]]
    title = "this tree" if name == str(_ROOT) else name
    return stack.enter_context(started(title, command, place.port, {"PYTHONPATH": str(tree)}))


def main() -> None:
    """Run them all and print the table."""
    parser = options(__doc__, tls=False, rounds=12, seconds=0.8)
    parser.add_argument("others", nargs="+", metavar="VERSION|FOLDER|PEER")
    parser.add_argument("--request", choices=list(_REQUESTS), default="GET")
    asked = parser.parse_args()
    with around() as beside, ExitStack() as stack:
        running = [run(name, beside, asked.tls, stack) for name in (str(_ROOT), *asked.others)]
        busy(running, asked.rounds, asked.seconds, asked.request, _REQUESTS[asked.request])
    cpu = {one.name: one.cpu[asked.request] for one in running}
    rows = ((name, microseconds(its), ratio(cpu["this tree"], its)) for name, its in cpu.items())
    print(table((asked.request, "CPU µs a request", "this tree ÷ it"), rows))


if __name__ == "__main__":
    main()
