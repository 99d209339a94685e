"""What a check finds: one closed list, with one row for each thing that can be wrong."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Severity(StrEnum):
    """How bad a finding is, the mildest first: the exit status is the place of the worst.

    A warning: it serves, and somebody should look. An error: requests fail, or the gateway does not start.
    """

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Id(StrEnum):
    """The names of what can be wrong, for programs."""

    CONFIGURATION = "configuration"
    FILE_MISSING = "file_missing"
    FILE_FOLDER_CLOSED = "file_folder_closed"
    FILE_UNREADABLE = "file_unreadable"
    FILE_EMPTY = "file_empty"
    FILE_MOUNTED_ALONE = "file_mounted_alone"
    FILE_OPEN_TO_ALL = "file_open_to_all"
    POLICY_ENDED = "policy_ended"
    POLICY_ENDS_SOON = "policy_ends_soon"
    PORT_TAKEN = "port_taken"
    PORT_PRIVILEGED = "port_privileged"
    ADDRESS_ELSEWHERE = "address_elsewhere"
    ADDRESS_UNUSABLE = "address_unusable"
    SOCKET_FOLDER_CLOSED = "socket_folder_closed"
    CERTIFICATE_UNREADABLE = "certificate_unreadable"
    CERTIFICATE_ENDED = "certificate_ended"
    CERTIFICATE_ENDS_SOON = "certificate_ends_soon"
    FILES_LIMIT = "files_limit"
    MEMORY_LIMIT = "memory_limit"
    DNS = "dns"
    TCP = "tcp"
    TLS_ISSUER = "tls_issuer"
    TLS_NAME = "tls_name"
    TLS_DATES = "tls_dates"
    TLS_ENDS_SOON = "tls_ends_soon"
    TLS_HANDSHAKE = "tls_handshake"
    CLOCK_DIFFERS = "clock_differs"
    CLOCK_WRONG = "clock_wrong"
    SECRET_REFUSED = "secret_refused"  # noqa: S105  # nosec B105 - a name
    SECRET_UNVERIFIED = "secret_unverified"  # noqa: S105  # nosec B105 - a name
    SCOPES_MISSING = "scopes_missing"
    SCOPES_EXCESS = "scopes_excess"
    ISSUER = "issuer"
    REDIS = "redis"
    BUDGET_SPENT = "budget_spent"


class Row(NamedTuple):
    """What a finding means: the check that it belongs to, how bad it is, and how to mend it, as an imperative."""

    check: str
    severity: Severity
    fix: str


_WARNING: Final = Severity.WARNING
_ERROR: Final = Severity.ERROR

FINDINGS: Final[Mapping[Id, Row]] = {
    Id.CONFIGURATION: Row("configuration", _ERROR, "correct it; `check` reads it again"),
    Id.FILE_MISSING: Row("files", _WARNING, "create it, or mount the Secret that holds it"),
    Id.FILE_FOLDER_CLOSED: Row("files", _ERROR, "let this user enter each folder above it (chmod +x)"),
    Id.FILE_UNREADABLE: Row("files", _ERROR, "set fsGroup in the pod, or chown the file"),
    Id.FILE_EMPTY: Row("files", _ERROR, "write its content into it"),
    Id.FILE_MOUNTED_ALONE: Row("files", _WARNING, "mount the whole Secret as a folder, without subPath"),
    Id.FILE_OPEN_TO_ALL: Row("files", _WARNING, "chmod 640, or defaultMode: 0440 in the volume"),
    Id.POLICY_ENDED: Row("policies", _WARNING, "set a later date under `expires` in the policy, or remove the policy"),
    Id.POLICY_ENDS_SOON: Row("policies", _WARNING, "set a later date under `expires` in the policy"),
    Id.PORT_TAKEN: Row("listeners", _ERROR, "end the process that listens there, or choose another port"),
    Id.PORT_PRIVILEGED: Row("listeners", _ERROR, "choose a port above 1023"),
    Id.ADDRESS_ELSEWHERE: Row("listeners", _ERROR, "use an address of this machine, or 0.0.0.0"),
    Id.ADDRESS_UNUSABLE: Row("listeners", _ERROR, "correct the setting"),
    Id.SOCKET_FOLDER_CLOSED: Row("listeners", _ERROR, "create the folder, writable by this user"),
    Id.CERTIFICATE_UNREADABLE: Row("certificates", _ERROR, "put certificates in PEM there, the leaf first"),
    Id.CERTIFICATE_ENDED: Row("certificates", _ERROR, "renew it"),
    Id.CERTIFICATE_ENDS_SOON: Row("certificates", _WARNING, "renew it, or find out why it was not renewed"),
    Id.FILES_LIMIT: Row("limits", _ERROR, "raise the hard limit of open files, or lower `limits.connections`"),
    Id.MEMORY_LIMIT: Row("limits", _WARNING, "raise the memory limit of the container"),
    Id.DNS: Row(
        "dns", _ERROR, "correct `upstream.url`, or let the pod reach its DNS server (NetworkPolicy: port 53, UDP, TCP)"
    ),
    Id.TCP: Row("tcp", _ERROR, "let the gateway reach this host and port (firewall, NetworkPolicy, proxy)"),
    Id.TLS_ISSUER: Row(
        "tls", _ERROR, "if a proxy on the way signs anew, name its authority in `upstream.ca`; else do not trust it"
    ),
    Id.TLS_NAME: Row("tls", _ERROR, "correct the host in `upstream.url`, or the name that resolves to this server"),
    Id.TLS_DATES: Row("tls", _ERROR, "let the owner of the server renew it; or correct the clock of this machine"),
    Id.TLS_ENDS_SOON: Row("tls", _WARNING, "let the owner of the server renew it"),
    Id.TLS_HANDSHAKE: Row("tls", _ERROR, "use a port that speaks TLS 1.2 or newer, and a readable `upstream.ca`"),
    Id.CLOCK_DIFFERS: Row("clock", _WARNING, "synchronise the clock of this machine (NTP)"),
    Id.CLOCK_WRONG: Row("clock", _ERROR, "synchronise the clock of this machine (NTP)"),
    Id.SECRET_REFUSED: Row("keys", _ERROR, "replace it in its file or Secret"),
    Id.SECRET_UNVERIFIED: Row("keys", _ERROR, "mend the way to Productlane first"),
    Id.SCOPES_MISSING: Row("scopes", _ERROR, "add the scopes to a key in Productlane, or take them from the policies"),
    Id.SCOPES_EXCESS: Row("scopes", _WARNING, "take from the key in Productlane what no request needs"),
    Id.ISSUER: Row("issuers", _ERROR, "let the gateway reach the issuer, or correct its URL or `ca` under `callers`"),
    Id.REDIS: Row(
        "redis", _ERROR, "start it, let the gateway reach it, and correct user, password or CA under `redis`"
    ),
    Id.BUDGET_SPENT: Row(
        "budgets", _WARNING, "give callers keys of their own, limit them (`limits`), or ask Productlane for more"
    ),
}


class Finding(NamedTuple):
    """One thing that was looked at. ``id`` names what is wrong; it and ``fix`` are empty where nothing is."""

    check: str
    severity: Severity
    what: str
    fix: str = ""
    id: str = ""


def ok(check: str, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Severity.OK, what)


def wrong(name: Id, what: str, fix: str = "") -> Finding:
    """Something is; ``fix`` says more than its row where more is known."""
    row = FINDINGS[name]
    return Finding(row.check, row.severity, what, fix or row.fix, name.value)
