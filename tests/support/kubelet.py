"""Changes a manifest for podman's `play kube`, which lacks some functions of a kubelet, or for a plain process.

- Secrets and ConfigMaps are mounted as the kubelet writes them: files of the `fsGroup` behind a ``..data`` symlink.
  Podman's are volumes without that, shared by name between pods, and the gateway takes no key from them.
- A native sidecar runs beside the app: podman would wait for the end of an init container.
- Probes go: podman turns them into `curl` in the container, and this image has none. The tests ask the same paths.
- ``hostNetwork``, so that loopback is that of the simulator, where `http://` is allowed; then podman takes no ports.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.support.deploy_tools import Manifest

GROUP = 65532


def write_volume(folder: Path, files: Mapping[str, str], mode: int = 0o440) -> None:
    """Files as in the kubelet's atomic writer: a folder of this version, ``..data`` to it, a symlink for each file.

    Called again, it swaps ``..data``.
    """
    version = folder / f"..{secrets.token_hex(8)}"
    version.mkdir(parents=True)
    for name, text in files.items():
        (version / name).write_text(text)
        os.chown(version / name, -1, GROUP)
        (version / name).chmod(mode)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    new = folder / "..data_tmp"
    new.symlink_to(version.name)
    new.rename(folder / "..data")


def lay_out(
    pod: Manifest, container: Manifest, folder: Path, files: Callable[[Manifest], Mapping[str, str]]
) -> dict[str, str]:
    """A container's volumes as folders below ``folder``, for a process of this machine; returns its environment.

    ``files`` are those of a volume, by name. In them and in the environment, the paths of the mounts become those of
    the folders.
    """
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    # The longest first: one path may begin as another does.
    paths = sorted(mounts.values(), key=len, reverse=True)

    def placed(text: str) -> str:
        for path in paths:
            text = text.replace(f"{path}/", f"{folder}{path}/").replace(f": {path}\n", f": {folder}{path}\n")
        return text

    for volume in pod["volumes"]:
        made = {name: placed(text) for name, text in files(volume).items()}
        write_volume(Path(f"{folder}{mounts[volume['name']]}"), made, 0o440 if "secret" in volume else 0o644)
    return {one["name"]: placed(one["value"]) for one in container["env"]}


def playable(pod: Manifest, image: str, name: str, volumes: Mapping[str, Path]) -> Manifest:
    """A pod for podman. ``volumes`` are folders for the volumes of these names."""
    spec: dict[str, Any] = deepcopy(pod)
    spec["hostNetwork"] = True
    spec["containers"] = spec.pop("initContainers", []) + spec["containers"]
    for container in spec["containers"]:
        for field in ("startupProbe", "readinessProbe", "livenessProbe", "restartPolicy", "ports"):
            container.pop(field, None)
        container |= {"image": image, "imagePullPolicy": "Never"}
    for volume in spec["volumes"]:
        if volume["name"] in volumes:
            path = {"path": str(volumes[volume["name"]]), "type": "Directory"}
            volume |= {"hostPath": path}
            for kind in ("secret", "configMap", "projected", "emptyDir"):
                volume.pop(kind, None)
    spec["restartPolicy"] = "Never"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
