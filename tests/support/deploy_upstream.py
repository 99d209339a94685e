"""A simulated Productlane for what runs in other processes."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.support.deploy_tools import ROOT, eventually
from tests.support.ports import free_ports

KEY = "pl_v2_key-of-the-deploy-tests"
NEXT_KEY = "pl_v2_key-that-comes-after-it"
SCOPES = "threads:read,threads:write,companies:read,contacts:read"


@contextlib.contextmanager
def productlane() -> Iterator[str]:
    """The URL of a simulator in its own process, with the keys `KEY` and `NEXT_KEY`."""
    port, control = free_ports(2)
    command = [sys.executable, "-m", "gateway", "simulate", "--port", str(port), "--control-port", str(control)]
    command += [f"--key={key}={SCOPES}" for key in (KEY, NEXT_KEY)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/api/v2"
        eventually(20, lambda: ask(f"{url}/me", KEY)[0] == 200)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def ask(url: str, token: str | None = None, method: str = "GET") -> tuple[int, Any]:
    """Status and body of an answer; 0 if the server does not answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, _body(answer.read())
    except urllib.error.HTTPError as answer:
        return answer.code, _body(answer.read())
    except (urllib.error.URLError, ConnectionError):
        return 0, None


def _body(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
