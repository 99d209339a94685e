"""The kinds of value that the files of the gateway hold: names, durations, sizes, addresses, paths, identities."""

import hashlib
from datetime import date
from pathlib import Path
from typing import Final

from gateway.config.reading.kinds import Amount, Located, Text, Whole
from gateway.config.reading.scalar import seconds, size
from gateway.config.schema.values import address
from gateway.config.secret_source import located

# One segment of a path template: literal, but not `.` or `..`, or a placeholder.
SEGMENT: Final = r"/(?:(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+|\{[A-Za-z0-9_]+\})"

# Names appear in logs and metrics, so nothing that looks like a key or a token is one.
NAME: Final = Text(
    "a name of letters, digits, `.`, `_` and `-`, at most 64",
    r"^(?!pl_v[0-9]|plgw_)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
    parse=str,
)
# Both in seconds.
DURATION: Final = Text(
    "a duration such as 500ms, 5s, 2m, 1h or 7d", r"^(?:0|[1-9][0-9]{0,8})(?:ms|s|m|h|d)$", parse=seconds
)
# A time-out of zero would fail every request.
TIMEOUT: Final = Text(
    "a duration above zero such as 500ms, 5s, 2m, 1h or 7d", r"^[1-9][0-9]{0,8}(?:ms|s|m|h|d)$", parse=seconds
)
# In bytes.
SIZE: Final = Amount(
    Whole(1, 1 << 40),
    Text(
        "a size such as 16MiB or 500KiB, or a number of bytes",
        r"^[1-9][0-9]{0,8}(?:KiB|MiB|GiB|kB|MB|GB)$",
        parse=size,
    ),
)
LISTEN: Final = Located(
    "host:port, [IPv6]:port or unix:/path",
    r"^(?:unix:.+|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})$",
    locate=address,
)


def _path(text: str, folder: Path) -> Path:
    return folder / text.removeprefix("file:")


def _file_of_source(source: str) -> Path | None:
    return Path(source.removeprefix("file:")) if source.startswith("file:") else None


def _itself(path: Path) -> Path:
    return path


def _hint_of_source(text: str) -> str:
    if text.startswith("pl_v"):
        return "a key; put it into a file that only the gateway can read, and name the file"
    return "a path; write `file:` before it" if text.startswith(("/", "./", "../")) else ""


def _hint_of_digest(text: str) -> str:
    if not text.startswith("plgw_"):
        return ""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"a token; its digest is sha256:{digest}, but others could read the token here, so make a new one"


FILE: Final = Located("the path of a file", locate=_path, file=_itself)
FOLDER: Final = Located("the path of a folder", locate=_path)
JWKS: Final = Located("file:/path of a JWKS document", r"^file:.+$", locate=_path, file=_itself)
_SOURCE: Final = r"^(?:file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$"
SOURCE: Final = Located(
    "file:/path or env:NAME (never the key itself)",
    _SOURCE,
    locate=located,
    file=_file_of_source,
    private=True,
    hint=_hint_of_source,
)
# Read whenever it is needed, so a change of its file is not a change of the configuration.
PASSWORD_SOURCE: Final = Located(
    "file:/path or env:NAME (never the password itself)", _SOURCE, locate=located, private=True
)

# The SPIFFE ID specification, section 2: lower-case trust domain, a path of plain segments and nothing after it. The id
# of a workload has a path (X509-SVID, section 2).
TRUST_DOMAIN: Final = Text("a trust domain such as cluster.local", r"^[a-z0-9._-]{1,255}$", parse=str)
SPIFFE_ID: Final = r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+"
SPIFFE: Final = Text(
    "a SPIFFE id such as spiffe://cluster.local/ns/billing/sa/billing-api",
    f"^(?=.{{1,2048}}$){SPIFFE_ID}$",
    parse=str,
)
# Names of namespaces and service accounts (RFC 1123 label and subdomain), as Kubernetes has them.
NAMESPACE: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
ACCOUNT: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
SERVICE_ACCOUNT: Final = Text(
    "namespace/serviceaccount such as billing/billing-api", f"^{NAMESPACE}/{ACCOUNT}$", parse=str
)
# 4294967295 is no user; see `gateway.config.proofs` for 65534.
UNIX_UID: Final = Whole(0, 4_294_967_294)
DIGEST: Final = Text(
    "sha256: and 64 hexadecimal digits, from `productlane-gateway token`",
    r"^sha256:[0-9a-f]{64}$",
    parse=lambda text: bytes.fromhex(text.removeprefix("sha256:")),
    private=True,
    hint=_hint_of_digest,
)

SCOPE: Final = Text("a scope such as threads:read", parse=str)
ENDPOINT: Final = Text("a method and a path such as POST /companies/{id}/merge", r"^[A-Z]+ /\S*$", parse=str)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no such day as `{text}`") from None


DAY: Final = Text("a date such as 2027-01-01", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", parse=_day, date=True)
