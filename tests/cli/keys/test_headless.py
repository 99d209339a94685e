"""`keys` over a headless Service: one name whose A records are the replicas, as cluster DNS answers for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, environment
from tests.support.sentinels import KEY

NAME = "gateway-headless"
# Two gateways and, among the addresses, a third that is not there: a pod that has just gone.
SCRIPT = """
for at in 127.0.0.2 127.0.0.3; do
  {gateway} serve --listen $at:8080 --admin $at:9090 --upstream http://127.0.0.1:1 > $at.log 2>&1 &
  until {gateway} health --admin $at:9090 > health.log 2>&1; do sleep 0.1; done
done
{gateway} keys --admin http://gateway-headless:9090 --json > keys.json
echo $? > status
"""


def keys_of(folder: Path, *addresses: str) -> tuple[int, dict[str, Any]]:
    """What `keys` says where the name has these addresses: its exit status and its JSON."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    (folder / "walk.sh").write_text(SCRIPT.format(gateway=f"{sys.executable} -m gateway"))
    name_server = [sys.executable, "-m", "tests.support.name_server", NAME, *addresses, "--", "sh", "walk.sh"]
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"),
            *("sh", "-c", 'mount --bind "$PWD/resolv.conf" /etc/resolv.conf && exec "$@"', "sh", *name_server),
        ],
        cwd=folder,
        env=environment({"PRODUCTLANE_KEY": KEY, "PRODUCTLANE_SCOPES": "threads:read", "PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if "unshare failed" in done.stderr or "mount: " in done.stderr:
        pytest.skip("this machine lets nobody make namespaces")
    assert 0 == done.returncode, done.stderr
    return int((folder / "status").read_text()), json.loads((folder / "keys.json").read_text())


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_every_address_of_the_name_is_a_replica(tmp_path: Path) -> None:
    """All that the name resolves to is asked and counted, without --replicas; the answers name each."""
    _, found = keys_of(tmp_path, "127.0.0.2", "127.0.0.3")

    assert ["127.0.0.2:9090", "127.0.0.3:9090"] == sorted(found["replicas"])
    assert (2, []) == (found["expected"], found["silent"])


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_an_address_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A replica that cannot be asked is a fault with exit status 1, so nothing is called safe to revoke."""
    status, found = keys_of(tmp_path, "127.0.0.2", "127.0.0.3", "127.0.0.4")

    assert (1, 3) == (status, found["expected"])
    assert [{"replica": "127.0.0.4:9090", "fault": "Connection refused"}] == found["silent"]
    assert "127.0.0.4:9090 did not answer: Connection refused." in str(found["faults"])
