"""The caller that a request without a credential is."""

from typing import Final

from gateway.callers.kind import CredentialKind, Credentials, Entries, KeySets, Verify
from gateway.config.reading.kinds import Truth


def _verifier(_entries: Entries, _setting: None, _keys: KeySets) -> Verify:
    def verify(_shown: Credentials) -> None:
        """Whether a request shows nothing is known after all other kinds: see `Identification`."""

    return verify


KIND: Final = CredentialKind(
    name="anonymous",
    value=Truth(),
    description=(
        "Anyone who reaches the listener is this caller. Once any policy authenticates, an unknown credential gets 401 "
        "all the same."
    ),
    noun="the anonymous caller",
    advice="nothing",
    challenge="",
    verifier=_verifier,
    brief=lambda _entry: "true",
)
