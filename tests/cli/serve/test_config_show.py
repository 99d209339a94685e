"""`config show`: the settings in effect, and where each came from."""

from pathlib import Path

from tests.support.command import run

TEXT = """\
upstream: {connect_timeout: 3s}
keys:
  a: {secrets: [env:A]}
routes:
  - {path: /**, keys: [a]}
"""


def settings(folder: Path) -> Path:
    (folder / "policies").mkdir()
    (folder / "policies" / "app.yaml").write_text("caller: app\nauthenticate: {anonymous: true}\nscopes: [tags:read]\n")
    (folder / "gateway.yaml").write_text(TEXT)
    return folder / "gateway.yaml"


async def test_each_setting_says_where_it_came_from(tmp_path: Path) -> None:
    """Each value is shown with its source: a line of the file, a variable or the default."""
    path = settings(tmp_path)
    environ = {"PRODUCTLANE_GATEWAY_LOG_LEVEL": "debug"}
    done = await run("config", "show", "--config", path, "--json", environ=environ)
    text = await run("config", "show", "--config", path, "--origin", environ=environ)

    found = {one["setting"]: (one["value"], one["origin"]) for one in done.json}
    assert ("3s", f"{path}:1") == found["upstream.connect_timeout"]
    assert ("debug", "environment PRODUCTLANE_GATEWAY_LOG_LEVEL") == found["log.level"]
    assert ("60s", "default") == found["upstream.response_timeout"]
    assert ("env:A", f"{path}:3") == found["keys.a.secrets[0]"]
    assert "log.level debug environment PRODUCTLANE_GATEWAY_LOG_LEVEL" in " ".join(text.out.split())


async def test_a_gateway_yaml_here_is_used(tmp_path: Path) -> None:
    """In the folder of the configuration no option is needed."""
    settings(tmp_path)
    done = await run("config", "show", cwd=tmp_path)
    checked = await run("check", cwd=tmp_path, environ={"A": "pl_v2_aaaaaaaaaaaa"})

    assert (0, 0, "") == (done.status, checked.status, checked.err)
    assert "gateway.yaml: no problems" in checked.out


async def test_a_password_in_the_url_of_the_store_is_hidden(tmp_path: Path) -> None:
    """The environment may give the whole URL of a Redis; its password is in no output."""
    environ = {"PRODUCTLANE_GATEWAY_STORE": "rediss://gateway:open%20sesame@redis.test/1"}
    done = await run("config", "show", "--config", settings(tmp_path), "--json", environ=environ)

    assert ["rediss://gateway:***@redis.test/1"] == [one["value"] for one in done.json if one["setting"] == "store"]
    assert "sesame" not in done.out + done.err


async def test_a_sidecar_without_files_has_no_lines(tmp_path: Path) -> None:
    """Where nothing stands in a file, the environment is named, and no line of it."""
    environ = {"PRODUCTLANE_KEY": "pl_v2_0123456789abcdef", "PRODUCTLANE_SCOPES": "threads:read"}
    done = await run("config", "show", "--origin", "--json", cwd=tmp_path, environ=environ)

    assert {"environment", "environment PRODUCTLANE_KEY", "default"} == {one["origin"] for one in done.json}
