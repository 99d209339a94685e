"""`gateway.cli.doctor.files`: each finding about a file, provoked."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.cli.doctor import files
from gateway.cli.doctor.finding import Id
from tests.support.certs import Authority
from tests.support.doctored import bad, loaded
from tests.support.sentinels import KEY
from tests.support.users import as_nobody, folder_of_nobody


def test_a_file_that_is_well(tmp_path: Path) -> None:
    """Nothing is wrong with a secret that only its owner reads, and its age is shown."""
    found = list(files.files(loaded(tmp_path), ""))

    assert [] == bad(found)
    assert [f"{tmp_path}/main.key is readable; it changed 0 h ago"] == [one.what for one in found]


def test_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    """A secret that is not there may still come; one that is empty is a mistake."""
    snapshot = loaded(tmp_path)
    secret = tmp_path / "main.key"
    secret.write_text("")
    empty = bad(files.files(snapshot, ""))
    secret.unlink()

    assert [(Id.FILE_EMPTY, f"{secret} is empty")] == empty
    assert [(Id.FILE_MISSING, f"{secret} does not exist")] == bad(files.files(snapshot, ""))


def test_a_file_that_another_user_keeps() -> None:
    """A Secret that is mounted without fsGroup cannot be read, and one in a closed folder not even be looked at."""
    with folder_of_nobody() as folder:
        snapshot = loaded(folder)
        secret = folder / "main.key"
        secret.chmod(0)
        with as_nobody():
            unreadable = bad(files.files(snapshot, ""))
        folder.chmod(0)
        with as_nobody():
            closed = bad(files.files(snapshot, ""))
        folder.chmod(0o700)

    assert [Id.FILE_UNREADABLE] == [name for name, _ in unreadable]
    assert f"{secret} cannot be read by user " in unreadable[0][1]
    assert [Id.FILE_FOLDER_CLOSED] == [name for name, _ in closed]


def test_a_file_that_anybody_can_read(tmp_path: Path) -> None:
    """A key that every process of the machine can read is shown."""
    snapshot = loaded(tmp_path)
    (tmp_path / "main.key").chmod(0o644)

    assert [(Id.FILE_OPEN_TO_ALL, f"{tmp_path}/main.key can be read by every user")] == bad(files.files(snapshot, ""))


def test_a_file_that_is_mounted_alone(tmp_path: Path) -> None:
    """A subPath mount is a mount of the file itself, and no rotation ever reaches it."""
    snapshot = loaded(tmp_path)
    mounts = f"36 35 98:0 /k {tmp_path}/main.key ro,relatime - tmpfs tmpfs ro\n"

    assert [Id.FILE_MOUNTED_ALONE] == [name for name, _ in bad(files.files(snapshot, mounts))]
    assert [] == bad(files.files(snapshot, mounts.replace("main.key", "")))
    assert "/proc" in files.mounts()


def test_every_file_of_the_configuration_is_looked_at(tmp_path: Path) -> None:
    """Secrets of the status page, Redis and TLS are looked at like keys, and certificates beside them."""
    made, key = Authority().issue(dns=("gateway",)).write(tmp_path / "tls", "own")
    ca = Authority().write(tmp_path / "ca.crt")
    snapshot = loaded(
        tmp_path,
        tls={"certificate": str(made), "private_key": str(key)},
        status_token=f"file:{tmp_path}/status",
        upstream={"url": "http://127.0.0.1:1", "ca": str(ca)},
        store="rediss://127.0.0.1:1/0",
        redis={"password": f"file:{tmp_path}/redis", "ca": str(ca)},
    )

    assert [tmp_path / "main.key", tmp_path / "status", tmp_path / "redis", key] == files.secrets(snapshot)
    assert [made, ca] == files.certificates(snapshot)


@pytest.mark.parametrize(
    ("lasts", "expected"),
    [(-60, [Id.CERTIFICATE_ENDED]), (13 * 86_400, [Id.CERTIFICATE_ENDS_SOON]), (30 * 86_400, [])],
    ids=["over", "soon", "good"],
)
def test_the_end_of_a_certificate(tmp_path: Path, lasts: float, expected: list[Id]) -> None:
    """A certificate that expires soon is reported."""
    start = datetime.now(UTC) - timedelta(days=1)
    made, key = Authority().issue(dns=("gateway",), start=start, lasts=86_400 + lasts).write(tmp_path / "tls", "own")
    snapshot = loaded(tmp_path, tls={"certificate": str(made), "private_key": str(key)})

    assert expected == [name for name, _ in bad(files.ends(snapshot, time.time()))]
    made.write_text("no certificate")
    assert [Id.CERTIFICATE_UNREADABLE] == [name for name, _ in bad(files.ends(snapshot, time.time()))]
    made.unlink()
    assert [] == list(files.ends(snapshot, time.time()))
    assert (Id.FILE_MISSING, f"{made} does not exist") in bad(files.files(snapshot, ""))


def test_a_chain_ends_with_its_first_and_authorities_with_their_last(tmp_path: Path) -> None:
    """An expired authority beside its successor is not a fault; an expired intermediate in a chain is."""
    start = datetime.now(UTC) - timedelta(days=1)
    old = Authority().issue(dns=("gateway",), start=start, lasts=60)
    new = Authority().issue(dns=("gateway",), start=start, lasts=90 * 86_400)
    both, key = new.write(tmp_path / "tls", "both")
    both.write_bytes(new.pem + old.pem)
    chain = loaded(tmp_path, tls={"certificate": str(both), "private_key": str(key)})
    authorities = loaded(tmp_path, upstream={"url": "http://127.0.0.1:1", "ca": str(both)})

    assert [Id.CERTIFICATE_ENDED] == [name for name, _ in bad(files.ends(chain, time.time()))]
    assert [] == bad(files.ends(authorities, time.time()))
    assert KEY not in str(chain)
