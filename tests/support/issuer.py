"""An issuer of signed tokens: keys that sign, claims, and a server on loopback that a test changes while it runs."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.callers.keyset import KeySet
from tests.support.clock import Clock

AUDIENCE: Final = "productlane-gateway"
ACCOUNT: Final = "billing/billing-api"
NOW: Final = 1_800_000_000.0


class Signer:
    """A key pair of an issuer. ``algorithm`` is RS256 or one of ES256, ES384, ES512."""

    def __init__(self, kid: str, algorithm: str = "ES256", bits: int = 2048) -> None:
        self.kid = kid
        self.algorithm = algorithm
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        self.key: Any = (
            rsa.generate_private_key(65537, bits)
            if algorithm == "RS256"
            else ec.generate_private_key(curves[algorithm])
        )

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as an API server publishes it."""
        kind: Any = jwt.algorithms.RSAAlgorithm if self.algorithm == "RS256" else jwt.algorithms.ECAlgorithm
        made = kind.to_jwk(self.key.public_key(), as_dict=True)
        made.pop("key_ops", None)
        return {**made, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def private_jwk(self) -> dict[str, Any]:
        """The key pair with its private part, which an issuer must never publish."""
        made: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(self.key, as_dict=True)
        return {**made, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        members = {"kid": self.kid, **header}
        given = {name: value for name, value in members.items() if value is not None}
        # An API server's tokens have no `typ`.
        return jwt.encode(claims, self.key, self.algorithm, {"typ": None, **given})


def key_set(*signers: Signer) -> bytes:
    """A JWKS document."""
    return json.dumps({"keys": [signer.jwk for signer in signers]}).encode()


def keys_of(*signers: Signer) -> KeySet:
    """The keys of an issuer that has these, at hand as soon as they are asked for."""

    async def fetch() -> bytes:
        return key_set(*signers)

    return KeySet("issuer", fetch, max_age=300, clock=Clock(0.0))


def claims_of(issuer: str, account: str = ACCOUNT, **other: Any) -> dict[str, Any]:
    """The claims of a projected token, as Kubernetes 1.30 issues them; None takes one out."""
    namespace, name = account.split("/")
    claims = {
        "aud": [AUDIENCE],
        "exp": NOW + 600,
        "iat": NOW,
        "nbf": NOW,
        "iss": issuer,
        "jti": "0a0b0c0d-0000-4000-8000-000000000000",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": "u1"},
            "pod": {"name": "pod-1", "uid": "u2"},
            "serviceaccount": {"name": name, "uid": "u3"},
        },
        "sub": f"system:serviceaccount:{namespace}:{name}",
        **other,
    }
    return {key: value for key, value in claims.items() if value is not None}


@dataclass
class Asked:
    """A question to the issuer."""

    path: str
    authorization: str | None


@dataclass
class LocalIssuer:
    """An issuer on loopback over HTTPS, whose keys and answers a test changes while it runs."""

    ca: Path
    url: str = ""
    signers: list[Signer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    answer: Callable[[web.Request], web.Response] | None = None
    gate: asyncio.Event | None = None

    async def serve(self, request: web.BaseRequest) -> web.Response:
        assert isinstance(request, web.Request)
        self.asked.append(Asked(request.path, request.headers.get("Authorization")))
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer(request)
        if request.path.endswith("/.well-known/openid-configuration"):
            document = {"issuer": self.url, "jwks_uri": f"{self.url}/openid/v1/jwks", **self.configuration}
            return web.json_response(document)
        return web.Response(body=key_set(*self.signers), content_type="application/jwk-set+json")

    @property
    def key_sets(self) -> int:
        """How many times the keys were asked for."""
        return sum(asked.path.endswith("/jwks") for asked in self.asked)


@contextlib.asynccontextmanager
async def issuer_on_loopback(ca: Path, authority: trustme.CA, path: str = "/cluster") -> AsyncIterator[LocalIssuer]:
    """A running issuer with one key. ``authority`` vouches for its server, and its certificate is written to ``ca``."""
    authority.cert_pem.write_to_path(str(ca))
    local = LocalIssuer(ca, signers=[Signer("first")])
    app = web.Application()
    app.router.add_route("GET", "/{tail:.*}", local.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    local.url = f"https://localhost:{runner.addresses[0][1]}{path}"
    try:
        yield local
    finally:
        await runner.cleanup()
