"""What is wrong between the gateway and its peers: DNS, TCP, TLS, clocks, Redis, issuers, `/me`, budgets."""

import email.utils
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.cli.doctor.files import day, is_soon
from gateway.cli.doctor.finding import Finding, Id, ok, wrong
from gateway.cli.table import counted
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.store import Redis
from gateway.net.client_tls import upstream_context
from gateway.net.faults import network_fault
from gateway.telemetry.status import Status

_TIMEOUT: Final = 5.0
# Signed tokens and certificates allow about this much; half a minute is worth a look.
SKEW: Final = 30.0
_GRAVE_SKEW: Final = 300.0
# X509_V_ERR_* of OpenSSL's x509_vfy.h: not yet valid, expired; another host name, another address.
_UNVERIFIED: Final = {9: Id.TLS_DATES, 10: Id.TLS_DATES, 62: Id.TLS_NAME, 64: Id.TLS_NAME}


def upstream(snapshot: Snapshot, now: float) -> Iterator[Finding]:
    """The way to Productlane, step by step; the first step that fails ends it. ``now`` is Unix time in seconds."""
    url = urlsplit(snapshot.settings.upstream.url)
    host, secure = url.hostname or "", url.scheme == "https"
    port = url.port or (443 if secure else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as failure:
        yield wrong(Id.DNS, f"{host}:{port}: its name does not resolve ({failure.strerror})")
        return
    yield ok("dns", f"{host} has {counted(len({one[4][0] for one in found}), 'address', 'addresses')}")
    step = Id.TCP
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT) as plain:
            yield ok("tcp", f"{host}:{port} accepts connections")
            step = Id.TLS_HANDSHAKE
            if not secure:
                yield from _clock(plain, host, now)
                return
            with upstream_context(snapshot.settings.upstream.ca).wrap_socket(plain, server_hostname=host) as channel:
                yield _certificate(channel, host, now)
                yield from _clock(channel, host, now)
    except ssl.SSLCertVerificationError as failure:
        found_id = _UNVERIFIED.get(failure.verify_code, Id.TLS_ISSUER)
        what = f"{host}:{port}: {_why(failure)} ({failure.verify_message})"
        yield wrong(found_id, what + _issued_by(host, port))
    except OSError as failure:
        yield wrong(step, f"{host}:{port}: {_why(failure)}" + (f" ({failure.strerror})" if failure.strerror else ""))


def _why(failure: OSError) -> str:
    return network_fault(failure, connecting=True).why


def _issued_by(host: str, port: int) -> str:
    """Who issued the certificate that was not trusted, as the end of a sentence: it names a proxy on the way."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, ValueError), socket.create_connection((host, port), timeout=_TIMEOUT) as plain:
        with context.wrap_socket(plain, server_hostname=host) as channel:
            shown = x509.load_der_x509_certificate(channel.getpeercert(binary_form=True) or b"")
        return f"; it was issued by {shown.issuer.rfc4514_string()} for {shown.subject.rfc4514_string()}"
    return ""


def _certificate(channel: ssl.SSLSocket, host: str, now: float) -> Finding:
    shown: dict[str, Any] = dict(channel.getpeercert() or {})
    end = ssl.cert_time_to_seconds(str(shown.get("notAfter")))
    issuer = {name: value for part in shown.get("issuer", ()) for name, value in part}
    name = f"the certificate of {host}, issued by {issuer.get('organizationName') or issuer.get('commonName')},"
    if is_soon(end, now):
        return wrong(Id.TLS_ENDS_SOON, f"{name} ends on {day(end)}")
    return ok("tls", f"{name} is good until {day(end)}")


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
        yield wrong(Id.CLOCK_WRONG if abs(skew) >= _GRAVE_SKEW else Id.CLOCK_DIFFERS, what)


async def keys(snapshot: Snapshot) -> list[Finding]:
    """What Productlane says about each secret, and where scopes, routes and policies do not fit."""
    from gateway.cli.keys.online import ask, slot_fault

    found = []
    for key in await ask(snapshot):
        found += [
            wrong(
                Id.SECRET_UNVERIFIED if slot.state == "unverified" else Id.SECRET_REFUSED,
                f"key {key.name}, {slot_name(slot.slot)}: {fault}",
            )
            for slot in key.slots
            if (fault := slot_fault(slot))
        ]
        if key.active is not None:
            found.append(ok("keys", f"key {key.name}: {slot_name(key.active.slot)} serves"))
        advice = "; ".join(key.advice)
        if key.missing:
            what = f"key {key.name}: no key of its routes carries {', '.join(key.missing)}, which policies grant"
            found.append(wrong(Id.SCOPES_MISSING, what, advice))
        elif key.excess or key.unknown or key.wide:
            found.append(wrong(Id.SCOPES_EXCESS, f"key {key.name} carries more than any request needs", advice))
    return found


def slot_name(slot: str) -> str:
    """A slot in words."""
    return f"secret {slot}" if slot.isdigit() else f"the {slot} secret"


async def issuers(snapshot: Snapshot) -> list[Finding]:
    """Whether each issuer of callers' tokens gives its keys."""
    from gateway.cli.keys.online import ask_issuers

    return [
        ok("issuers", f"issuer {one.name} has {counted(one.keys, 'key')}")
        if one.up
        else wrong(Id.ISSUER, f"issuer {one.name}: {one.fault}")
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
        return wrong(Id.REDIS, f"{store}: {type(failure).__name__}")
    finally:
        await connection.disconnect()
    return ok("redis", f"{store} answers")


def budgets(status: Status) -> Iterator[Finding]:
    """Where a running gateway has had no rate budget left."""
    for key in status.keys:
        for lane, budget in key.budgets.items():
            if budget.remaining <= 0 or budget.lowest == 0:
                what = f"key {key.name} has spent its budget of {budget.limit} a minute in lane {lane}"
                yield wrong(Id.BUDGET_SPENT, what)
