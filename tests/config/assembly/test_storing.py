"""`store` and `redis` of ``gateway.yaml``, and the values they become."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.load import load
from gateway.config.reading.problem import ConfigError
from gateway.config.secret_source import MissingSecret
from gateway.config.store import Password, Redis, Store
from gateway.core.secret import BadSecret

REST = "keys: {main: {secrets: [env:MAIN]}}\nroutes: [{path: /**, keys: [main]}]\n"
POLICY = f"caller: app\nauthenticate: {{tokens: [sha256:{'0' * 64}]}}\n"
MAIN = {"MAIN": "pl_v2_mainmainmain"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "app.yaml").write_text(POLICY)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


def store(folder: Path, text: str = "", flags: Any = None, **environ: str) -> Store:
    (folder / "gateway.yaml").write_text(text + "\n" + REST)
    return load(folder / "gateway.yaml", environ=MAIN | environ, flags=flags).store


def problems(folder: Path, *arguments: Any, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        store(folder, *arguments, **environ)
    return [str(problem).removeprefix(f"{folder}/gateway.yaml:") for problem in caught.value.problems]


def test_without_a_word_everything_stays_in_this_process(folder: Path) -> None:
    """Nothing is written or connected to unless somebody asks for it."""
    assert None is store(folder)
    assert None is store(folder, "store: memory")


def test_a_file_is_relative_to_the_configuration(folder: Path) -> None:
    """A relative path starts at the folder of ``gateway.yaml``; in a variable, at the working directory."""
    assert folder / "run/identity.db" == store(folder, "store: sqlite:run/identity.db")
    assert Path("/var/lib/gateway/identity.db") == store(folder, "store: sqlite:/var/lib/gateway/identity.db")
    assert Path("run/identity.db") == store(folder, PRODUCTLANE_GATEWAY_STORE="sqlite:run/identity.db")


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("redis://redis", Redis("redis"), "redis://redis:6379/0"),
        ("redis://redis.cache.svc:6380/3", Redis("redis.cache.svc", 6380, 3), "redis://redis.cache.svc:6380/3"),
        ("rediss://gateway@10.0.0.1/", Redis("10.0.0.1", tls=True, user="gateway"), "rediss://10.0.0.1:6379/0"),
        ("redis://[fd00::1]:1/15", Redis("fd00::1", 1, 15), "redis://[fd00::1]:1/15"),
        ("redis://a%40b@r", Redis("r", user="a@b"), "redis://r:6379/0"),
    ],
)
def test_a_url_says_where_redis_is(folder: Path, url: str, expected: Redis, shown: str) -> None:
    """Host, port, database, user and TLS come from the URL; its displayed form has no user and no password."""
    found = store(folder, f"store: {url}")

    assert expected == found
    assert shown == str(found)


@pytest.mark.parametrize(
    "url",
    [
        "redis:///0",
        "redis://host:0/0",
        "redis://host:65536",
        "redis://host/zero",
        "redis://host/0/1",
        "redis://host?ssl=1",
        "redis://host#0",
        "redis://a b",
        "redis://[::1",
        "redis://user@",
        "redis://-host",
    ],
)
def test_a_url_that_cannot_be_read_is_a_problem(folder: Path, url: str) -> None:
    """An invalid URL of a Redis is refused without repeating it, because it may contain a password."""
    assert ["1: store: expected a URL such as rediss://user@host:6379/0"] == problems(folder, f"store: '{url}'")


def test_a_password_comes_from_the_environment_or_a_file(folder: Path) -> None:
    """The password is never in ``gateway.yaml``: it has a source like a key, or the whole URL is a variable."""
    file = folder / "redis.password"
    file.touch(0o600)
    file.write_text("open sesame\n")
    text = "store: redis://gateway@r\nredis: {password: file:redis.password}"
    found = [
        store(folder, PRODUCTLANE_GATEWAY_STORE="redis://gateway:open%20sesame@r"),
        store(folder, "store: redis://gateway@r\nredis: {password: env:PW}", PW="open sesame"),
        store(folder, text),
        store(folder, "store: redis://gateway@r", PRODUCTLANE_GATEWAY_REDIS_PASSWORD=f"file:{file}"),
    ]

    assert ["open sesame"] * 4 == [one.password.read() for one in found if isinstance(one, Redis) and one.password]
    assert [] == [one for one in found if "sesame" in f"{one} {one!r}"]


def test_a_password_is_read_anew(folder: Path) -> None:
    """One that was changed in its file is used by the next connection."""
    file = folder / "redis.password"
    file.touch(0o600)
    file.write_text("old")
    password = Password(f"file:{file}")
    old = password.read()
    file.write_text("new")
    new = password.read()
    file.chmod(0o644)
    with pytest.raises(BadSecret):
        password.read()
    file.unlink()
    with pytest.raises(MissingSecret):
        password.read()

    assert ("old", "new") == (old, new)


def test_a_password_on_the_command_line_or_twice_is_a_problem(folder: Path) -> None:
    """A password on the command line, where every user reads it, and a second password are refused."""
    by_flag = problems(folder, "", {"store": "redis://:sesame@r"})
    twice = problems(
        folder, "redis: {password: env:PW}", PW="one", PRODUCTLANE_GATEWAY_STORE="redis://gateway:sesame@r"
    )

    assert "a password may not stand here" in by_flag[0]
    assert ["1: redis.password: is one password too many: the URL of `store` holds one"] == twice
    assert "sesame" not in f"{by_flag} {twice}"


def test_what_redis_needs_may_wait_for_a_redis(folder: Path) -> None:
    """A variable or flag may replace the file's store, whose `redis` section is then ignored."""
    text = "store: rediss://r\nredis: {ca: ca.pem}"

    assert None is store(folder, text, PRODUCTLANE_GATEWAY_STORE="memory")
    assert ["1: redis: is for a `store` at redis:// or rediss://"] == problems(folder, "redis: {ca: ca.pem}")


def test_variables_of_a_service_in_the_cluster_are_passed_over(folder: Path) -> None:
    """Variables that the kubelet sets for a Service named productlane-gateway-redis are not misspelt settings."""
    service = {
        "PRODUCTLANE_GATEWAY_REDIS_SERVICE_HOST": "10.0.0.1",
        "PRODUCTLANE_GATEWAY_REDIS_SERVICE_PORT": "6379",
        "PRODUCTLANE_GATEWAY_REDIS_PORT": "tcp://10.0.0.1:6379",
        "PRODUCTLANE_GATEWAY_REDIS_PORT_6379_TCP_ADDR": "10.0.0.1",
    }

    assert None is store(folder, **service)


async def test_a_connection_has_bounds_and_verifies() -> None:
    """No connection is waited for without end; with TLS, 1.2 is the least and the CA of the settings is trusted."""
    plain = Redis("r").connection_options(0.05)
    tls = Redis("r", tls=True, ca=Path("ca.pem"), user="u", password=Password("", "pw")).connection_options()

    assert (0.05, 0.05) == (plain["socket_timeout"], plain["socket_connect_timeout"])
    assert "credential_provider" not in plain
    assert (ssl.TLSVersion.TLSv1_2, "ca.pem") == (tls["ssl_min_version"], tls["ssl_ca_certs"])
    assert ("u", "pw") == await tls["credential_provider"].get_credentials_async()
    default = Redis("r", password=Password("", "pw")).connection_options()

    assert ("pw",) == default["credential_provider"].get_credentials()
