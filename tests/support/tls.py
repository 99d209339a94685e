"""A gateway over TLS: its files, the authority of its callers, and callers that connect with certificates."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import trustme

from tests.support.certs import ID, Authority, Identity
from tests.support.in_process import Running, policy
from tests.support.raw_caller import Caller, Response, head


class House:
    """The files of a gateway: its own certificate, and the authority of its callers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.callers = Authority()
        self.ca = self.callers.write(folder / "client-ca.crt")
        self.renew(trustme.CA())

    def renew(self, authority: trustme.CA) -> None:
        """Give the gateway a certificate of another authority."""
        self.authority = authority
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(str(self.folder / "tls.crt"))
        certificate.private_key_pem.write_to_path(str(self.folder / "tls.key"))

    @property
    def tls(self) -> dict[str, str]:
        folder = self.folder
        return {
            "certificate": str(folder / "tls.crt"),
            "private_key": str(folder / "tls.key"),
            "client_ca": str(self.ca),
        }

    def client(self, identity: Identity | None = None) -> ssl.SSLContext:
        """The TLS context of a caller."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if identity is not None:
            context.load_cert_chain(*identity.write(self.folder / "callers", f"c{id(identity)}"))
        return context


def spiffe_policy(caller: str = "app", *ids: str) -> dict[str, Any]:
    return policy(caller) | {"authenticate": {"spiffe": list(ids or (ID,))}}


async def connect(run: Running, context: ssl.SSLContext, name: str | None = "localhost") -> Caller:
    address = run.gateway.traffic
    where = {"path": str(address.path)} if address.path else {"host": address.host, "port": address.port}
    opener: Any = asyncio.open_unix_connection if address.path else asyncio.open_connection
    caller = Caller(*await opener(**where, ssl=context, server_hostname=name))
    run.callers.append(caller)
    return caller


async def ask(run: Running, context: ssl.SSLContext, token: str | None = None) -> Response:
    caller = await connect(run, context)
    await caller.send(head(token=token))
    response = await caller.response()
    await caller.close()
    return response


async def refused(run: Running, context: ssl.SSLContext) -> bool:
    """Whether the handshake fails, or in TLS 1.3 the first thing after it."""
    try:
        caller = await connect(run, context)
        await caller.send(head(token=None))
        return await caller.closed() == b""
    except (ssl.SSLError, ConnectionError):
        return True
