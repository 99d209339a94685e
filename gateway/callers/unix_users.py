"""The users of processes that connect to a unix socket, as the kernel names them."""

from typing import Final

from gateway.callers.kind import Available, CredentialKind, Credentials, Entries, KeySets, Outcome, Verify
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Whole

# The kernel shows this for every user of another user namespace without a counterpart here (user_namespaces(7)), so it
# can be anybody.
_OVERFLOW_UID: Final = 65_534
# 4294967295 is no user.
_UNIX_UID: Final = Whole(0, 4_294_967_294)


def _missing(available: Available) -> str:
    return "" if available.unix_socket else "proves nobody while `listen` is not a unix socket"


def _fault(uid: int, _available: Available) -> str:
    if uid != _OVERFLOW_UID:
        return ""
    return f"{uid} is what the kernel shows for every user that it does not know here, so it proves nobody"


def _verifier(entries: Entries, _setting: None, _keys: KeySets) -> Verify:
    def verify(shown: Credentials) -> Outcome:
        return None if shown.uid is None else entries.get(shown.uid)

    return verify


KIND: Final = CredentialKind(
    name="unix_uids",
    value=Many(_UNIX_UID, "user ids"),
    description="User ids of the processes that connect, where the traffic listener is a unix socket.",
    noun="a user id",
    advice="nothing, from a process whose user a policy lists",
    # No scheme is registered for this either; see `spiffe`.
    challenge="UnixUser",
    verifier=_verifier,
    missing=_missing,
    fault=_fault,
)
