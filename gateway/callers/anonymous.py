"""The anonymous caller: requests without a credential."""

from typing import Final

from gateway.callers.kind import CredentialKind, Credentials, Entries, KeySets, Reading, SettingOf, Verify
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Text, Truth


def _verifier(_entries: Entries, _setting: None, _keys: KeySets) -> Verify:
    def verify(_shown: Credentials) -> None:
        """Never decides: `Identification` does, once no other kind has identified a caller."""

    return verify


_HOST: Final = Text("a host name such as gateway.internal", r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$", parse=str)


def _check(hosts: tuple[str, ...], _reading: Reading) -> frozenset[str]:
    return frozenset(hosts)


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
    setting=SettingOf(
        "anonymous_hosts",
        Many(_HOST, "host names"),
        "Names, beside those of loopback, by which anonymous callers may address a loopback listener (`Host`).",
        _check,
    ),
)
