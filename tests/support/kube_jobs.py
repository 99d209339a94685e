"""A kubelet and a Job controller for the stand-in API server: a Job runs and gets a status.

The gateway of this source runs with the container's arguments, as a process of this machine. ConfigMaps and Secrets are
files in a folder, whose paths replace those of the mounts in the environment and in the files.
"""

import base64
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.deploy_tools import ROOT
from tests.support.kube_api import Failure, KubeAPI
from tests.support.kubelet import lay_out


def run_job(api: KubeAPI, job: dict[str, Any]) -> None:
    """Run a Job's container to its end, and write its pod and its status. Other objects stay as they are."""
    if job["kind"] != "Job":
        return
    metadata, pod = job["metadata"], job["spec"]["template"]["spec"]
    name = f"{metadata['name']}-{secrets.token_hex(3)}"
    try:
        done = _container(api, metadata["namespace"], pod, api.folder / name, job["spec"]["activeDeadlineSeconds"])
        status, output = done.returncode, done.stdout
    except (Failure, subprocess.TimeoutExpired) as error:
        status, output = 1, f"the container did not run: {error!r}\n"
    ended = {"exitCode": status, "message": output[-2048:] if status else ""}
    labels = job["spec"]["template"]["metadata"].get("labels", {}) | {"job-name": metadata["name"]}
    containers = [{"name": pod["containers"][0]["name"], "state": {"terminated": ended}}]
    phase = {"phase": "Failed" if status else "Succeeded", "containerStatuses": containers}
    api.logs[metadata["namespace"], "pods", name] = output
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": pod,
        "status": phase,
    }
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }
    with api.changed:
        if ("jobs", metadata["name"]) not in {key[1:] for key in api.objects}:
            return
        api.put("pods", made, metadata["namespace"])
        job = api.get("jobs", metadata["name"], metadata["namespace"])
        job["status"] = (
            {"failed": 1, "conditions": [failed]}
            if status
            else {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
        )
        api.put("jobs", job, metadata["namespace"])


def _container(
    api: KubeAPI, namespace: str, pod: dict[str, Any], folder: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    (container,) = pod["containers"]
    environ = lay_out(pod, container, folder, lambda volume: _files(api, namespace, volume))
    return subprocess.run(
        [sys.executable, "-m", "gateway", *container["args"]], cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=min(seconds, 60),
    )  # fmt: skip


def _files(api: KubeAPI, namespace: str, volume: dict[str, Any]) -> dict[str, str]:
    if "projected" in volume:
        sources = (_files(api, namespace, source) for source in volume["projected"]["sources"])
        return {name: text for files in sources for name, text in files.items()}
    if "configMap" in volume:
        data: dict[str, str] = api.get("configmaps", volume["configMap"]["name"], namespace)["data"]
        return data
    encoded = api.get("secrets", volume["secret"]["secretName"], namespace)["data"]
    return {name: base64.b64decode(value).decode() for name, value in encoded.items()}
