"""`gateway.config.load`: the files of a configuration, even of a broken one."""

from pathlib import Path

import pytest

from gateway.config.load import ConfigSource, counts

WHOLE = """
tls: {certificate: tls.crt, private_key: /etc/tls.key, client_ca: ca.pem}
upstream: {ca: extra.pem}
keys: {main: {secrets: [env:MAIN, file:one, file:/run/two]}}
routes: [{path: /**, keys: [main]}]
policies: grants
callers: {kubernetes: {issuer: "https://issuer.test", audience: a, jwks: file:jwks.json}}
catalog: [more.yaml]
"""


def names(origin: ConfigSource, folder: Path) -> set[str]:
    """The paths below a folder by their name there, others whole."""
    return {str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path) for path in origin.paths()}


def test_every_file_that_is_named_is_watched(tmp_path: Path) -> None:
    """Nothing that a configuration is read from can change unseen: policies, catalogs, certificates, secrets, keys."""
    (tmp_path / "gateway.yaml").write_text(WHOLE)
    expected = {"gateway.yaml", "grants", "more.yaml", "extra.pem", "one", "/run/two", "tls.crt", "/etc/tls.key"}

    assert expected | {"ca.pem", "jwks.json"} == names(ConfigSource(tmp_path / "gateway.yaml", {}), tmp_path)


def test_a_document_with_mistakes_is_followed_as_far_as_it_goes(tmp_path: Path) -> None:
    """A problem in one file does not hide the other files from the watcher."""
    (tmp_path / "gateway.yaml").write_text(WHOLE.replace("tls:", "tsl:") + 'unknown: ["x"]\nlisten: nowhere\n')

    assert {"gateway.yaml", "grants", "more.yaml", "extra.pem", "one", "/run/two", "jwks.json"} == names(
        ConfigSource(tmp_path / "gateway.yaml", {}), tmp_path
    )


@pytest.mark.parametrize("text", ["", "[", "keys: 5", "- a list"])
def test_a_document_that_cannot_be_read_is_watched_itself(tmp_path: Path, text: str) -> None:
    """An empty or torn file is looked at again when it is whole."""
    (tmp_path / "gateway.yaml").write_text(text)

    assert "gateway.yaml" in names(ConfigSource(tmp_path / "gateway.yaml", {}), tmp_path)
    assert "gateway.yaml" in names(
        ConfigSource(None, {"PRODUCTLANE_GATEWAY_CONFIG": str(tmp_path / "gateway.yaml")}), tmp_path
    )


def test_places_from_flags_and_variables_are_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file is watched that is loaded."""
    (tmp_path / "gateway.yaml").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    origin = ConfigSource(
        tmp_path / "gateway.yaml", {"PRODUCTLANE_GATEWAY_POLICIES": "theirs"}, {"upstream.ca": "ours.pem"}
    )

    assert {Path("theirs"), Path("ours.pem")} <= set(origin.paths())


def test_a_sidecar_without_files_watches_its_key_alone(tmp_path: Path) -> None:
    """A sidecar's only file is that of its key."""
    file = {"PRODUCTLANE_KEY": f"file:{tmp_path}/key", "PRODUCTLANE_SCOPES": "threads:read"}

    assert [tmp_path / "key"] == ConfigSource(None, file).paths()
    assert [] == ConfigSource(None, file | {"PRODUCTLANE_KEY": "pl_v2_whatever"}).paths()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.yaml", True),
        ("a.yml", True),
        ("a.json", True),
        ("a.cases.yaml", False),
        ("a.txt", False),
        (".a.yaml", False),
    ],
)
def test_only_what_is_read_in_a_folder_counts(name: str, part: bool) -> None:
    """Cases and notes beside the policies cause no reload; misnamed files that are reported do."""
    assert part == counts(name)


def test_an_origin_shows_no_environment(tmp_path: Path) -> None:
    """The environment, which contains keys, is never shown."""
    assert "pl_v2" not in repr(ConfigSource(tmp_path, {"PRODUCTLANE_KEY": "pl_v2_whatever"}))
