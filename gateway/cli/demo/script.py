"""What the demo shows: its keys, its callers, and the requests that a viewer may send."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Final

import yaml

from gateway.callers.tokens import new_token
from gateway.cli.demo.simulate import new_secret
from gateway.cli.table import listed, table

_KEYS: Final = {
    "reader": ("threads:read", "contacts:read", "companies:read", "changelogs:read"),
    "support": ("threads:read", "threads:write", "messages:write", "contacts:read", "companies:read"),
    "publisher": ("changelogs:read", "changelogs:write"),
}
_CALLERS: Final = {
    "support-bot": ("threads:read", "threads:write", "companies:read", "changelogs:write"),
    "dashboard": ("threads:read", "companies:read"),
}


@dataclass(frozen=True, slots=True)
class DemoKey:
    """A key of the simulated Productlane."""

    name: str
    scopes: tuple[str, ...]
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DemoCaller:
    """A caller with its token, and the digest that its policy holds."""

    name: str
    scopes: tuple[str, ...]
    token: str = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """Keys and callers, and the folder that their files are written to."""

    folder: Path
    keys: tuple[DemoKey, ...]
    callers: tuple[DemoCaller, ...]

    def write(self, upstream: str, port: int, admin_port: int) -> Path:
        """Write configuration, policies and secrets; returns the path of ``gateway.yaml``."""
        policies = self.folder / "policies"
        policies.mkdir()
        for key in self.keys:
            path = self.folder / f"{key.name}.key"
            path.touch(mode=0o600)
            path.write_text(key.secret, encoding="ascii")
        for caller in self.callers:
            policy = {
                "caller": caller.name,
                "authenticate": {"tokens": [caller.digest]},
                "scopes": list(caller.scopes),
            }
            _write(policies / f"{caller.name}.yaml", policy)
        config = {
            "listen": f"127.0.0.1:{port}",
            "admin": f"127.0.0.1:{admin_port}",
            "upstream": {"url": upstream},
            "keys": {key.name: {"secrets": [f"file:{key.name}.key"]} for key in self.keys},
            "routes": [
                {"path": "/changelogs/**", "keys": ["publisher"]},
                {"path": "/changelog-tags/**", "keys": ["publisher"]},
                {"path": "/**", "keys": ["support", "reader"]},
            ],
            "policies": "policies/",
            # `/me` must still be in the cache after a viewer has read the screen for some minutes.
            "identity": {"ttl": "1h"},
        }
        return _write(self.folder / "gateway.yaml", config)


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """A demo that runs: its configuration file and the addresses of all that listens. ``notes`` are for people."""

    config: Path
    setup: DemoSetup
    traffic: str
    admin: str
    upstream: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A line to paste, and its expected answer: a status, and texts in its output."""

    title: str
    command: str
    status: int
    marks: tuple[str, ...]
    why: str

    def told(self, number: int) -> str:
        """The step as printed; ``expect`` names the status and every mark."""
        marks = ", ".join(f"`{mark}`" for mark in self.marks)
        return f"\n{number}. {self.title}\n   {self.command}\n   expect {self.status}, {marks}\n   {self.why}"

    def missing_in(self, output: str) -> list[str]:
        """The expected texts that an output lacks. The status counts if the line prints the head."""
        marks = [f"HTTP/1.1 {self.status} "] if self.command.startswith("curl -si") else []
        return [mark for mark in (*marks, *self.marks) if mark not in output]


_BODY: Final = (
    """-H 'Content-Type: application/json' -d '{"text": "The export fails", "contact_email": "ada@example.com"}'"""
)
# `string.Template` fills in the addresses, the tokens of the two callers and the body.
_STEPS: Final = (
    Step(
        "A read that the policy of support-bot grants",
        "$bot '$api/threads?limit=1'",
        200,
        ("X-RateLimit-Remaining", '"data"'),
        "The gateway attaches the key `reader`: of those that carry threads:read, it carries the fewest scopes.",
    ),
    Step(
        "A write, which needs another key",
        "$bot -X POST $body $api/threads",
        201,
        ("thread_",),
        "The key is `support` now, the only one that carries threads:write. The caller sees neither.",
    ),
    Step(
        "The same write by a caller whose policy does not grant it",
        "$dashboard -X POST $body $api/threads",
        403,
        ("scope_required", "policy dashboard: does not grant threads:write"),
        "Productlane is not asked. Proxy-Status says which policy decided and what would change it.",
    ),
    Step(
        "What goes out to people is guarded: a scope is not enough",
        "$bot -X POST $api/changelogs/changelog_1/broadcast",
        403,
        ("forbidden", "name POST /changelogs/{id}/broadcast under `endpoints`"),
        "support-bot holds changelogs:write, and yet may not mail every subscriber.",
    ),
    Step(
        "Who am I? From the gateway's memory, cut to what this caller may use",
        "$dashboard $api/me",
        200,
        ("Age: ", "Cache-Status: productlane-gateway; hit", '"scopes":["companies:read","threads:read"]'),
        "The key behind it carries more; the caller is told of its own.",
    ),
    Step(
        "A path of the API's version 1",
        "$bot $traffic/api/v1/threads/thread_1",
        410,
        ("unsupported_api_version", "/api/v2/threads/{id}"),
        "The answer names what replaces it.",
    ),
    Step(
        "A key of version 1",
        "curl -si -H 'Authorization: Bearer pl_v1_of-the-old-days' $api/threads",
        410,
        ("unsupported_key_version",),
        "Callers of the gateway use its own tokens.",
    ),
    Step(
        "Nobody in particular",
        "curl -si $api/threads",
        401,
        ("unauthenticated", "WWW-Authenticate: Bearer"),
        "Each policy here asks for a token.",
    ),
    Step(
        "Every 401, 403 and 410 is counted, with who said it",
        "curl -s $admin/metrics | grep ^productlane_gateway_auth_responses_total",
        200,
        ('code="scope_required"', 'code="forbidden"', 'code="unsupported_key_version"', 'source="gateway"'),
        "One series for each kind of refusal above, once there has been one.",
    ),
)


def new_setup(folder: Path) -> DemoSetup:
    """Fresh secrets and tokens."""
    return DemoSetup(
        folder,
        tuple(DemoKey(name, scopes, new_secret()) for name, scopes in _KEYS.items()),
        tuple(DemoCaller(name, scopes, *new_token()) for name, scopes in _CALLERS.items()),
    )


def introduction(demo: RunningDemo) -> str:
    """What runs where, who the callers are and what the keys carry."""
    rows = [
        ("gateway", demo.traffic),
        ("admin", f"{demo.admin}  (/status is a page)"),
        ("upstream", f"{demo.upstream}  (simulated Productlane)"),
        ("files", str(demo.config)),
        *((f"key {key.name}", listed(key.scopes)) for key in demo.setup.keys),
        *((f"caller {caller.name}", listed(caller.scopes)) for caller in demo.setup.callers),
    ]
    return "\n".join([*demo.notes, table(rows), "\nPaste into another terminal:"])


def steps(demo: RunningDemo) -> tuple[Step, ...]:
    """The steps, in the order in which it makes sense."""
    bot, dashboard = demo.setup.callers
    words = {
        "bot": f"curl -si -H 'Authorization: Bearer {bot.token}'",
        "dashboard": f"curl -si -H 'Authorization: Bearer {dashboard.token}'",
        "traffic": demo.traffic,
        "admin": demo.admin,
        "api": f"{demo.traffic}/api/v2",
        "body": _BODY,
    }
    return tuple(replace(step, command=Template(step.command).substitute(words)) for step in _STEPS)


def _write(path: Path, value: object) -> Path:
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return path
