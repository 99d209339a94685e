"""The command that runs the gateway."""

import gc
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import config_option, configured, fail, location, unusable

if TYPE_CHECKING:
    from gateway.config.assembly.snapshot import Snapshot
    from gateway.config.load import ConfigSource
    from gateway.net.contents import Contents


@click.command()
@config_option
@click.option("--listen", metavar="ADDRESS", help="Traffic listener: host:port or unix:/path.")
@click.option("--admin", metavar="ADDRESS", help="Listener of metrics, probes and the status page.")
@click.option("--upstream", "--upstream-url", metavar="URL", help="Base URL of the API; http:// to loopback only.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="json or console.")
def serve(config: Path | None, **options: str | None) -> None:
    """Run the gateway.

    Options win over environment variables, and these over the file. The log goes to standard output. What keeps the
    gateway from starting goes to standard error, one problem a line.

    \b
        productlane-gateway serve --config gateway.yaml
        PRODUCTLANE_KEY=file:/run/secrets/key PRODUCTLANE_SCOPES="threads:read" productlane-gateway serve

    SIGTERM or SIGINT ends it without losing a request (setting `drain`); a second one ends it at once. It follows
    changes of the configuration and policies while it runs; SIGHUP makes it look at once.

    Exit status: 0 after a drain, 2 where it cannot start.
    """
    from gateway.runtime.process import harden

    # Before there is a key in this process.
    lacking = harden()
    # What is made up to here lives as long as the process: looking through it for garbage costs 60 ms of the start.
    gc.disable()
    from gateway.config.load import ConfigSource
    from gateway.config.reading.problem import ConfigError

    origin = ConfigSource(configured(config), dict(os.environ), _flags(options))
    # Before the load, so that what changes in between is not missed.
    contents = origin.contents()
    try:
        snapshot = origin.load()
    except ConfigError as error:
        unusable(error.problems)
    _serve(snapshot, origin, contents, location(config), lacking)


def _serve(snapshot: "Snapshot", origin: "ConfigSource", contents: "Contents", source: str, lacking: list[str]) -> None:
    """Run the gateway until a signal ends it. ``lacking`` are protections that the platform does not have."""
    import asyncio
    import sys

    import uvloop

    from gateway.runtime.process import trusting_nobody

    with trusting_nobody():
        import aiohttp  # noqa: F401

    from gateway.net.sockets import CannotStart
    from gateway.runtime.gateway import running
    from gateway.runtime.parts import Parts
    from gateway.runtime.server import check_runtime
    from gateway.runtime.server import serve as run
    from gateway.telemetry.capture import capture_library_logs
    from gateway.telemetry.events.process import NotHardened
    from gateway.telemetry.log import Log
    from gateway.telemetry.traces import tracing

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            check_runtime(debug=runner.get_loop().get_debug() or sys.flags.dev_mode)
        except CannotStart as error:
            fail(str(error))
        log = Log(level=snapshot.settings.log.level, style=snapshot.settings.log.format)
        restore = capture_library_logs(log)
        if lacking:
            log.event(NotHardened(lacking))
        traced = tracing(os.environ, log)
        gc.freeze()
        gc.enable()
        try:
            make = partial(Parts, origin, snapshot, contents, config=source, log=log, tracing=traced)
            runner.run(run(running(make)))
        except CannotStart as error:
            fail(str(error))
        finally:
            restore()
            log.close()


def _flags(options: Mapping[str, str | None]) -> dict[str, str]:
    """The options that were given, by the path of the setting that each one is."""
    paths = {"upstream": "upstream.url", "log_level": "log.level", "log_format": "log.format"}
    return {paths.get(name, name): value for name, value in options.items() if value is not None}
