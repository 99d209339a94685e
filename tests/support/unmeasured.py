"""The environment of a process in which coverage must not run: it would import, print and write by itself."""

import os


def unmeasured() -> dict[str, str]:
    """The variables of this process without those by which coverage starts in others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
