"""The commands. Each module holds those that belong together and imports what they need when they run.

Only here may the simulator come in, for ``demo`` and ``simulate``. Nothing of the serving path imports this room.
"""

import gc


def main() -> None:
    """Run the command line of this process; exits with the command's status."""
    # What the modules make stays as long as the process: looking through it for garbage costs 4 ms.
    gc.disable()
    from gateway.cli import program

    gc.enable()
    program.main()
