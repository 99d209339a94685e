"""What is wrong between the gateway and its peers: DNS, TCP, TLS, clocks, Redis, issuers, `/me`, budgets."""

import email.utils
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.cli.doctor.finding import Finding, error, ok, warning
from gateway.cli.doctor.machine import ending
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.store import Redis
from gateway.core.network_faults import NETWORK_FAULTS
from gateway.net.client_tls import upstream_context
from gateway.net.faults import network_fault
from gateway.telemetry.status import Status

_TIMEOUT: Final = 5.0
# Signed tokens and certificates allow about this much; half a minute is worth a look.
SKEW: Final = 30.0
_GRAVE_SKEW: Final = 300.0
_REPLACE: Final = "replace it in its file or Secret"
_FIXES: Final = {
    "unverified": "mend the way to Productlane first",
    "dns": "correct `upstream.url`, or let the pod reach its DNS server (NetworkPolicy: port 53, UDP and TCP)",
    "tcp": "let the gateway reach this host and port (firewall, NetworkPolicy, proxy)",
    "tls": "if a proxy on the way signs anew, name its authority in `upstream.ca`; else correct the name or the clock",
}


def upstream(snapshot: Snapshot, now: float) -> Iterator[Finding]:
    """The way to Productlane, step by step; the first step that fails ends it. ``now`` is Unix time in seconds."""
    url = urlsplit(snapshot.settings.upstream.url)
    host, secure = url.hostname or "", url.scheme == "https"
    port = url.port or (443 if secure else 80)
    step = "dns"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        yield ok("dns", f"{host} has {len({one[4][0] for one in found})} addresses")
        step = "tcp"
        with socket.create_connection((host, port), timeout=_TIMEOUT) as plain:
            yield ok("tcp", f"{host}:{port} accepts connections")
            step = "tls"
            if not secure:
                yield from _clock(plain, host, now)
                return
            with upstream_context(snapshot.settings.upstream.ca).wrap_socket(plain, server_hostname=host) as channel:
                yield _certificate(channel, host, now)
                yield from _clock(channel, host, now)
    except OSError as failure:
        said = failure.verify_message if isinstance(failure, ssl.SSLCertVerificationError) else failure.strerror
        why = "its name does not resolve" if step == "dns" else _why(failure)
        yield error(step, f"{host}:{port}: {why}" + (f" ({said})" if said else ""), _FIXES[step])


def _why(failure: OSError) -> str:
    return NETWORK_FAULTS[network_fault(failure, connecting=True)].why


def _certificate(channel: ssl.SSLSocket, host: str, now: float) -> Finding:
    shown: dict[str, Any] = dict(channel.getpeercert() or {})
    end = ssl.cert_time_to_seconds(str(shown.get("notAfter")))
    issuer = {name: value for part in shown.get("issuer", ()) for name, value in part}
    return ending("tls", f"{host}, issued by {issuer.get('organizationName') or issuer.get('commonName')},", end, now)


def _clock(channel: socket.socket, host: str, now: float) -> Iterator[Finding]:
    """The difference of the clocks, by the `Date` of an answer to a request without a key."""
    with suppress(OSError, ValueError, TypeError):
        channel.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = channel.makefile("rb").read(8192).decode("latin-1")
        stated = next(line for line in head.splitlines() if line.lower().startswith("date:"))
        skew = now - email.utils.parsedate_to_datetime(stated.partition(":")[2].strip()).timestamp()
        if abs(skew) < SKEW:
            yield ok("clock", f"the clock differs from that of {host} by less than {SKEW:.0f} s")
            return
        what = f"the clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of {host}"
        found = error if abs(skew) >= _GRAVE_SKEW else warning
        yield found("clock", what, "synchronise the clock of this machine (NTP)")


async def keys(snapshot: Snapshot) -> list[Finding]:
    """What Productlane says about each secret, and where scopes, routes and policies do not fit."""
    from gateway.cli.keys.online import ask, slot_fault

    found = []
    for key in await ask(snapshot):
        found += [
            error("keys", f"key {key.name}, {slot_name(slot.slot)}: {fault}", _FIXES.get(slot.state, _REPLACE))
            for slot in key.slots
            if (fault := slot_fault(slot))
        ]
        if key.active is not None:
            found.append(ok("keys", f"key {key.name}: {slot_name(key.active.slot)} serves"))
        advice = "; ".join(key.advice)
        if key.missing:
            what = f"key {key.name}: no key of its routes carries {', '.join(key.missing)}, which policies grant"
            found.append(error("scopes", what, advice))
        elif key.excess or key.unknown or key.wide:
            found.append(warning("scopes", f"key {key.name} carries more than any request needs", advice))
    return found


def slot_name(slot: str) -> str:
    """A slot in words."""
    return f"secret {slot}" if slot.isdigit() else f"the {slot} secret"


async def issuers(snapshot: Snapshot) -> list[Finding]:
    """Whether each issuer of callers' tokens gives its keys."""
    from gateway.cli.keys.online import ask_issuers

    return [
        ok("issuers", f"issuer {one.name} has {one.keys} keys")
        if one.up
        else error("issuers", f"issuer {one.name}: {one.fault}", "let the gateway reach the issuer, or correct its URL")
        for one in await ask_issuers(snapshot)
    ]


async def redis(store: Redis) -> Finding:
    """Whether the shared store answers."""
    import redis.asyncio
    from redis.exceptions import RedisError

    kind = redis.asyncio.SSLConnection if store.tls else redis.asyncio.Connection
    connection = kind(**store.connection_options(_TIMEOUT))
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("PING")
        await connection.read_response()
    except (TimeoutError, RedisError, OSError) as failure:
        fix = "start it, let the gateway reach it, and correct user, password or CA under `redis`"
        return error("redis", f"{store}: {type(failure).__name__}", fix)
    finally:
        await connection.disconnect()
    return ok("redis", f"{store} answers")


def budgets(status: Status) -> Iterator[Finding]:
    """Where a running gateway has had no rate budget left."""
    for key in status.keys:
        for lane, budget in key.budgets.items():
            if budget.remaining <= 0 or budget.lowest == 0:
                fix = "give callers keys of their own, limit them (`limits`), or ask Productlane for a higher limit"
                what = f"key {key.name} has spent its budget of {budget.limit} a minute in lane {lane}"
                yield warning("budgets", what, fix)


def now() -> float:
    """Unix time in seconds."""
    return time.time()
