"""The commands. Each module holds those that belong together and imports what they need when they run.

Only here may the simulator come in, for ``demo`` and ``simulate``. Nothing of the serving path imports this room.
"""

from gateway.cli.program import main

__all__ = ["main"]
