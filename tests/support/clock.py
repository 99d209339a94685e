"""A clock that a test moves."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Gives seconds, which pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now
