"""Two replicas of the rendered chart at addresses of their own, and what `productlane-gateway keys` sees of them.

`replicas` runs this module as a program in a network and mount namespace of its own, joined by a virtual cable to a
second one. There each replica serves what the chart rendered, in front of a simulator on its own loopback, and
``/etc/hosts`` gives the name of the headless Service both addresses. It needs root on Linux, ``unshare``, ``nsenter``
and ``ip``.
"""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.deploy_tools import ROOT, Manifest, eventually, only, pod_specs
from tests.support.kubelet import lay_out

KEY: Final = "pl_v2_key-of-the-replicas-0123"
TOKEN: Final = "status-token-of-the-replicas"
UPSTREAM: Final = "http://127.0.0.1:8000/api/v2"
ADDRESSES: Final = ("10.77.0.1", "10.77.0.2")
_ENTER: Final = 'ip link set lo up && mount --bind "$0" /etc/hosts && exec "$@"'
_BASE: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def replicas(objects: list[Manifest], headless: str, folder: Path) -> dict[str, Any]:
    """Exit status and output of `keys`, by what was asked. Raises `RuntimeError` if no namespace can be made."""
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {headless}\n" for address in ADDRESSES))
    spec = pod_specs([only(objects, "Deployment")])[0]
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    (folder / "pod.json").write_text(json.dumps({"spec": spec, "maps": maps}))
    command = [
        "unshare",
        "--net",
        "--mount",
        "sh",
        "-c",
        _ENTER,
        str(hosts),
        sys.executable,
        "-m",
        __name__,
        str(folder),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=_BASE, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@contextlib.contextmanager
def _running(*command: str, environ: Mapping[str, str] = _BASE) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, cwd=ROOT, env={**_BASE, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def _ip(*words: str, inside: int | None = None) -> None:
    enter = ["nsenter", "--net", f"--target={inside}"] if inside else []
    subprocess.run([*enter, "ip", *words], check=True, timeout=10)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _cable(other: int) -> None:
    """Join this network namespace to the one of another process."""
    _ip("link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(other))
    for device, address, inside in (("v0", ADDRESSES[0], None), ("v1", ADDRESSES[1], other)):
        _ip("address", "add", f"{address}/24", "dev", device, inside=inside)
        _ip("link", "set", device, "up", inside=inside)
        _ip("link", "set", "lo", "up", inside=inside)


def _keys(environ: Mapping[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "keys", *words],
        cwd=ROOT, env={**_BASE, **environ}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return {"exit": done.returncode, "said": done.stdout + done.stderr}


def main(folder: Path) -> dict[str, Any]:
    """Start both replicas and ask."""
    given = json.loads((folder / "pod.json").read_text())
    spec = given["spec"]
    (container,) = spec["containers"]
    secrets = {"key-main": {"current": KEY}, "status-token": {"token": TOKEN}}

    def files(volume: Manifest) -> dict[str, str]:
        found: dict[str, str] = secrets.get(volume["name"]) or given["maps"][volume["configMap"]["name"]]
        return found

    environ = lay_out(spec, container, folder / "pod", files)
    admin = {port["name"]: port["containerPort"] for port in container["ports"]}["metrics"]
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(_running("unshare", "--net", "sleep", "300"))
        own = Path("/proc/self/ns/net").readlink()
        eventually(10, lambda: own != Path(f"/proc/{other.pid}/ns/net").readlink())
        _cable(other.pid)
        python = [sys.executable, "-m", "gateway"]
        simulator = [*python, "simulate", "--port=8000", "--control-port=8001", f"--key={KEY}=companies:read"]
        for enter in ([], ["nsenter", "--net", f"--target={other.pid}"]):
            stack.enter_context(_running(*enter, *simulator))
            last = stack.enter_context(_running(*enter, *python, *container["args"], environ=environ))
        for address in ADDRESSES:
            eventually(30, lambda: _status(f"http://{address}:{admin}/readyz") == 200)  # noqa: B023 - called at once
        seen: dict[str, Any] = {"outside": _status(f"http://{ADDRESSES[1]}:{admin}/status.json")}
        everywhere = "--unused-for=1s"
        # Each replica shows its secret to the simulator first.
        eventually(30, lambda: _keys(environ, everywhere)["exit"] == 0)
        seen |= {"all": _keys(environ, everywhere)}
        without = {name: value for name, value in environ.items() if not name.endswith("STATUS_TOKEN")}
        seen |= {"without token": _keys(without, everywhere)}
        # What `kubectl port-forward` is to one pod: its loopback.
        near = {name: value for name, value in without.items() if "KEYS" not in name and "REPLICAS" not in name}
        seen |= {"port-forward": _keys(near, f"--admin=http://127.0.0.1:{admin}", "--replicas=1")}
        last.kill()
        last.wait(10)
        seen |= {"one gone": _keys(environ, everywhere)}
    return seen


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
