"""Every gauge there is, as one table. To add one, add a row, and what it reads to `State`."""

from collections.abc import Iterable
from typing import Final

from gateway.telemetry import labels
from gateway.telemetry.budget_gauges import BUDGET_GAUGES
from gateway.telemetry.gauge import Gauge, Rows, State, gauge
from gateway.telemetry.status import SlotStatus


def _slots(state: State) -> Iterable[tuple[str, SlotStatus]]:
    return ((key.name, slot) for key in state.keys for slot in key.slots)


def _drift(name: str, help_text: str) -> Gauge:
    """A gauge of how many scopes a key has of some kind, None where its scopes are not known."""

    def rows(state: State) -> Rows:
        found = ((key.name, getattr(key, name)) for key in state.keys)
        return [((key,), len(scopes)) for key, scopes in found if scopes is not None]

    return gauge(f"key_scopes_{name}", help_text, ("key",), rows)


def _one(value: float | None) -> Rows:
    return [] if value is None else [((), value)]


_SECRET: Final = ("key", "slot")

GAUGES: Final[tuple[Gauge, ...]] = (
    gauge("in_flight_requests", "Requests being served.", (), lambda state: _one(state.in_flight)),
    gauge(
        "key_info",
        "What Productlane says of each secret; the preview is four characters.",
        (*_SECRET, "preview", "workspace", "api_key_id"),
        lambda state: [
            ((key, slot.slot, slot.preview or "", slot.workspace or "", slot.api_key_id or ""), 1)
            for key, slot in _slots(state)
        ],
    ),
    gauge(
        "key_state",
        "1 for the state that a secret is in.",
        (*_SECRET, "state"),
        lambda state: [
            ((key, slot.slot, one), one == slot.state) for key, slot in _slots(state) for one in labels.KEY_STATES
        ],
    ),
    gauge(
        "key_source_fault",
        "1 while a secret is in memory only: its file is gone or unusable.",
        _SECRET,
        lambda state: [((key, slot.slot), slot.source_fault) for key, slot in _slots(state)],
    ),
    gauge(
        "key_last_used_timestamp_seconds",
        "When a secret was last sent to Productlane.",
        _SECRET,
        lambda state: [
            ((key, slot.slot), slot.last_used.timestamp()) for key, slot in _slots(state) if slot.last_used is not None
        ],
    ),
    _drift("missing", "Scopes that routes and policies need of a key and it lacks."),
    _drift("excess", "Scopes that a key carries and no policy uses."),
    _drift("unknown", "Scopes that a key carries and no endpoint of the catalog asks for."),
    gauge(
        "key_wide",
        "1 where a key carries more than any of its callers needs.",
        ("key",),
        lambda state: [((key.name,), key.wide) for key in state.keys if key.wide is not None],
    ),
    *BUDGET_GAUGES,
    gauge(
        "issuer_up",
        "1 while the keys of an issuer of callers' tokens can be fetched.",
        ("issuer",),
        lambda state: [((issuer.name,), issuer.up) for issuer in state.issuers],
    ),
    gauge(
        "issuer_keys_age_seconds",
        "Time since an issuer's keys were last fetched.",
        ("issuer",),
        lambda state: [((issuer.name,), issuer.age) for issuer in state.issuers if issuer.age is not None],
    ),
    gauge(
        "policy_expires_timestamp_seconds",
        "When a policy ceases to grant anything; only of those that do.",
        ("caller",),
        lambda state: [((caller,), moment) for caller, moment in state.policy_expires.items()],
    ),
    gauge(
        "certificate_issued_timestamp_seconds",
        "When the certificate of the traffic listener became valid.",
        (),
        lambda state: _one(state.certificate and state.certificate[0]),
    ),
    gauge(
        "certificate_expires_timestamp_seconds",
        "When the certificate of the traffic listener ceases to be valid; only with TLS.",
        (),
        lambda state: _one(state.certificate and state.certificate[1]),
    ),
    gauge(
        "config_last_reload_successful",
        "1 if the last load of the config succeeded.",
        (),
        lambda state: _one(state.loaded and state.loaded[0]),
    ),
    gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the config was last loaded with success.",
        (),
        lambda state: _one(state.loaded and state.loaded[1]),
    ),
    gauge(
        "restart_needed",
        "1 while a changed setting waits for a restart.",
        (),
        lambda state: _one(state.restart_needed),
    ),
    gauge(
        "store_up",
        "1 while the store of identities works.",
        ("kind", "use"),
        lambda state: [((state.store.kind, use), use not in state.store.faults) for use in labels.STORE_USES],
    ),
    gauge(
        "circuit_state",
        "1 while the upstream has stopped answering.",
        (),
        lambda state: _one(state.circuit_open),
    ),
    gauge(
        "build_info",
        "1, with what is running.",
        ("version", "python", "aiohttp"),
        lambda state: [(state.build, 1)] if state.build else [],
    ),
)
