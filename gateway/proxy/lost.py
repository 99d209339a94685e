"""That an exchange with the upstream failed."""

from typing import Final

from gateway.core.limits import Limit
from gateway.core.network_faults import NetworkFault


class Lost(Exception):
    """The exchange failed. ``note`` says in words what happened; ``answered`` tells that a byte of the answer came,
    ``connected`` that there was a connection, ``in_body`` that the request's body was not wholly sent, ``limit`` the
    bound that the upstream reached.
    """

    def __init__(
        self,
        fault: NetworkFault,
        note: str = "",
        *,
        answered: bool = False,
        connected: bool = True,
        in_body: bool = False,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(note or f"the upstream: {fault.why}")
        self.fault: Final = fault
        self.note: Final = str(self)
        self.answered: Final = answered
        self.connected: Final = connected
        self.in_body: Final = in_body
        self.limit: Final = limit
