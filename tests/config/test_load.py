"""One snapshot from files, environment and flags."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import fields

from gateway.callers.callers import Callers
from gateway.config.assembly.snapshot import Key, Slot, Snapshot
from gateway.config.load import load
from gateway.config.reading.problem import ConfigError
from gateway.config.reading.section import Record, Section
from gateway.config.schema.gateway import Body, Gateway, Identity, Limits, Pacing
from gateway.config.schema.upstream import Upstream
from gateway.core.catalog import Lane
from gateway.core.routing import Route
from gateway.core.secret import Secret
from gateway.net.listen_address import Address
from tests.support.certs import write_listener

CONFIGS = Path(__file__).parents[1] / "support" / "configs"
SUPPORT, BILLING = "pl_v2_supportsupport", "pl_v2_billingbilling"
ENVIRON = {"SUPPORT": SUPPORT, "BILLING": BILLING, "REDIS": "open-sesame"}
SIDECAR = {"PRODUCTLANE_KEY": SUPPORT, "PRODUCTLANE_SCOPES": "threads:read contacts:read"}
SMALLEST = (CONFIGS / "gateway" / "smallest.good.yaml").read_text()
WHOLE = (CONFIGS / "gateway" / "whole.good.yaml").read_text()
POLICY = (CONFIGS / "policy" / "whole.good.yaml").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the policy of `billing`, an overlay and a certificate, for a gateway.yaml to be put into."""
    for name in ("policies", "grants"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "billing.yaml").write_text(POLICY)
    (tmp_path / "extra.yaml").write_text("endpoints: [{method: GET, path: /digests, scopes: [threads:read]}]\n")
    write_listener(tmp_path, "ca.pem")
    return tmp_path


def loaded(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: str) -> Snapshot:
    (folder / "gateway.yaml").write_text(text)
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return load(folder / "gateway.yaml", environ={**ENVIRON, **(environ or {})}, flags=given)


def problems_of(*arguments: Any, **keywords: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **keywords)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_not_said_is_the_documented_default(folder: Path) -> None:
    """Keys and routes are enough; everything else has the value that the documentation gives."""
    snapshot = loaded(folder, SMALLEST)

    assert Address("127.0.0.1", 8080) == snapshot.settings.listen
    assert Address("127.0.0.1", 9090) == snapshot.settings.admin
    assert (
        Upstream(
            url="https://productlane.com/api/v2",
            ca=None,
            connect_timeout=5.0,
            response_timeout=60.0,
            idle_timeout=60.0,
            answer_timeout=3600.0,
            max_connections=100,
            key_errors="translate",
        )
        == snapshot.settings.upstream
    )
    assert Identity(ttl=60.0, refused_ttl=10.0, stale_if_error=3600.0, prefetch=True) == snapshot.settings.identity
    limits = Limits(
        head_timeout=10.0,
        handshake_timeout=10.0,
        keepalive_timeout=75.0,
        body=Body(write=16 * 2**20, upload=12 * 2**20),
        connections=10_000,
        heads=32 * 2**20,
        connections_per_address=1_000,
    )
    assert limits == snapshot.settings.limits
    assert Pacing(max_wait=5.0, max_queue=1000) == snapshot.settings.pacing
    assert ("info", "json", 3.0, 30.0) == (
        snapshot.settings.log.level,
        snapshot.settings.log.format,
        snapshot.settings.drain.delay,
        snapshot.settings.drain.timeout,
    )
    assert 99 == len(snapshot.catalog.endpoints)


def test_every_setting_arrives(folder: Path) -> None:
    """Each setting of the file is a value of the snapshot, in seconds and bytes; paths are from its folder."""
    snapshot = loaded(folder, WHOLE)

    assert Address(path=folder / "run/gateway.sock") == snapshot.settings.listen
    assert Address("::1", 9191) == snapshot.settings.admin
    ca = folder / "ca.pem"
    upstream = Upstream(
        url="http://127.0.0.1:8099/api/v2",
        ca=ca,
        connect_timeout=0.5,
        response_timeout=120.0,
        idle_timeout=3600.0,
        answer_timeout=7200.0,
        max_connections=7,
        request_fields=("X-Tenant",),
        response_fields=("X-Tenant-Id",),
        key_errors="relay",
    )
    assert upstream == snapshot.settings.upstream
    slots = (Slot(1, "env:SUPPORT", Secret(SUPPORT)), Slot(2, f"file:{folder}/later", None))
    assert Key("support", slots, "wks_abc123") == snapshot.keys["support"]
    assert Key("billing.eu", (Slot(1, "env:BILLING", Secret(BILLING)),), None) == snapshot.keys["billing.eu"]
    assert (
        Route("/changelogs/**", ("support",)),
        Route("/threads/{thread_id}", ("support", "billing.eu"), frozenset({"billing"})),
    ) == snapshot.routes.all
    assert Identity(ttl=0.0, refused_ttl=20.0, stale_if_error=7200.0, prefetch=False) == snapshot.settings.identity
    limits = Limits(
        head_timeout=11.0,
        handshake_timeout=12.0,
        keepalive_timeout=76.0,
        body=Body(write=2048, upload=3000),
        body_rate=2048,
        answer_rate=3072,
        connections=12,
        heads=3 * 2**20,
        connections_per_address=3,
    )
    assert limits == snapshot.settings.limits
    assert Pacing(max_wait=0.25, max_queue=17) == snapshot.settings.pacing
    assert ("debug", "console") == (snapshot.settings.log.level, snapshot.settings.log.format)
    assert (0.0, 4.0) == (snapshot.settings.drain.delay, snapshot.settings.drain.timeout)
    assert snapshot.catalog.named("GET /digests") is not None


def test_a_policy_arrives_whole(folder: Path) -> None:
    """Every field of a policy is in the snapshot, and its tokens lead to the caller."""
    snapshot = loaded(folder, SMALLEST)
    policy = snapshot.policies["billing"]
    digest = bytes.fromhex("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")

    assert {"billing"} == {*snapshot.policies}
    assert Callers({"tokens": {digest: "billing"}}) == snapshot.callers
    assert "billing" == policy.caller
    assert {"companies:read", "companies:write"} == policy.scopes
    assert {"POST /changelogs/{id}/broadcast"} == {endpoint.name for endpoint in policy.endpoints}
    assert {"DELETE /companies/{id}", "POST /companies/{id}/merge"} == {endpoint.name for endpoint in policy.deny}
    assert policy.audit
    assert date(2027, 1, 1) == policy.expires
    assert [300, 10, 10] == [policy.cap(lane) for lane in (Lane.READ, Lane.WRITE, Lane.UPLOAD)]
    assert 3 == policy.weight


def settings_of(cls: type[Section], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting, down to single values, lists and mappings of names."""
    for name, one in cls.settings.items():
        if isinstance(one.kind, Record):
            yield from settings_of(one.kind.cls, (*above, name))
        else:
            yield (*above, name)


def value_at(settings: object, path: tuple[str, ...]) -> object:
    """The value at a path, or a marker if a section above it is missing."""
    for name in path:
        settings = object() if settings is None else getattr(settings, name)
    return settings


def test_the_whole_file_is_whole(folder: Path) -> None:
    """`whole.good` contains every setting, each with a value other than its default."""

    def paths(value: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        if not isinstance(value, dict) or not value or above in (("keys",), ("callers", "oidc")):
            return {above}
        return {path for name, child in value.items() for path in paths(child, (*above, name))}

    # Keys are discovered or in a file; the file that has both is refused.
    other_way = {("callers", "kubernetes", "jwks")}
    assert {*settings_of(Gateway)} - other_way == paths(yaml.safe_load(WHOLE))
    one, other = loaded(folder, SMALLEST), loaded(folder, WHOLE)
    same = {field.name for field in fields(Snapshot) if getattr(one, field.name) == getattr(other, field.name)}

    assert {"policies"} == same
    assert not [p for p in settings_of(Gateway) if value_at(one.settings, p) == value_at(other.settings, p)]


def test_flags_win_over_the_environment_and_it_over_the_file(folder: Path) -> None:
    """Each of the three places can set a value; the one that is nearest to the operator decides."""
    text = SMALLEST + "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\nlog: {level: error}\n"
    environ = {"PRODUCTLANE_GATEWAY_ADMIN": "127.0.0.1:12", "PRODUCTLANE_GATEWAY_LOG_LEVEL": "warning"}
    snapshot = loaded(folder, text, environ, log__level="debug")

    assert Address("127.0.0.1", 1) == snapshot.settings.listen
    assert Address("127.0.0.1", 12) == snapshot.settings.admin
    assert "debug" == snapshot.settings.log.level


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("LISTEN", "127.0.0.1:1", "listen", Address("127.0.0.1", 1)),
        ("ADMIN", "[::1]:2", "admin", Address("::1", 2)),
        ("UPSTREAM_URL", "http://localhost:3/api/v2", "upstream.url", "http://localhost:3/api/v2"),
        ("UPSTREAM_MAX_CONNECTIONS", "3", "upstream.max_connections", 3),
        ("UPSTREAM_KEY_ERRORS", "translate", "upstream.key_errors", "translate"),
        ("IDENTITY_STALE_IF_ERROR", "0s", "identity.stale_if_error", 0.0),
        ("IDENTITY_PREFETCH", "false", "identity.prefetch", False),
        ("LIMITS_CONNECTIONS_PER_ADDRESS", "4", "limits.connections_per_address", 4),
        ("STORE", "redis://:pw@r:1/2", "store.password.text", "pw"),
        ("LOG_FORMAT", "console", "log.format", "console"),
        ("DRAIN_DELAY", "1s", "drain.delay", 1.0),
    ],
)
def test_single_settings_have_a_variable(folder: Path, variable: str, text: str, path: str, value: Any) -> None:
    """A variable named after a setting's path sets it, even if the file lacks its section."""
    found: Any = loaded(folder, SMALLEST, {f"PRODUCTLANE_GATEWAY_{variable}": text}).settings
    for step in path.split("."):
        found = getattr(found, step)

    assert value == found


def test_sizes_are_set_by_variables_too(folder: Path) -> None:
    """A size from the environment may have a unit or be a number of bytes."""
    environ = {"PRODUCTLANE_GATEWAY_LIMITS_BODY_WRITE": "100", "PRODUCTLANE_GATEWAY_LIMITS_BODY_UPLOAD": "1KiB"}
    snapshot = loaded(folder, SMALLEST, environ)

    assert [0, 100, 1024] == [snapshot.settings.limits.body[lane] for lane in (Lane.READ, Lane.WRITE, Lane.UPLOAD)]


def test_a_bad_variable_or_flag_is_named(folder: Path) -> None:
    """A problem from a variable or flag names it."""
    (folder / "gateway.yaml").write_text(SMALLEST)
    environ = {**ENVIRON, "PRODUCTLANE_GATEWAY_LOG_LEVEL": "loud"}
    problems = problems_of(folder / "gateway.yaml", environ=environ, flags={"identity.refused_ttl": "5"})

    assert [
        "environment: PRODUCTLANE_GATEWAY_LOG_LEVEL: expected debug, info, warning or error, found `loud`",
        "command line: --identity-refused-ttl: expected a duration such as 500ms, 5s, 2m, 1h or 7d, found `5`",
    ] == sorted(problems, reverse=True)


def test_a_variable_does_not_hide_what_is_wrong_in_the_file(folder: Path) -> None:
    """A value in place of a section is reported, even if a variable sets a value in that section."""
    (folder / "gateway.yaml").write_text(SMALLEST + "log: loud\n")
    environ = {**ENVIRON, "PRODUCTLANE_GATEWAY_LOG_LEVEL": "debug"}
    problems = problems_of(folder / "gateway.yaml", environ=environ)

    assert [
        f"{folder}/gateway.yaml:6: log: expected a mapping with level, format, found `loud`",
    ] == problems


def test_a_misspelt_variable_is_a_problem(folder: Path) -> None:
    """A variable that sets nothing but nearly would is not passed over; what Kubernetes sets for a Service is."""
    (folder / "gateway.yaml").write_text(SMALLEST)
    links = (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_ADMIN",
        "PORT",
        "PORT_8080_TCP",
        "PORT_8080_TCP_ADDR",
        "ADMIN_PORT",
    )
    environ = {**ENVIRON, **{f"PRODUCTLANE_GATEWAY_{link}": "tcp://10.0.0.1:80" for link in links}}
    problems = problems_of(folder / "gateway.yaml", environ={**environ, "PRODUCTLANE_GATEWAY_LISTN": "x"})

    assert [
        'environment: PRODUCTLANE_GATEWAY_LISTN: sets nothing; did you mean "PRODUCTLANE_GATEWAY_LISTEN"?'
    ] == problems
    load(folder / "gateway.yaml", environ=environ)


@pytest.mark.parametrize("rest", ["CATALOG", "KEYS_MAIN_SECRETS", "REDIS_URL", "STORE_PATH"])
def test_a_variable_of_a_section_that_sets_nothing_is_a_problem(folder: Path, rest: str) -> None:
    """A variable that begins as a section does was meant for it, however far its end is from any setting."""
    (folder / "gateway.yaml").write_text(SMALLEST)
    name = f"PRODUCTLANE_GATEWAY_{rest}"
    problems = problems_of(folder / "gateway.yaml", environ={**ENVIRON, name: "x"})

    assert [f"environment: {name}: sets nothing; no single setting is called so"] == problems


def test_a_variable_that_holds_a_secret_may_be_called_as_its_owner_likes(folder: Path) -> None:
    """A variable that the file names as a source sets nothing and is used, though it is nearly called as a setting."""
    text = SMALLEST.replace("env:SUPPORT", "env:PRODUCTLANE_GATEWAY_UPSTREAM_KEY")
    snapshot = loaded(folder, text, {"PRODUCTLANE_GATEWAY_UPSTREAM_KEY": SUPPORT})

    assert Secret(SUPPORT) == snapshot.keys["support"].slots[0].secret


def test_the_file_can_be_named_by_a_variable(folder: Path) -> None:
    """``PRODUCTLANE_GATEWAY_CONFIG`` is the path if none is given."""
    (folder / "gateway.yaml").write_text(SMALLEST)
    (folder / "other.yaml").write_text(SMALLEST + "log: {level: debug}\n")
    environ = {**ENVIRON, "PRODUCTLANE_GATEWAY_CONFIG": str(folder / "other.yaml")}

    assert "debug" == load(None, environ=environ).settings.log.level
    assert "info" == load(folder / "gateway.yaml", environ=environ).settings.log.level


def test_paths_from_a_variable_are_from_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path on the command line starts at the working directory; in a file, at the file's folder."""
    elsewhere = folder / "elsewhere"
    (elsewhere / "mine").mkdir(parents=True)
    (elsewhere / "mine" / "app.yaml").write_text("caller: app\nauthenticate: {anonymous: true}\n")
    monkeypatch.chdir(elsewhere)
    environ = {"PRODUCTLANE_GATEWAY_POLICIES": "mine", "PRODUCTLANE_GATEWAY_LISTEN": "unix:a.sock"}
    snapshot = loaded(folder, SMALLEST, environ)

    assert {"app"} == {*snapshot.policies}
    assert Address(path=Path("a.sock")) == snapshot.settings.listen


def test_a_sidecar_needs_no_files() -> None:
    """A key and scopes in the environment give one key, one route for everything, and one anonymous caller."""
    snapshot = load(None, environ=SIDECAR)

    assert {"default": Key("default", (Slot(1, "env:PRODUCTLANE_KEY", Secret(SUPPORT)),), None)} == snapshot.keys
    assert (Route("/**", ("default",)),) == snapshot.routes.all
    assert Callers({"anonymous": {True: "sidecar"}}) == snapshot.callers
    assert frozenset({"threads:read", "contacts:read"}) == snapshot.policies["sidecar"].scopes
    assert not snapshot.policies["sidecar"].endpoints
    assert not snapshot.policies["sidecar"].audit


def test_a_sidecars_key_may_be_in_a_file(tmp_path: Path) -> None:
    """``PRODUCTLANE_KEY=file:/path`` names the file with the key."""
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(BILLING + "\n")
    snapshot = load(None, environ={**SIDECAR, "PRODUCTLANE_KEY": f"file:{file}"})

    assert (Slot(1, f"file:{file}", Secret(BILLING)),) == snapshot.keys["default"].slots


def test_a_sidecars_key_may_be_in_another_variable() -> None:
    """``PRODUCTLANE_KEY=env:NAME`` names the variable with the key."""
    snapshot = load(None, environ={**SIDECAR, "PRODUCTLANE_KEY": "env:MINE", "MINE": BILLING})

    assert (Slot(1, "env:MINE", Secret(BILLING)),) == snapshot.keys["default"].slots


def test_a_path_in_the_place_of_a_sidecars_key_is_seen() -> None:
    """A path without ``file:`` is reported, with what to write."""
    problems = problems_of(None, environ={**SIDECAR, "PRODUCTLANE_KEY": "/nowhere/key"})

    assert "environment: PRODUCTLANE_KEY: is a path; write `file:` before it" == problems[0]


def test_a_sidecar_takes_settings_too() -> None:
    """Variables and flags replace a file; commas or spaces separate scopes."""
    environ = {**SIDECAR, "PRODUCTLANE_SCOPES": "threads:read,tags:read", "PRODUCTLANE_GATEWAY_DRAIN_DELAY": "0s"}
    snapshot = load(None, environ=environ, flags={"listen": "unix:/run/gateway.sock"})

    assert (0.0, Path("/run/gateway.sock")) == (snapshot.settings.drain.delay, snapshot.settings.listen.path)
    assert {"threads:read", "tags:read"} == snapshot.policies["sidecar"].scopes


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"PRODUCTLANE_SCOPES": ""},
            "environment: PRODUCTLANE_SCOPES: is missing: the scopes that the app may use, as in "
            '"threads:read contacts:read"; none are given by default',
        ),
        (
            {"PRODUCTLANE_SCOPES": "threads:reed"},
            'environment: PRODUCTLANE_SCOPES: no such scope as `threads:reed`; did you mean "threads:read"?',
        ),
        ({"PRODUCTLANE_KEY": ""}, "environment: PRODUCTLANE_KEY: `env:PRODUCTLANE_KEY` is empty: a v2 key is expected"),
        (
            {"PRODUCTLANE_KEY": "file:/nonesuch"},
            "environment: PRODUCTLANE_KEY: the file /nonesuch does not exist",
        ),
        (
            {"PRODUCTLANE_GATEWAY_LISTEN": "0.0.0.0:8080"},
            "environment: PRODUCTLANE_GATEWAY_LISTEN: others than this machine reach `0.0.0.0:8080`, and caller "
            "`sidecar` is anonymous; listen on loopback or a unix socket, give tokens instead, or say "
            "`dangerously_allow_anonymous: true`",
        ),
    ],
)
def test_a_sidecar_that_is_not_right_does_not_start(changed: dict[str, str], problem: str) -> None:
    """Missing scopes are a problem that names the variable."""
    assert [problem] == problems_of(None, environ={**SIDECAR, **changed})


def test_a_sidecar_without_its_key_says_so() -> None:
    """Scopes alone are not a set-up."""
    problems = problems_of(None, environ={"PRODUCTLANE_SCOPES": "threads:read"})

    assert ["environment: PRODUCTLANE_KEY: the variable PRODUCTLANE_KEY is not set"] == problems


def test_nothing_at_all_says_what_there_could_be() -> None:
    """A start without any configuration explains the three ways to configure the gateway."""
    problems = problems_of(None, environ={})

    assert 1 == len(problems)
    for word in ("--config", "PRODUCTLANE_GATEWAY_CONFIG", "PRODUCTLANE_KEY", "PRODUCTLANE_SCOPES"):
        assert word in problems[0]


def test_a_sidecars_scopes_beside_a_file_are_a_problem(folder: Path) -> None:
    """Scopes that would have no effect are a problem."""
    (folder / "gateway.yaml").write_text(SMALLEST)
    problems = problems_of(folder / "gateway.yaml", environ={**ENVIRON, "PRODUCTLANE_SCOPES": "threads:read"})

    assert [
        f"environment: PRODUCTLANE_SCOPES: is for a sidecar without files, and {folder}/gateway.yaml is in use; "
        "put the scopes into a policy"
    ] == problems


def test_a_flag_that_is_no_setting_is_a_fault_of_the_program(folder: Path) -> None:
    """Flags are the program's own, so one that sets nothing is not the user's problem."""
    with pytest.raises(LookupError, match="listn is not a single setting"):
        loaded(folder, SMALLEST, listn="x")


def test_addresses_are_shown_as_they_are_written(folder: Path) -> None:
    """Logs and the status page name a listener as the configuration does."""
    whole, smallest = loaded(folder, WHOLE), loaded(folder, SMALLEST)

    assert f"unix:{folder}/run/gateway.sock" == str(whole.settings.listen)
    assert ["[::1]:9191", "127.0.0.1:9090"] == [str(whole.settings.admin), str(smallest.settings.admin)]


def test_a_caller_is_asked_for_proof_once_any_policy_has_tokens(folder: Path) -> None:
    """If the only policy is anonymous, credentials have no effect."""
    assert loaded(folder, SMALLEST).callers.authenticated
    assert not load(None, environ=SIDECAR).callers.authenticated


def test_keys_without_any_secret_are_a_problem_and_with_one_are_not(folder: Path) -> None:
    """A key starts with one secret of several; the others may come later. With none it cannot start."""
    text = SMALLEST.replace("[env:SUPPORT]", "[file:none, env:SUPPORT]")
    slots = loaded(folder, text).keys["support"].slots
    (folder / "gateway.yaml").write_text(text)
    problems = problems_of(folder / "gateway.yaml", environ={})

    assert (Slot(1, f"file:{folder}/none", None), Slot(2, "env:SUPPORT", Secret(SUPPORT))) == slots
    assert [
        f"{folder}/gateway.yaml:3: keys.support.secrets[0]: the file {folder}/none does not exist",
        f"{folder}/gateway.yaml:3: keys.support.secrets[1]: the variable SUPPORT is not set",
    ] == problems


def test_offline_needs_nothing_but_policies_and_catalog(folder: Path) -> None:
    """A reviewer without keys and certificates gets the same policies, routes and catalog, and no secret."""
    (folder / "gateway.yaml").write_text(WHOLE)
    whole = load(folder / "gateway.yaml", environ=ENVIRON)
    offline = load(folder / "gateway.yaml", environ=ENVIRON, offline=True)
    for name in ("ca.pem", "tls.crt", "tls.key"):
        (folder / name).unlink(missing_ok=True)
    bare = load(folder / "gateway.yaml", environ={}, offline=True)

    assert not any(slot.secret for snapshot in (offline, bare) for key in snapshot.keys.values() for slot in key.slots)
    for name in ("policies", "callers", "settings"):
        assert getattr(whole, name) == getattr(bare, name)
    assert whole.routes.all == bare.routes.all
    assert {name: len(key.slots) for name, key in whole.keys.items()} == {
        name: len(key.slots) for name, key in bare.keys.items()
    }


def test_offline_hides_no_other_problem(folder: Path) -> None:
    """A problem in the text of the files is reported offline too."""
    (folder / "gateway.yaml").write_text(f"{WHOLE}\nnonsense: 1\n")

    with pytest.raises(ConfigError) as raised:
        load(folder / "gateway.yaml", environ={}, offline=True)
    assert ["nonsense"] == [problem.where for problem in raised.value.problems]


def test_a_sidecar_can_be_explained_without_its_key() -> None:
    """Its scopes are enough."""
    snapshot = load(None, environ={"PRODUCTLANE_SCOPES": "threads:read"}, offline=True)

    assert frozenset({"threads:read"}) == snapshot.policies["sidecar"].scopes
