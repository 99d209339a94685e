"""The command that says whether the gateway of this configuration is alive, for an image's HEALTHCHECK."""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.settings import REFUSED, config_option, fail

if TYPE_CHECKING:
    from gateway.net.listen_address import Address

_TIMEOUT: Final = 2.0
# Addresses that stand for all of a machine's: a client asks the machine itself.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nosec B104 - nothing listens here


@click.command()
@config_option
@click.option("--admin", metavar="ADDRESS", help="The admin listener, where `serve` was given it as an option.")
def health(config: Path | None, admin: str | None) -> None:
    """Ask the running gateway whether it is alive.

    Reads where the admin listener is, as `serve` does: from --admin, else from the environment, else from the file.
    Nothing else of the configuration is read, so a mistake in a changed file does not make a gateway that serves look
    dead. Sends GET /livez and waits 2 s. For engines without probes of their own:

    \b
        productlane-gateway health --config gateway.yaml
        HEALTHCHECK CMD ["productlane-gateway", "health"]

    Exit status: 0 where it is alive, 1 where it is not, 2 where the address cannot be used.
    """
    try:
        address = _address(config, admin)
    except ValueError as error:
        fail(f"admin: {error}")
    if fault := fault_of(address):
        click.echo(f"not alive: {fault}", err=True)
        raise SystemExit(REFUSED)
    click.echo("alive")


def _address(config: Path | None, admin: str | None) -> "Address":
    """Where the admin listener is. Raises `ValueError`."""
    from gateway.config.reading.document import Scalar, Table
    from gateway.config.reading.problem import shown
    from gateway.config.reading.source import open_document
    from gateway.config.schema import environment
    from gateway.config.schema.gateway import Gateway
    from gateway.config.schema.kinds import LISTEN
    from gateway.config.schema.values import address

    text = admin or os.environ.get(f"{environment.PREFIX}ADMIN")
    if text:
        if not LISTEN.matches(text):
            raise ValueError(f"expected {LISTEN.expected}, found {shown(text)}")
        return address(text, Path())
    file = config or os.environ.get(environment.CONFIG)
    if file:
        path = Path(file)
        root = open_document(path, []).root
        node = root.entries.get("admin", (0, None))[1] if isinstance(root, Table) else None
        if isinstance(node, Scalar):
            return address(node.text, path.parent)
    return Gateway.admin


def fault_of(address: "Address") -> str:
    """What is wrong with the process that listens there; empty where it says that it is alive."""
    try:
        with _connected(address) as connection:
            connection.settimeout(_TIMEOUT)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            line = connection.makefile("rb").readline(128).split()
    except OSError as error:
        return f"{address}: {error.strerror or 'no answer'}"
    status = line[1].decode("latin-1") if len(line) > 1 else "nothing"
    return "" if status == "200" else f"{address} answered {status}"


def _connected(address: "Address") -> socket.socket:
    if address.path is None:
        host = _EVERYWHERE.get(address.host, address.host)
        return socket.create_connection((host, address.port), timeout=_TIMEOUT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_TIMEOUT)
    try:
        connection.connect(str(address.path))
    except BaseException:
        connection.close()
        raise
    return connection
