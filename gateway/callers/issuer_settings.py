"""The part of ``gateway.yaml`` that names an issuer of signed tokens, checked and made into a value."""

import json
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.callers.kind import Reading
from gateway.config.reading.kinds import Located, Text
from gateway.config.reading.names import FILE, in_folder, itself
from gateway.config.reading.problem import Steps, shown
from gateway.config.reading.section import Section, setting
from gateway.net.client_tls import fault_of_certificates

# The longest JWKS document, in bytes. An API server's has 2 kB; Google's and GitHub's have 4.
MAX_JWKS: Final = 256 * 1024
_URL: Final = Text(
    "the issuer's URL such as https://issuer.example.com", r"^https://[A-Za-z0-9\[][^\s?#@\\]*$", parse=str
)
_JWKS: Final = Located("file:/path of a JWKS document", r"^file:.+$", locate=in_folder, file=itself)


class IssuerSection(Section):
    """An issuer of signed tokens."""

    issuer: str = setting(_URL, "The issuer's URL, exactly as the `iss` of its tokens has it.")
    audience: str = setting(Text("text", parse=str), "The audience (`aud`) that a token must be issued for.")
    jwks: Path | None = setting(
        _JWKS,
        "`file:/path` of the issuer's keys (JWKS). Without it they are discovered at the issuer.",
        default=None,
    )
    ca: Path | None = setting(
        FILE, "Certificates to trust for the issuer, in place of the system's, PEM.", default=None
    )


class IssuerSettings(msgspec.Struct, frozen=True):
    """An issuer whose tokens are accepted. ``name`` is what messages, metrics and policies call it.

    ``jwks`` is a file that holds the issuer's keys. Without one they are discovered over HTTPS: then only ``ca`` is
    trusted (the system's certificates where it is None), and ``token`` is the file of the gateway's own service-account
    token, which an API server asks for.
    """

    name: str
    issuer: str
    audience: str
    jwks: Path | None = None
    ca: Path | None = None
    token: Path | None = None


def check_issuer(name: str, section: IssuerSection, here: Steps, reading: Reading) -> IssuerSettings:
    """The settings of a section at the path ``here``; reports what is wrong with its URL and files."""
    report = reading.document.report
    if section.jwks is not None:
        if reading.look and (why := _fault_of_jwks(section.jwks)):
            report((*here, "jwks"), f"{shown(str(section.jwks))} {why}")
        if section.ca is not None:
            report((*here, "ca"), "is for an issuer that is asked over the network, and `jwks` is a file")
        return IssuerSettings(name, section.issuer, section.audience, jwks=section.jwks)
    if host_of(section.issuer) is None:
        report((*here, "issuer"), "the URL's host or port cannot be read")
    if section.ca is not None and reading.look and (why := fault_of_certificates(section.ca)):
        report((*here, "ca"), f"{shown(str(section.ca))} {why}")
    return IssuerSettings(name, section.issuer, section.audience, ca=section.ca)


def host_of(url: str) -> str | None:
    """The host of a URL, in lower case; None where host or port cannot be read."""
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.port is None or parts.port > 0 else None
    except ValueError:
        return None


def _fault_of_jwks(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(MAX_JWKS))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError):
        return "is not a JWKS document: it is not JSON"
    keys = document.get("keys") if isinstance(document, dict) else None
    return "" if isinstance(keys, list) and keys else "is not a JWKS document: it holds no `keys`"
