"""Where secrets are, and the rules that their files have to keep."""

import os
from pathlib import Path

import pytest

from gateway.config.secret_source import MissingSecret, is_mounted_alone, is_secret_mount, located, read_secret
from gateway.core.secret import BadSecret, Secret

KEY = "pl_v2_abcdefghijklmnop"


def written(path: Path, data: str | bytes = KEY, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)
    return path


def read(path: Path) -> Secret:
    return read_secret(f"file:{path}", {})


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_end_is_no_part_of_the_secret(tmp_path: Path, end: str) -> None:
    """Editors and `echo` end a file with a line break; that is not held against it."""
    assert Secret(KEY) == read(written(tmp_path / "key", KEY + end))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        (KEY + "\n\n", "is not a v2 key"),
        (" " + KEY, "is not a v2 key"),
        (KEY + " ", "is not a v2 key"),
        (KEY[:12] + "\n" + KEY[12:], "is not a v2 key"),
        (KEY + "\x00", "is not a v2 key"),
        (b"\xff\xfe" + KEY.encode("utf-16-le"), "is not a v2 key"),
        ("sk_live_abcdefghijklmnop", "is not a v2 key"),
        ("pl_v1_abcdefghijklmnop", r"is a v1 key .*create a v2 key"),
        (KEY + "x" * 5000, "is not a v2 key"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, data: str | bytes, why: str) -> None:
    """The message says what to do and shows nothing of the file."""
    with pytest.raises(BadSecret, match=why) as caught:
        read(written(tmp_path / "key", data))

    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o444])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """A key file that others can read or replace is refused; the message gives the command that helps."""
    with pytest.raises(BadSecret, match=rf"can be read by others \(mode {mode:04o}\); run `chmod 600`"):
        read(written(tmp_path / "key", mode=mode))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    """Read-only or not, the owner's file is good."""
    assert Secret(KEY) == read(written(tmp_path / "key", mode=mode))


def kubernetes_volume(folder: Path, data: str = KEY) -> Path:
    """A Secret volume as the kubelet writes it: a link to a file below a link to a dated folder, readable for all."""
    written(folder / "..2026_11_24" / "key", data, 0o644)
    (folder / "..data").symlink_to("..2026_11_24")
    (folder / "key").symlink_to("..data/key")
    return folder / "key"


def test_a_kubernetes_secret_is_read_through_its_links(tmp_path: Path) -> None:
    """A file in a Secret volume is accepted, although it is readable for all and behind two links."""
    assert Secret(KEY) == read(kubernetes_volume(tmp_path / "secret"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A link out of the folder is refused, because it could expose another file."""
    written(tmp_path / "elsewhere" / "key")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "key").symlink_to("../elsewhere/key")

    with pytest.raises(BadSecret, match="symlink that leads out of its folder"):
        read(tmp_path / "here" / "key")


def test_a_link_out_of_a_kubernetes_volume_is_refused(tmp_path: Path) -> None:
    """The ``..data`` scheme opens no way out of the volume."""
    written(tmp_path / "elsewhere" / "other", mode=0o644)
    file = kubernetes_volume(tmp_path / "secret")
    (file.parent / "other").symlink_to(tmp_path / "elsewhere" / "other")

    with pytest.raises(BadSecret, match="symlink that leads out of its folder"):
        read(file.parent / "other")


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """Links above the file's folder are allowed: ``/var/run`` is one on most systems."""
    written(tmp_path / "real" / "key")
    (tmp_path / "link").symlink_to("real")

    assert Secret(KEY) == read(tmp_path / "link" / "key")


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """A folder or a pipe is refused at once; a pipe does not block the start."""
    os.mkfifo(tmp_path / "pipe", 0o600)

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BadSecret, match="is not a file"):
            read(path)


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    """A missing file or variable is another problem than a wrong one, since it may come later."""
    with pytest.raises(MissingSecret, match=r"the file .*/none does not exist"):
        read(tmp_path / "none")
    with pytest.raises(MissingSecret, match="the variable NONE is not set"):
        read_secret("env:NONE", {})


def test_a_path_below_a_file_is_a_problem_and_not_missing(tmp_path: Path) -> None:
    """A source that can never become valid is refused at once."""
    with pytest.raises(BadSecret, match="cannot be read: Not a directory"):
        read(written(tmp_path / "key") / "below")


def test_a_variable_holds_the_secret_itself() -> None:
    """``env:NAME`` is the value of NAME, whole: no line end is taken off it."""
    assert Secret(KEY) == read_secret("env:KEY", {"KEY": KEY})
    with pytest.raises(BadSecret, match="is not a v2 key"):
        read_secret("env:KEY", {"KEY": KEY + "\n"})


def mounted(kind: str, point: Path) -> str:
    name = str(point).replace(" ", "\\040")
    return f"36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 0:47 / {name} rw,relatime shared:1 - {kind} {kind} rw\n"


def test_a_tmpfs_mount_of_the_file_or_its_folder_is_a_secret_mount(tmp_path: Path) -> None:
    """Docker's secrets and Kubernetes' ``subPath`` mounts are known by the mount, spaces in the path included."""
    file = written(tmp_path / "a folder" / "key", mode=0o444)
    file.parent.chmod(0o755)

    assert is_secret_mount(file, mounted("tmpfs", file))
    assert is_secret_mount(file, mounted("tmpfs", file.parent))
    assert not is_secret_mount(file, mounted("ext4", file))
    assert not is_secret_mount(file, mounted("tmpfs", tmp_path))
    assert not is_secret_mount(file, "")


def test_a_tmpfs_that_everybody_writes_to_is_not_a_secret_mount(tmp_path: Path) -> None:
    """``/tmp`` is a tmpfs on many machines, and shared by all who are on them."""
    file = written(tmp_path / "tmp" / "key", mode=0o444)
    file.parent.chmod(0o1777)

    assert not is_secret_mount(file, mounted("tmpfs", file.parent))


def test_a_file_that_is_mounted_alone(tmp_path: Path) -> None:
    """A file that is a mount point is told apart from one in a mounted folder; a variable is never mounted."""
    file = written(tmp_path / "a folder" / "key")

    assert is_mounted_alone(f"file:{file}", mounted("ext4", file))
    assert is_mounted_alone(f"file:{file}", mounted("tmpfs", file))
    assert not is_mounted_alone(f"file:{file}", mounted("tmpfs", file.parent))
    assert not is_mounted_alone("env:KEY", mounted("tmpfs", file))


def test_relative_sources_are_from_the_folder_given() -> None:
    """A path is taken from the folder; an absolute one and a variable stay as they are."""
    base = Path("/etc/gateway")

    assert "file:/etc/gateway/key" == located("file:key", base)
    assert "file:/run/key" == located("file:/run/key", base)
    assert "env:KEY" == located("env:KEY", base)
