"""The command that shows the gateway at work, with nothing set up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import REFUSED, fail

if TYPE_CHECKING:
    from gateway.cli.tour import Stage, Step

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
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, TemporaryDirectory() as folder:
        held = runner.run(_run(Path(folder), port, admin_port, self_test))
    if not held:
        raise SystemExit(REFUSED)


async def _run(folder: Path, port: int | None, admin_port: int | None, self_test: bool) -> bool:
    from gateway.cli.signals import until_ended
    from gateway.cli.tour import introduction, steps

    async with _stage(folder, port, admin_port, quiet=self_test) as stage:
        walk = steps(stage)
        if self_test:
            return await _hold(walk)
        click.echo("\n".join([introduction(stage), *(step.told(n) for n, step in enumerate(walk, 1))]) + "\n")
        click.echo("Ctrl-C ends it. The log of the gateway:")
        await until_ended()
    return True


@asynccontextmanager
async def _stage(folder: Path, port: int | None, admin_port: int | None, *, quiet: bool) -> "AsyncIterator[Stage]":
    """Simulator and gateway, running. The gateway reads nothing from the environment: the demo is the same anywhere."""
    from gateway.cli.tour import Stage, new_cast
    from gateway.config.catalog import load_catalog
    from gateway.config.load import load
    from gateway.server import CannotStart, Gateway, check_runtime
    from gateway.simulator import SimulatedKey, Simulator
    from gateway.telemetry.capture import capture_library_logs
    from gateway.telemetry.log import Log

    made = new_cast(folder)
    listen, note = await _port(port, 8080)
    admin, admin_note = await _port(admin_port, 9090)
    keys = [SimulatedKey(key.secret, frozenset(key.scopes)) for key in made.keys]
    log = Log(2, level="error" if quiet else "info", style="console")
    restore = capture_library_logs(log)
    try:
        async with Simulator(load_catalog(), keys) as simulator:
            config = made.write(simulator.url, listen, admin)
            gateway = Gateway(load(config, environ={}), config=str(config), log=log)
            try:
                check_runtime(debug=asyncio.get_running_loop().get_debug())
                await gateway.start()
                yield Stage(
                    config,
                    made,
                    f"http://{gateway.traffic}",
                    f"http://{gateway.admin}",
                    simulator.url,
                    note + admin_note,
                )
            except CannotStart as error:
                fail(str(error))
            finally:
                await gateway.stop()
    finally:
        restore()
        log.close()


async def _port(wanted: int | None, usual: int) -> tuple[int, tuple[str, ...]]:
    """The port to listen on, and what to say of it: the usual one where nobody else has it."""
    if wanted is not None:
        return wanted, ()
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", usual)
    except OSError:
        return 0, (f"Port {usual} is taken, so a free one is used.",)
    server.close()
    await server.wait_closed()
    return usual, ()


async def _hold(walk: "Sequence[Step]") -> bool:
    """Run each line by a shell, as whoever pastes it would, and tell whether it answered as it says."""
    import shutil

    if shutil.which("curl") is None:
        fail("--check runs the printed lines and needs curl, which is not installed")
    held = True
    for number, step in enumerate(walk, 1):
        # The lines are made here, of random tokens and addresses of our own.
        shell = await asyncio.create_subprocess_shell(step.command, stdout=asyncio.subprocess.PIPE)
        output, _ = await shell.communicate()
        missing = step.missing_in(output.decode("utf-8", "replace"))
        click.echo(f"{'FAILED' if missing else 'ok'} {number} {step.title}")
        for mark in missing:
            click.echo(f"       no `{mark}` in the answer")
        held = held and not missing
    return held
