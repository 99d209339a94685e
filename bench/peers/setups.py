"""How each peer is set up and started, and which version of it there is."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from types import MappingProxyType
from typing import Final

import yaml

from bench.peers.traffic import TOKEN
from bench.peers.tutorials import KEY
from gateway import __version__

HERE: Final = Path(__file__).parent
_ENVOY: Final = ("--concurrency", "1", "--log-level", "off", "--disable-hot-restart")
_ENVOY_TLS: Final = (
    "transport_socket: {name: tls, typed_config: {"
    "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: localhost, "
    "common_tls_context: {validation_context: {trusted_ca: {filename: '@CA@'}}}}}"
)


@dataclass
class Place:
    """Where a peer is to be: its folder and port, and the upstream's scheme, port and certificate authority."""

    folder: Path
    port: int
    scheme: str
    upstream: int
    ca: Path

    def filled(self, template: str) -> str:
        """The path of a configuration made of a file of `HERE`."""
        secure = self.scheme == "https"
        values = {
            "FOLDER": str(self.folder),
            "PORT": str(self.port),
            "SCHEME": self.scheme,
            "UPSTREAM": f"127.0.0.1:{self.upstream}",
            "UPSTREAMPORT": str(self.upstream),
            "KEY": KEY,
            "CA": str(self.ca),
            "SSL": f"ssl verify required ca-file {self.ca} sni str(localhost) verifyhost localhost" if secure else "",
            "TLS": _ENVOY_TLS.replace("@CA@", str(self.ca)) if secure else "",
            "CADDYTLS": f"tls_trust_pool file {self.ca}\ntls_server_name localhost" if secure else "",
        }
        path = self.folder / template
        path.write_text(re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], (HERE / template).read_text()))
        return str(path)

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.upstream}"


def gateway_settings(place: Place, more: Mapping[str, object] = MappingProxyType({})) -> dict[str, object]:
    """Settings of a gateway with two callers that authenticate and two keys to choose from; it writes their policies.

    ``more`` are further fields of the policy that is asked with.
    """
    policies = place.folder / "policies"
    policies.mkdir()
    digest = f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    for caller, token, extra in (("bench", digest, more), ("other", f"sha256:{'0' * 64}", {})):
        policy = {"caller": caller, "authenticate": {"tokens": [token]}, "scopes": ["threads:read", "threads:write"]}
        (policies / f"{caller}.yaml").write_text(yaml.safe_dump({**policy, **extra}))
    return {
        "listen": f"127.0.0.1:{place.port}",
        "admin": "127.0.0.1:0",
        "upstream": {"url": f"{place.url}/api/v2"} | ({"ca": str(place.ca)} if place.scheme == "https" else {}),
        "keys": {"one": {"secrets": ["env:BENCH_KEY"]}, "two": {"secrets": ["env:BENCH_KEY"]}},
        "routes": [{"path": "/**", "keys": ["one", "two"]}],
        "drain": {"delay": "0s"},
    }


def _gateway(place: Place) -> list[str]:
    path = place.folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(gateway_settings(place)))
    return [sys.executable, "-m", "gateway", "serve", "--config", str(path)]


def _traefik(place: Place) -> list[str]:
    place.filled("traefik-routes.yaml")
    return [program("traefik"), f"--configFile={place.filled('traefik.yaml')}"]


def _tutorial(kind: str) -> Callable[[Place], list[str]]:
    return lambda place: [
        *(sys.executable, "-m", "bench.peers.tutorials", kind),
        *(str(place.port), place.url, str(place.ca)),
    ]


PEERS: Final[dict[str, Callable[[Place], list[str]]]] = {
    "gateway": _gateway,
    "nginx": lambda place: [program("nginx"), "-p", str(place.folder), "-c", place.filled("cost-nginx.conf")],
    "HAProxy": lambda place: [program("haproxy"), "-db", "-f", place.filled("cost-haproxy.cfg")],
    "Envoy": lambda place: [program("envoy"), "-c", place.filled("envoy.yaml"), *_ENVOY],
    "Caddy": lambda place: [
        *(program("caddy"), "run", "--adapter", "caddyfile"),
        *("--config", place.filled("Caddyfile")),
    ],
    "Traefik": _traefik,
    "aiohttp tutorial": _tutorial("aiohttp"),
    "Starlette + httpx": _tutorial("starlette"),
}
# What prints the version of each program, and which libraries the others are made of.
_VERSIONS: Final = {"nginx": "-v", "HAProxy": "-v", "Envoy": "--version", "Caddy": "version", "Traefik": "version"}
_LIBRARIES: Final = {"aiohttp tutorial": ("aiohttp",), "Starlette + httpx": ("starlette", "httpx", "uvicorn")}


def program(name: str) -> str:
    """The path of a program, beside the interpreter or on PATH; empty where it is not installed."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or ""
    package = importlib.util.find_spec("envoy") if name == "envoy" else None
    if package is not None and package.submodule_search_locations:
        # The script of the package only starts this one, and takes longer for that than Envoy itself.
        inside = Path(package.submodule_search_locations[0]) / "_bin" / "envoy"
        found = str(inside) if inside.exists() else found
    return found


def version(name: str) -> str:
    """The version of a peer; empty where it is not installed."""
    if name == "gateway":
        return __version__
    if libraries := _LIBRARIES.get(name):
        there = all(importlib.util.find_spec(library) for library in libraries)
        return " + ".join(map(version_of, libraries)) if there else ""
    path = program(name.lower())
    if not path:
        return ""
    told = subprocess.run([path, _VERSIONS[name]], capture_output=True, text=True, check=False)
    found = re.search(r"(?<![\d.])\d+\.\d+\.\d+", told.stdout + told.stderr)
    return found[0] if found else "?"
