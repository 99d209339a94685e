"""Runs a check under atheris, with the command line of libFuzzer (`-runs=`, `-seed=`, `-max_len=`, a corpus folder)."""

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def run(check: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Fuzz from the seeds until the command line's bounds are met or the check raises. Ends the process.

    What broke a promise is written into the folder that is printed, as the seeds are.
    """
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris = importlib.import_module("atheris")  # A tool for use by hand, in no list of requirements.
    atheris.enabled_hooks.add("RegEx")
    atheris.instrument_all()
    atheris.Setup([*sys.argv, f"-artifact_prefix={folder}/", str(folder)], check)
    atheris.Fuzz()
