"""What a check finds: one closed list, with a row for each thing that can be wrong."""

from enum import StrEnum
from typing import Final, NamedTuple

from gateway.core.row_enum import RowEnum


class Severity(StrEnum):
    """How bad a finding is, the mildest first: the exit status is the place of the worst.

    A warning: it serves, and somebody should look. An error: requests fail, or the gateway does not start.
    """

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


_WARNING: Final = Severity.WARNING
_ERROR: Final = Severity.ERROR


class Id(RowEnum):
    """What can be wrong, by a name for programs: the check that it belongs to, how bad it is, and an imperative fix."""

    def __init__(self, _: str, check: str, severity: Severity, fix: str) -> None:
        self.check: Final = check
        self.severity: Final = severity
        self.fix: Final = fix

    # fmt: off
    CONFIGURATION = "configuration", "configuration", _ERROR, "correct it; `check` reads it again"
    FILE_MISSING = "file_missing", "files", _WARNING, "create it, or mount the Secret that holds it"
    FILE_FOLDER_CLOSED = "file_folder_closed", "files", _ERROR, "let this user enter each folder above it (chmod +x)"
    FILE_UNREADABLE = "file_unreadable", "files", _ERROR, "set fsGroup in the pod, or chown the file"
    FILE_EMPTY = "file_empty", "files", _ERROR, "write its content into it"
    FILE_MOUNTED_ALONE = "file_mounted_alone", "files", _WARNING, "mount the whole Secret as a folder, without subPath"
    FILE_OPEN_TO_ALL = "file_open_to_all", "files", _WARNING, "chmod 640, or defaultMode: 0440 in the volume"
    POLICY_ENDED = (
        "policy_ended", "policies", _WARNING, "set a later date under `expires` in the policy, or remove the policy"
    )
    POLICY_ENDS_SOON = "policy_ends_soon", "policies", _WARNING, "set a later date under `expires` in the policy"
    PORT_TAKEN = "port_taken", "listeners", _ERROR, "end the process that listens there, or choose another port"
    PORT_PRIVILEGED = "port_privileged", "listeners", _ERROR, "choose a port above 1023"
    ADDRESS_ELSEWHERE = "address_elsewhere", "listeners", _ERROR, "use an address of this machine, or 0.0.0.0"
    ADDRESS_UNUSABLE = "address_unusable", "listeners", _ERROR, "correct the setting"
    SOCKET_FOLDER_CLOSED = "socket_folder_closed", "listeners", _ERROR, "create the folder, writable by this user"
    CERTIFICATE_UNREADABLE = (
        "certificate_unreadable", "certificates", _ERROR, "put certificates in PEM there, the leaf first"
    )
    CERTIFICATE_ENDED = "certificate_ended", "certificates", _ERROR, "renew it"
    CERTIFICATE_ENDS_SOON = (
        "certificate_ends_soon", "certificates", _WARNING, "renew it, or find out why it was not renewed"
    )
    FILES_LIMIT = "files_limit", "limits", _ERROR, "raise the hard limit of open files, or lower `limits.connections`"
    MEMORY_LIMIT = "memory_limit", "limits", _WARNING, "raise the memory limit of the container"
    DNS = (
        "dns", "dns", _ERROR,
        "correct `upstream.url`, or let the pod reach its DNS server (NetworkPolicy: port 53, UDP, TCP)"
    )
    TCP = "tcp", "tcp", _ERROR, "let the gateway reach this host and port (firewall, NetworkPolicy, proxy)"
    TLS_ISSUER = (
        "tls_issuer", "tls", _ERROR,
        "if a proxy on the way signs anew, name its authority in `upstream.ca`; else do not trust it"
    )
    TLS_NAME = "tls_name", "tls", _ERROR, "correct the host in `upstream.url`, or the name that resolves to this server"
    TLS_DATES = "tls_dates", "tls", _ERROR, "let the owner of the server renew it; or correct the clock of this machine"
    TLS_ENDS_SOON = "tls_ends_soon", "tls", _WARNING, "let the owner of the server renew it"
    TLS_HANDSHAKE = (
        "tls_handshake", "tls", _ERROR, "use a port that speaks TLS 1.2 or newer, and a readable `upstream.ca`"
    )
    CLOCK_DIFFERS = "clock_differs", "clock", _WARNING, "synchronise the clock of this machine (NTP)"
    CLOCK_WRONG = "clock_wrong", "clock", _ERROR, "synchronise the clock of this machine (NTP)"
    SECRET_REFUSED = "secret_refused", "keys", _ERROR, "replace it in its file or Secret"
    SECRET_UNVERIFIED = "secret_unverified", "keys", _ERROR, "mend the way to Productlane first"
    SCOPES_MISSING = (
        "scopes_missing", "scopes", _ERROR, "add the scopes to a key in Productlane, or take them from the policies"
    )
    SCOPES_EXCESS = "scopes_excess", "scopes", _WARNING, "take from the key in Productlane what no request needs"
    ISSUER = "issuer", "issuers", _ERROR, "let the gateway reach the issuer, or correct its URL or `ca` under `callers`"
    REDIS = (
        "redis", "redis", _ERROR, "start it, let the gateway reach it, and correct user, password or CA under `redis`"
    )
    BUDGET_SPENT = (
        "budget_spent", "budgets", _WARNING,
        "give callers keys of their own, limit them (`limits`), or ask Productlane for more"
    )
    # fmt: on


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
    return Finding(name.check, name.severity, what, fix or name.fix, name.value)
