"""The kinds of value that files hold, and what every section of a file is.

With `gateway_file`, `policy_file` and `catalog_file` this is the schema, said once: the reader, the JSON Schemas and
the names of environment variables come from it. ``productlane-gateway schema`` prints the description of each field.
What `msgspec.Meta.extra` may say is in `gateway.config.reading.reader`.
"""

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

# One segment of a path template: literal, but not `.` or `..`, or a placeholder.
SEGMENT: Final = r"/(?:(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+|\{[A-Za-z0-9_]+\})"

# Names are told everywhere, so what looks like a key or a token is none.
Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(?!pl_v[0-9]|plgw_)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
        extra={"expected": "a name of letters, digits, `.`, `_` and `-`, at most 64"},
    ),
]
Duration: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(?:0|[1-9][0-9]{0,8})(?:ms|s|m|h)$",
        extra={"expected": "a duration such as 500ms, 5s, 2m or 1h"},
    ),
]
# A time-out of zero would fail every request.
Timeout: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,8}(?:ms|s|m|h)$",
        extra={"expected": "a duration above zero such as 500ms, 5s, 2m or 1h"},
    ),
]
Size: TypeAlias = (
    Annotated[int, Meta(ge=1, le=1 << 40)]
    | Annotated[
        str,
        Meta(
            pattern=r"^[1-9][0-9]{0,8}(?:KiB|MiB|GiB|kB|MB|GB)$",
            extra={"expected": "a size such as 16MiB or 500KiB, or a number of bytes"},
        ),
    ]
)
Listen: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(?:unix:.+|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})$",
        extra={"expected": "host:port, [IPv6]:port or unix:/path"},
    ),
]
FileName: TypeAlias = Annotated[str, Meta(extra={"expected": "the path of a file"})]
Source: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(?:file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$",
        extra={"expected": "file:/path or env:NAME (never the key itself)", "private": True},
    ),
]
# The SPIFFE ID specification, section 2: lower-case trust domain, a path of plain segments and nothing after it. That
# of a workload has a path (X509-SVID, section 2).
TrustDomain: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z0-9._-]{1,255}$", extra={"expected": "a trust domain such as cluster.local"})
]
SPIFFE_ID: Final = r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+"
SpiffeId: TypeAlias = Annotated[
    str,
    Meta(
        pattern=f"^(?=.{{1,2048}}$){SPIFFE_ID}$",
        extra={"expected": "a SPIFFE id such as spiffe://cluster.local/ns/billing/sa/billing-api"},
    ),
]
# Names of namespaces and service accounts (RFC 1123 label and subdomain), as Kubernetes has them.
NAMESPACE: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
ACCOUNT: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
ServiceAccount: TypeAlias = Annotated[
    str,
    Meta(
        pattern=f"^{NAMESPACE}/{ACCOUNT}$",
        extra={"expected": "namespace/serviceaccount such as billing/billing-api"},
    ),
]
# 4294967295 is no user; see `gateway.config.proofs` for 65534.
UnixUid: TypeAlias = Annotated[int, Meta(ge=0, le=4_294_967_294)]
Scope: TypeAlias = Annotated[str, Meta(extra={"expected": "a scope such as threads:read"})]
EndpointName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z]+ /\S*$",
        extra={"expected": "a method and a path such as POST /companies/{id}/merge"},
    ),
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in a file. Its keys are the fields, and no others."""
