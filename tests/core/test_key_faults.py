"""`gateway.core.key_faults`: one table of the faults of keys, which everything else reads."""

import pytest

from gateway.core.key_faults import KEY_STATES, KeyFault, default_code, fault_of_answer, fault_of_status


def test_every_fault_has_its_row() -> None:
    """Every fault has a status for the caller and a cure for the operator."""
    assert {502} == {fault.code.status for fault in KeyFault}
    assert all(fault.message and fault.meaning and fault.cure for fault in KeyFault)


def test_a_fault_is_a_state() -> None:
    """What `keys`, metrics and logs call a secret that cannot be used is the name of its fault."""
    assert {*KeyFault} < {*KEY_STATES}
    assert len(KEY_STATES) == len(set(KEY_STATES))


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (401, "unauthenticated", KeyFault.REJECTED),
        (410, "unsupported_key_version", KeyFault.UNSUPPORTED),
        (401, "forbidden", None),
        (410, "unsupported_api_version", None),
        (403, "unauthenticated", None),
        (200, "", None),
    ],
)
def test_only_productlanes_own_words_accuse_a_key(status: int, code: str, fault: KeyFault | None) -> None:
    """An answer accuses the key where status and code agree: a 410 about something else is the caller's answer."""
    assert fault is fault_of_answer(status, code)


@pytest.mark.parametrize(
    ("status", "fault", "code"),
    [
        (401, KeyFault.REJECTED, "unauthenticated"),
        (410, KeyFault.UNSUPPORTED, "unsupported_key_version"),
        (403, None, ""),
        (500, None, ""),
    ],
)
def test_a_status_alone_is_read_by_the_page_on_errors(status: int, fault: KeyFault | None, code: str) -> None:
    """If the body has no code, the status gives the code that Productlane documents for it."""
    assert (fault, code) == (fault_of_status(status), default_code(status))
