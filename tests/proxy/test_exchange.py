"""`gateway.proxy.exchange`: nothing is forwarded without a decision, and forgetting it is an error of types."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT

HEAD = """
from typing import Any
from gateway.core.decision import Permit, decide
from gateway.core.policy import Policy
from gateway.core.rule import Ask
from gateway.keys.keyring import Chosen, Keyring
from gateway.proxy.exchange import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.reply import Reply
from gateway.proxy.request import Request
from gateway.proxy.serving import Serving
from gateway.telemetry.record import Record

async def passes(
    forwarder: Forwarder, asked: Ask, chosen: Chosen, request: Request, reply: Reply, record: Record, serving: Serving,
    policy: Policy, keyring: Keyring,
) -> None:
"""


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("await forwarder.forward(Exchange(decide(asked), chosen, request=request, reply=reply, record=record, "
         "serving=serving, judged_by=serving))", None),
        ("await forwarder.forward(Exchange(chosen, request=request, reply=reply, record=record, serving=serving, "
         "judged_by=serving))",
         "Missing positional argument"),
        ("await forwarder.forward(Exchange(asked, chosen, request=request, reply=reply, record=record, "
         "serving=serving, judged_by=serving))", 'expected "Permit"'),
        ("await forwarder.forward(request)", 'expected "Exchange"'),
        ("await keyring.choose(policy)", 'expected "Permit"'),
    ],
    ids=["decided", "no permit", "an ask is no permit", "a request is no exchange", "a policy is no permit"],
)  # fmt: skip
def test_forgetting_the_decision_is_an_error_of_types(tmp_path: Path, body: str, error: str | None) -> None:
    """Code that sends a request, or takes a key for one, without a permit does not pass the check of types."""
    (tmp_path / "snippet.py").write_text(f"{HEAD}    {body}\n")
    words = ["--strict", "--cache-dir", str(ROOT / ".mypy_cache"), "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words, str(tmp_path / "snippet.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert (0 if error is None else 1) == done.returncode, done.stdout + done.stderr
    assert error is None or error in done.stdout
