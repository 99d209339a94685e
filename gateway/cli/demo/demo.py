"""The command that shows the gateway at work, with nothing set up."""

import click

from gateway.cli.settings import REFUSED

_PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--port", type=_PORT, help="Port of the traffic listener.  [default: 8080, or any free]")
@click.option("--admin-port", type=_PORT, help="Port of the admin listener.  [default: 9090, or any free]")
@click.option("--check", "self_test", is_flag=True, help="Run every printed line, compare, and end: a self-test.")
def demo(port: int | None, admin_port: int | None, self_test: bool) -> None:
    """Show the gateway at work, with nothing set up.

    Starts a simulated Productlane with three keys and in front of it a gateway with two callers, all on loopback, and
    prints curl lines to paste into another terminal, each with what to expect. Requests show in the log here. Keys and
    tokens are made at start, and the files are in a folder that is removed at the end.

    \b
        productlane-gateway demo
        productlane-gateway demo --check

    Exit status: 0; 1 with --check, where a line does not answer as printed; 2 where it cannot start.
    """
    import asyncio
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import uvloop

    from gateway.cli.demo.runner import run

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, TemporaryDirectory() as folder:
        held = runner.run(run(Path(folder), port, admin_port, self_test=self_test))
    if not held:
        raise SystemExit(REFUSED)
