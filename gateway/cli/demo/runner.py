"""The demo while it runs: a simulated Productlane and a gateway in one process."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import click

from gateway.cli.demo.script import RunningDemo, Step, introduction, new_setup, steps
from gateway.cli.serve.signals import ending
from gateway.cli.settings import fail, unusable
from gateway.config.assembly.catalog import load_catalog
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import ConfigSource
from gateway.config.reading.problem import ConfigError
from gateway.net.sockets import CannotStart
from gateway.runtime.gateway import running
from gateway.runtime.parts import Parts
from gateway.runtime.server import check_runtime
from gateway.simulator import SimulatedKey, Simulator
from gateway.telemetry.capture import capture_library_logs
from gateway.telemetry.log import Log

# How many seconds a line may take.
_PATIENCE = 30


async def run(folder: Path, port: int | None, admin_port: int | None, *, self_test: bool) -> bool:
    """Run the demo until a signal comes, or check every line; returns whether every line answered as printed.

    The files go into ``folder``. A port of 0 is any free one; None is the usual one, or a free one if that is taken.
    """
    async with _running(folder, port, admin_port, quiet=self_test) as demo:
        walk = steps(demo)
        if self_test:
            return await hold(walk)
        with ending() as ended:
            click.echo("\n".join([introduction(demo), *(step.told(n) for n, step in enumerate(walk, 1))]) + "\n")
            click.echo("Ctrl-C ends it. The log of the gateway:")
            await ended.wait()
    return True


@asynccontextmanager
async def _running(
    folder: Path, port: int | None, admin_port: int | None, *, quiet: bool
) -> AsyncIterator[RunningDemo]:
    """Simulator and gateway, running. The gateway reads nothing from the environment: the demo is the same anywhere."""
    made = new_setup(folder)
    listen, note = await _port(port, 8080)
    admin, admin_note = await _port(admin_port, 9090)
    keys = [SimulatedKey(key.secret, frozenset(key.scopes)) for key in made.keys]
    log = Log(2, level="error" if quiet else "info", style="console")
    restore = capture_library_logs(log)
    try:
        async with Simulator(load_catalog(), keys) as simulator:
            config = made.write(simulator.url, listen, admin)
            origin = ConfigSource(config, {})
            contents = origin.contents()
            make = partial(Parts, origin, _snapshot(origin), contents, config=str(config), log=log)
            try:
                check_runtime(debug=asyncio.get_running_loop().get_debug())
                async with running(make) as gateway:
                    yield RunningDemo(
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
        restore()
        log.close()


def _snapshot(origin: ConfigSource) -> Snapshot:
    """The configuration as `serve` would read it. Only the given ports can be wrong."""
    try:
        return origin.load()
    except ConfigError as error:
        unusable(error.problems)


async def _port(wanted: int | None, usual: int) -> tuple[int, tuple[str, ...]]:
    """The port to listen on, with a note if the usual one is taken."""
    if wanted is not None:
        return wanted, ()
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", usual)
    except OSError:
        return 0, (f"Port {usual} is taken, so a free one is used.",)
    server.close()
    await server.wait_closed()
    return usual, ()


async def hold(walk: Sequence[Step]) -> bool:
    """Run each line in a shell, as a reader who pastes it would. Return whether every answer was as announced."""
    if shutil.which("curl") is None:
        fail("--check runs the printed lines and needs curl, which is not installed")
    held = True
    for number, step in enumerate(walk, 1):
        # The lines are made here, of random tokens and addresses of our own.
        shell = await asyncio.create_subprocess_shell(step.command, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(_PATIENCE):
                output, _ = await shell.communicate()
        except TimeoutError:
            shell.kill()
            output = b""
        missing = step.missing_in(output.decode("utf-8", "replace"))
        click.echo(f"{'FAILED' if missing else 'ok'} {number} {step.title}")
        for mark in missing:
            click.echo(f"       no `{mark}` in the answer")
        held = held and not missing
    return held
