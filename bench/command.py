"""The command line of a script here: ``--name VALUE`` for each setting, explained by the script's docstring."""

import argparse
from typing import Any


def options(about: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with an option for each default, of its type; False makes a switch."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        if default is False:
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser
