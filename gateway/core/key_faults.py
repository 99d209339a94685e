"""Why a key or one of its secrets cannot be used: one closed list, with one row for each fault."""

from typing import Final

from gateway.core.refusal import Code
from gateway.core.row_enum import RowEnum


class KeyFault(RowEnum):
    """A fault that only the owner of the keys can mend. The value is the state that ``keys`` and metrics show.

    Where the keys of a route differ, the refusal is that of the first fault in this order.

    ``status`` and ``upstream_code`` are Productlane's answer (its page on errors), None and empty where the gateway
    finds the fault itself. ``code`` and ``message`` answer the caller. ``meaning`` and ``cure`` are for the operator:
    both continue a sentence whose subject is the secret.
    """

    def __init__(
        self, _: str, status: int | None, upstream_code: str, code: Code, message: str, meaning: str, cure: str
    ) -> None:
        self.status: Final = status
        self.upstream_code: Final = upstream_code
        self.code: Final = code
        self.message: Final = message
        self.meaning: Final = meaning
        self.cure: Final = cure

    REJECTED = (
        "rejected",
        401,
        "unauthenticated",
        Code.UPSTREAM_KEY_REJECTED,
        "Productlane rejects the key that serves this request.",
        "Productlane answers 401; it was revoked or is mistyped",
        "put a valid key in its place",
    )
    WRONG_WORKSPACE = (
        "wrong_workspace",
        None,
        "",
        Code.UPSTREAM_KEY_REJECTED,
        "The key that serves this request belongs to another workspace.",
        "it belongs to another workspace than the key's setting `workspace` names",
        "correct the secret or the setting",
    )
    MISSING = (
        "missing",
        None,
        "",
        Code.UPSTREAM_KEY_REJECTED,
        "The key that serves this request has no secret.",
        "its file or variable does not exist, or it is empty",
        "provide the secret",
    )
    UNSUPPORTED = (
        "unsupported",
        410,
        "unsupported_key_version",
        Code.UPSTREAM_KEY_UNSUPPORTED,
        "Productlane no longer supports the key that serves this request.",
        "Productlane answers 410; it is not a v2 key",
        "create a v2 key in Productlane and put it in its place",
    )


# Each state of a secret, in the order in which metrics list them. The faults are the states that keep it from use.
KEY_STATES: Final = ("unverified", "active", "standby", *(fault.value for fault in KeyFault))

_BY_STATUS: Final = {fault.status: fault for fault in KeyFault if fault.status is not None}


def fault_of_status(status: int) -> KeyFault | None:
    """The fault that an answer of ``GET /me`` with this status means. That endpoint needs nothing but a valid key."""
    return _BY_STATUS.get(status)


def fault_of_answer(status: int, code: str) -> KeyFault | None:
    """The fault that Productlane's answer to any request means; None where its code speaks of something else."""
    fault = _BY_STATUS.get(status)
    return fault if fault is not None and fault.upstream_code == code else None


def default_code(status: int) -> str:
    """Productlane's code for a status whose body names none; empty where the status is not about a key."""
    fault = _BY_STATUS.get(status)
    return "" if fault is None else fault.upstream_code
