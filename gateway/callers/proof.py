"""What does not prove a caller, and why."""

from typing import Final


class Unproven(Exception):
    """A credential of one kind proves nobody. The text says why, and repeats nothing that the credential holds.

    ``expired`` tells that it was good, so that a new one will do.
    """

    def __init__(self, why: str, *, expired: bool = False) -> None:
        super().__init__(why)
        self.expired: Final = expired
