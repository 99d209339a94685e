"""The status as a page for people: one HTML document with no script and nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Final

from gateway.telemetry.status import (
    CallerStatus,
    IssuerStatus,
    KeyStatus,
    ReloadStatus,
    SlotStatus,
    Status,
    StoreStatus,
    UseStatus,
    text,
)

# Callers beyond these are in status.json only: a page of thousands of rows helps nobody.
_SHOWN: Final = 200

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--dim:#888;--good:#1a7f37;--bad:#c62828;--soon:#b26a00}
@media (prefers-color-scheme:dark){:root{--good:#4ac26b;--bad:#ff7b72;--soon:#e3a03c}}
body{font:14px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--dim);white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{font:12px ui-monospace,monospace}.dim{color:var(--dim)}.scroll{overflow-x:auto}
.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}.soon{color:var(--soon)}
""".strip()

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# Nothing may load, run, submit or frame; the one style is known by its hash and the icon is empty data.
SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# The style of each state of a secret; any other state is bad.
_LOOKS: Final = {"active": "good", "standby": "good", "unverified": "soon"}

_NOTHING: Final = '<span class="dim">–</span>'


def page(status: Status) -> str:
    """The whole document. Every value is escaped; those that may be null show as a dash."""
    waiting = status.not_ready
    ready = f'<span class="bad">not ready: {escape("; ".join(waiting))}</span>' if waiting else _look("good", "ready")
    facts = [
        ("config", _code(status.config)),
        ("upstream", _code(status.upstream)),
        ("last change of config", _reload(status.reload)),
        ("store", _store(status.store)),
        *((f"issuer {issuer.name}", _issuer(issuer)) for issuer in status.issuers),
        *((f"{name} listener", _code(address)) for name, address in status.listeners.items()),
        ("started", _time(status.started)),
        ("shown as of", _time(status.now)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>productlane-gateway</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>"
        f'<h1>productlane-gateway <span class="dim">{escape(status.version)}</span> {ready}</h1>'
        f"<h2>Process</h2>{_table((), ([f'<th>{escape(name)}</th>', _cell(value)] for name, value in facts))}"
        f"<h2>Keys</h2>{_keys(status.keys)}"
        f"<h2>Budgets</h2>{_budgets(status.keys)}"
        f"<h2>Callers</h2>{_callers(status.callers)}"
        '<p class="dim">The same as JSON: <a href="/status.json">/status.json</a></p></body></html>'
    )


def _reload(reload: ReloadStatus) -> str:
    waiting = reload.restart_needed
    restart = f' <span class="soon">restart needed: {escape(", ".join(waiting))}</span>' if waiting else ""
    if reload.ok:
        return _look("good", "in use") + restart
    problems = "".join(f"<br>{escape(problem)}" for problem in reload.problems)
    cut = f"<br>less than before until it is mended: {escape(', '.join(reload.narrowed))}" if reload.narrowed else ""
    return _look("bad", f"not usable since {text(reload.failing_since)}") + problems + cut + restart


def _store(store: StoreStatus) -> str:
    faults = "; ".join(f"{use}: {why}" for use, why in store.faults.items())
    place = f" {_code(store.place)}" if store.place else ""
    return escape(store.kind) + place + (f' <span class="bad">{escape(faults)}</span>' if faults else "")


def _issuer(issuer: IssuerStatus) -> str:
    age = "no keys" if issuer.age is None else f"{issuer.keys} keys, fetched {issuer.age:.0f} s ago"
    state = _look("good", age) if issuer.up else _look("bad", f"{age}: {issuer.fault or 'not asked yet'}")
    return f"{_code(issuer.issuer)} {state}"


def _keys(keys: Iterable[KeyStatus]) -> str:
    keys = list(keys)
    advice = "".join(f"<li>{escape(key.name)}: {escape(said)}</li>" for key in keys for said in key.advice)
    return _keys_table(keys) + (f"<ul>{advice}</ul>" if advice else "")


def _keys_table(keys: Iterable[KeyStatus]) -> str:
    heads = (
        "key",
        "slot",
        "state",
        "preview",
        "workspace",
        "last used",
        "last hour",
        "note",
        "scopes",
        "missing",
        "excess",
        "budget left",
    )
    rows = ([_cell(value) for value in _slot(key, slot)] for key in keys for slot in key.slots)
    return _table(heads, rows)


def _budgets(keys: Iterable[KeyStatus]) -> str:
    heads = ("key", "lane", "left", "limit", "reset", "expected", "waiting", "caller: sent of its share")
    rows = []
    for key in keys:
        for lane, budget in key.budgets.items():
            shares = (
                f"{of.caller}: {of.used} of {of.share}" + (f", {of.waiting} waiting" if of.waiting else "")
                for of in budget.callers[:_SHOWN]
            )
            numbers = (budget.remaining, budget.limit, text(budget.reset) or "–", budget.expected, budget.waiting)
            rows.append([_cell(escape(str(value))) for value in (key.name, lane, *numbers, ", ".join(shares) or "–")])
    return _table(heads, rows) if rows else f"<p>{_NOTHING}</p>"


def _slot(key: KeyStatus, slot: SlotStatus) -> list[str]:
    left = (f"{lane} {budget.remaining}/{budget.limit}" for lane, budget in key.budgets.items())
    missing = key.missing
    return [
        escape(key.name),
        escape(slot.slot),
        _look(_LOOKS.get(slot.state, "bad"), slot.state),
        _code(f"pl_v2_{slot.preview}…") if slot.preview else _NOTHING,
        _code(slot.workspace),
        _time(slot.last_used),
        str(slot.requests_last_hour),
        _text("; ".join(filter(None, (slot.note, slot.fault, _identity_fault(slot))))),
        _names(slot.scopes),
        f'<span class="bad">{_names(missing)}</span>' if missing else _NOTHING,
        _names(key.excess),
        escape(", ".join(left)) or _NOTHING,
    ]


def _identity_fault(slot: SlotStatus) -> str:
    if not slot.identity_fault:
        return ""
    age = slot.identity_age
    known = "nothing is known about it" if age is None else f"still using the answer from {age:.0f} s ago"
    return f"the gateway cannot ask /me ({slot.identity_fault}); {known}"


def _callers(callers: Iterable[CallerStatus]) -> str:
    latest = sorted(callers, key=_last_seen, reverse=True)
    heads = ("caller", "known by", "mode", "granted", "endpoint used", "allowed", "denied", "would deny", "last")
    table = _table(heads, (row for caller in latest[:_SHOWN] for row in _caller(caller)))
    more = len(latest) - _SHOWN
    return table + (f'<p class="dim">{more} more callers are in /status.json.</p>' if more > 0 else "")


def _caller(caller: CallerStatus) -> Iterable[list[str]]:
    granted = _names(caller.scopes + caller.endpoints)
    if caller.expires:
        granted += f'<br><span class="soon">until {escape(caller.expires)}</span>'
    known_by = _cell(_text(", ".join(caller.authenticate)))
    first = [_cell(escape(caller.caller)), known_by, _cell(_text(caller.mode)), _cell(granted)]
    uses = list(caller.used.items())
    if not uses:
        yield [*first, *[_cell(_NOTHING)] * 5]
    for n, (endpoint, use) in enumerate(uses):
        yield [*(first if n == 0 else [_cell("")] * 4), _cell(_code(endpoint)), *_counts(use)]


def _counts(use: UseStatus) -> list[str]:
    numbers = (use.allowed, use.denied, use.would_deny)
    return [*(f'<td class="n">{number}</td>' for number in numbers), _cell(_time(use.last))]


def _last_seen(caller: CallerStatus) -> str:
    return max((text(use.last) or "" for use in caller.used.values()), default="")


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'


def _cell(markup: str) -> str:
    return f"<td>{markup}</td>"


def _look(kind: str, words: str) -> str:
    return f'<span class="{kind}">{escape(words)}</span>'


def _text(words: str | None) -> str:
    return escape(words) if words else _NOTHING


def _time(moment: datetime | None) -> str:
    return _text(text(moment))


def _code(words: str | None) -> str:
    return f"<code>{escape(words)}</code>" if words else _NOTHING


def _names(names: Iterable[str] | None) -> str:
    return ", ".join(f"<code>{escape(name)}</code>" for name in names) if names else _NOTHING
