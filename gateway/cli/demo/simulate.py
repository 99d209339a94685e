"""The command that runs the simulated Productlane alone."""

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import fail
from gateway.cli.table import listed

if TYPE_CHECKING:
    import ssl

    from gateway.core.catalog import Catalog
    from gateway.simulator import SimulatedKey, Simulator

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the API listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Its port; 0 is any free.")
@click.option(
    "--control-port",
    type=click.IntRange(0, 65535),
    default=8091,
    show_default=True,
    help="Port, on loopback, at which keys, faults and the record of requests are edited.",
)
@click.option(
    "--key", "keys", multiple=True, metavar="KEY=SCOPE,…", help="A key to know, with its scopes; may be repeated."
)
@click.option("--scopes", metavar="SCOPE,…", help="Make one key with these scopes.")
@click.option("--tls-cert", type=_FILE, help="Serve HTTPS with this certificate chain, PEM.")
@click.option("--tls-key", type=_FILE, help="Its private key, PEM.")
def simulate(
    host: str,
    port: int,
    control_port: int,
    keys: Sequence[str],
    scopes: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Run a stand-in for Productlane's API, to test a service offline.

    Every endpoint of the catalog answers, with Productlane's scopes, error codes and rate limits. Lists and their rows
    live in memory and can be changed; what is neither, such as a merge, is answered and does nothing.
    Without --key or --scopes it makes a key that may do everything and one that may only read. Point a gateway at it:

    \b
        productlane-gateway simulate --key pl_v2_for-tests-only=threads:read,contacts:read
        productlane-gateway serve --config gateway.yaml --upstream http://127.0.0.1:8090/api/v2

    It runs until SIGINT or SIGTERM.

    Exit status: 0, or 2 where an option or an address cannot be used.
    """
    import asyncio

    import uvloop

    from gateway.config.assembly.catalog import load_catalog
    from gateway.simulator import Simulator

    catalog = load_catalog()
    made = _keys(keys, scopes, catalog)
    tls = _tls(tls_cert, tls_key)

    async def run() -> None:
        from gateway.cli.serve.signals import ending

        simulator = Simulator(catalog, made)
        try:
            await simulator.start(host, port, control_port, tls)
        except OSError as error:
            fail(f"cannot listen on {host}:{port} or 127.0.0.1:{control_port}: {error.strerror or error}")
        try:
            with ending() as ended:
                click.echo(_told(simulator, made, tls_cert))
                await ended.wait()
        finally:
            await simulator.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def new_secret() -> str:
    """The text of a simulated key, with 128 bits of chance."""
    return f"pl_v2_{secrets.token_hex(16)}"


def _keys(given: Iterable[str], scopes: str | None, catalog: "Catalog") -> "list[SimulatedKey]":
    from gateway.simulator import SimulatedKey

    keys = [SimulatedKey(*_given(text, catalog)) for text in given]
    if len({key.secret for key in keys}) < len(keys):
        raise click.BadParameter("a key is given twice; list all of its scopes at once", param_hint="--key")
    if scopes is not None:
        keys.append(SimulatedKey(new_secret(), _scopes(scopes, catalog, "--scopes")))
    if not keys:
        reading = frozenset(scope for scope in catalog.scopes if scope.endswith(":read"))
        keys = [SimulatedKey(new_secret(), frozenset(catalog.scopes)), SimulatedKey(new_secret(), reading)]
    return keys


def _given(text: str, catalog: "Catalog") -> tuple[str, frozenset[str]]:
    from gateway.core.secret import BadSecret, Secret

    # A `=` may end a key and is never part of a scope.
    secret, equals, scopes = text.rpartition("=")
    if not equals:
        raise click.BadParameter("expected KEY=SCOPE,…; there is no `=`", param_hint="--key")
    try:
        Secret(secret)
    except BadSecret as error:
        raise click.BadParameter(f"expected KEY=SCOPE,…; the key {error}", param_hint="--key") from None
    return secret, _scopes(scopes, catalog, "--key")


def _scopes(text: str, catalog: "Catalog", option: str) -> frozenset[str]:
    from gateway.config.assembly.catalog import unknown_scope

    scopes = frozenset(text.replace(",", " ").split())
    for scope in sorted(scopes - catalog.scopes.keys()):
        raise click.BadParameter(unknown_scope(scope, catalog.scopes), param_hint=option)
    return scopes


def _tls(certificate: Path | None, private_key: Path | None) -> "ssl.SSLContext | None":
    if certificate is None and private_key is None:
        return None
    if certificate is None or private_key is None:
        raise click.UsageError("--tls-cert and --tls-key go together")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ssl.SSLError):
        raise click.UsageError("--tls-cert and --tls-key are not a certificate chain and its private key") from None
    return context


def _told(simulator: "Simulator", keys: "Sequence[SimulatedKey]", certificate: Path | None) -> str:
    trust = f"--cacert {certificate} " if certificate is not None else ""
    lines = [
        "A simulated Productlane is running; Ctrl-C ends it.",
        f"  API      {simulator.url}",
        f"  control  {simulator.control_url}",
    ]
    for key in keys:
        lines += [f"\nKey {key.secret}", f"  scopes: {listed(key.scopes)}"]
        lines.append(f"  curl -si {trust}-H 'Authorization: Bearer {key.secret}' {simulator.url}/me")
    lines.append("\nMake the next answer a 503, take a key back, see what came in:")
    fault = """'{"status": 503, "count": 1}'"""
    lines += [
        f"  curl -s -X POST {simulator.control_url}/faults -d {fault}",
        f"  curl -s -X DELETE {simulator.control_url}/keys/{keys[-1].api_key_id}",
        f"  curl -s {simulator.control_url}/requests",
    ]
    return "\n".join(lines)
