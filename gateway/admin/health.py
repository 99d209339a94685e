"""Whether this process can take traffic, from local facts only."""

from typing import Final, Literal, TypeAlias

Fact: TypeAlias = Literal["config_loaded", "listener_open", "issuers_asked", "not_draining"]

_OTHERWISE: Final[dict[Fact, str]] = {
    "config_loaded": "the config is not loaded",
    "listener_open": "the traffic listener is not open",
    "issuers_asked": "the keys of an issuer of callers' tokens have not been fetched yet",
    "not_draining": "draining: the process is about to end",
}


class Health:
    """The facts that make the process ready. An outage of Productlane or Redis is none: it would empty the Service.

    An outage of an issuer counts only at the start: see `gateway.runtime.gateway`.
    """

    def __init__(self) -> None:
        self._true: dict[Fact, bool] = {
            "config_loaded": False,
            "listener_open": False,
            "issuers_asked": False,
            "not_draining": True,
        }

    def mark(self, name: Fact, ready: bool) -> None:
        """Say whether a fact holds now."""
        self._true[name] = ready

    def reasons_not_ready(self) -> tuple[str, ...]:
        """One line for each fact that does not hold; none when ready."""
        return tuple(_OTHERWISE[name] for name, holds in self._true.items() if not holds)
