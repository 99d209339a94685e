"""A gateway that counts its calls of Python functions and the instructions that they execute, between two signals.

`bench.calls` runs this file, which imports no other of this folder, with the gateway of any version. SIGUSR1 begins a
count; SIGUSR2 ends it and writes it to the file ``COUNTED``, as JSON: by function its calls and its instructions.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from gateway.cli import main

_calls: Counter[CodeType] = Counter()
_instructions: Counter[CodeType] = Counter()


def _instruction(frame: FrameType, event: str, _argument: Any) -> Any:
    if event == "opcode":
        _instructions[frame.f_code] += 1
    return _instruction


def _call(frame: FrameType, event: str, _argument: Any) -> Any:
    if event != "call":
        return None
    _calls[frame.f_code] += 1
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return _instruction


def _begin(*_: object) -> None:
    _calls.clear()
    _instructions.clear()
    sys.settrace(_call)


def _end(*_: object) -> None:
    sys.settrace(None)
    counted = {}
    for code, calls in _calls.items():
        name = f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_name}"
        counted[name] = (calls, _instructions[code])
    written = Path(os.environ["COUNTED"])
    written.with_suffix(".new").write_text(json.dumps(counted))
    written.with_suffix(".new").replace(written)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
    main()
