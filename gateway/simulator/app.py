"""What happens to one request: record, fault, key, rate limit, endpoint, scope, answer."""

import asyncio
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.core.catalog import NOWHERE, Catalog, Endpoint, Lane
from gateway.core.target import BASE, Target
from gateway.simulator.actions import Call, answer
from gateway.simulator.arrivals import Arrival, Arrivals, Body
from gateway.simulator.connections import NumberingServer, go_on
from gateway.simulator.delivery import Gone, Reply, before_head, deliver
from gateway.simulator.errors import ErrorCode, Failed, absent, invalid
from gateway.simulator.faults import Fault, Faults
from gateway.simulator.keys import KeyRing, SimulatedKey
from gateway.simulator.limits import DAY, Budget, Limits, Meter, Spent, Window
from gateway.simulator.uploads import upload
from gateway.simulator.workspace import Workspace

# The vendor's limit for a JSON body is undocumented. A file of 10 MB in base64 fits twice.
_MAX_JSON: Final = 32 * 1024 * 1024
_BLOCK: Final = 65_536


class Service:
    """Answers the requests of one listener. Workspaces come into being with the first key that asks for them."""

    def __init__(
        self,
        catalog: Catalog,
        keys: KeyRing,
        faults: Faults,
        arrivals: Arrivals,
        *,
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self._faults = faults
        self._arrivals = arrivals
        self._clock = clock
        self._limits = limits
        self._workspaces: dict[str, Workspace] = {}
        self._days: dict[str, Window] = {}
        self._meters: dict[str, Meter] = {}
        self._connections: dict[web.RequestHandler, int] = {}

    def server(self) -> web.Server:
        """The server of a listener. Bodies are counted and hashed as sent, so none is decompressed."""
        return NumberingServer(
            self.handle,
            self._connections,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            lingering_time=2.0,
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request, whatever becomes of its connection."""
        arrival = self._arrived(request)
        response: web.StreamResponse = Gone()
        try:
            response = await self._serve(request, arrival)
            arrival.outcome = "broken" if isinstance(response, Gone) else "answered"
        except asyncio.CancelledError:
            arrival.outcome = "abandoned"
            raise
        except ConnectionError:
            arrival.outcome = "abandoned"
        finally:
            self._arrivals.touch()
        return response

    def _arrived(self, request: web.BaseRequest) -> Arrival:
        body = Body(request.content, lambda: go_on(request))
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        target = request.raw_path
        arrival = Arrival(request.method, target, headers, self._connections.get(request.protocol, 0), body)
        self._arrivals.add(arrival)
        return arrival

    async def _serve(self, request: web.BaseRequest, arrival: Arrival) -> web.StreamResponse:
        released = self._faults.released
        endpoint = self._find(request)
        fault = self._faults.take(endpoint.name if isinstance(endpoint, Endpoint) else None)
        if fault is not None and (gone := await before_head(request, fault, released)):
            return gone
        reply = await self._reply(request, arrival, endpoint, fault)
        arrival.status = reply.status
        return await deliver(request, reply, fault, released)

    def _find(self, request: web.BaseRequest) -> Endpoint | Failed:
        """The endpoint of the raw path, or the error for an unknown one, which the vendor does not document."""
        path = request.raw_path.partition("?")[0]
        segments = tuple(path[1:].split("/"))
        if path.startswith(f"{BASE}/") and all(segments):
            target = Target(request.method, request.raw_path, segments)
            if (endpoint := self._catalog.find(target)) is not NOWHERE:
                return endpoint
            if methods := self._catalog.methods(target):
                # The ten codes have none for methods; `not_found` with 405 is the nearest.
                allow = ", ".join(methods)
                return Failed(ErrorCode.NOT_FOUND, f"This path takes {allow}.", status=405, headers={"Allow": allow})
        # That v1 paths are answered in the same way is a guess as well: the documented 410 is for v1 keys on v2.
        return absent("Endpoint")

    async def _reply(
        self, request: web.BaseRequest, arrival: Arrival, endpoint: Endpoint | Failed, fault: Fault | None
    ) -> Reply:
        request_id = f"req_{secrets.token_hex(8)}"
        headers = {"X-Request-Id": request_id}
        try:
            status, body = await self._judge(request, arrival, endpoint, fault, headers)
        except Failed as failed:
            status, body = failed.status, failed.envelope(request_id)
            headers |= failed.headers
        if fault is not None:
            headers |= fault.headers
        if fault is not None and fault.body is not None:
            return Reply(status, {"Content-Type": "text/html; charset=utf-8"} | headers, fault.body.encode())
        headers = {"Content-Type": "application/json; charset=utf-8"} | headers
        return Reply(status, headers, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())

    async def _judge(
        self,
        request: web.BaseRequest,
        arrival: Arrival,
        endpoint: Endpoint | Failed,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        """Status and body; fills in the rate-limit headers as soon as the key is known.

        The order of the checks is undocumented. Here: a fault's status, key, rate limit, endpoint, scope, body.
        """
        lane = _lane(request.method, endpoint)
        if fault is not None and fault.status is not None:
            self._show_budget(request, lane, headers)
            raise Failed(fault.code, fault.message, details=fault.details, status=fault.status)
        key = self._keys.authenticate(request.headers.getall("Authorization", []))
        arrival.key_id = key.api_key_id
        spent = self._meter(key).spend(lane, self._clock())
        headers |= _budget_headers(spent.budget)
        if spent.refused:
            raise _over_limit(spent)
        if isinstance(endpoint, Failed):
            raise endpoint
        _check_scopes(endpoint, key)
        workspace = self._workspaces.get(key.workspace)
        if workspace is None:
            workspace = self._workspaces[key.workspace] = Workspace(key.workspace, self._clock)
        if endpoint.lane is Lane.UPLOAD:
            return 201, await upload(request.headers, arrival.body, workspace)
        body = await _read_json(arrival.body, endpoint)
        query = dict(parse_qsl(request.raw_path.partition("?")[2], keep_blank_values=True))
        return answer(Call(endpoint, _ids(endpoint, request.raw_path), query, body, key, workspace))

    def _meter(self, key: SimulatedKey) -> Meter:
        meter = self._meters.get(key.api_key_id)
        if meter is None:
            day = self._days.setdefault(key.workspace, Window(self._limits.uploads_per_day, DAY, "1d"))
            meter = self._meters[key.api_key_id] = Meter(self._limits, day)
        return meter

    def _show_budget(self, request: web.BaseRequest, lane: Lane, headers: dict[str, str]) -> None:
        """Show the budget of a valid key. The answer of a fault spends none of it."""
        with suppress(Failed):
            key = self._keys.authenticate(request.headers.getall("Authorization", []))
            headers |= _budget_headers(self._meter(key).budget(lane, self._clock()))


def _budget_headers(budget: Budget) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(budget.limit),
        "X-RateLimit-Remaining": str(budget.remaining),
        "X-RateLimit-Reset": str(budget.reset),
    }


def _over_limit(spent: Spent) -> Failed:
    return Failed(
        ErrorCode.RATE_LIMITED,
        "Too many requests.",
        details={"limit": spent.refused_limit, "window": spent.window},
        headers={"Retry-After": str(spent.retry_after)},
    )


def _lane(method: str, endpoint: Endpoint | Failed) -> Lane:
    """HEAD is undocumented and counts as a read; so does a GET of nothing."""
    if isinstance(endpoint, Endpoint):
        return endpoint.lane
    return Lane.READ if method in ("GET", "HEAD") else Lane.WRITE


def _check_scopes(endpoint: Endpoint, key: SimulatedKey) -> None:
    """Scopes are independent: no write implies its read. ``details.required`` lists all that are needed."""
    if missing := sorted(endpoint.scopes - key.scopes):
        names = " and ".join(f"`{scope}`" for scope in missing)
        raise Failed(
            ErrorCode.SCOPE_REQUIRED,
            f"This endpoint requires the {names} scope{'s' if len(missing) > 1 else ''}.",
            details={"required": sorted(endpoint.scopes), "granted": sorted(key.scopes)},
        )


def _ids(endpoint: Endpoint, raw_path: str) -> tuple[str, ...]:
    segments = raw_path.partition("?")[0].removeprefix(f"{BASE}/").split("/")
    return tuple(ours for ours, its in zip(segments, endpoint.segments, strict=True) if its.startswith("{"))


async def _read_json(body: Body, endpoint: Endpoint) -> Any:
    """The parsed body; None if it is empty. Raises `Failed` 400. The body of a GET or DELETE is read and ignored."""
    parts = []
    try:
        while part := await body.read(_BLOCK):
            if body.length > _MAX_JSON:
                raise invalid(("", "The body is too large."))
            parts.append(part)
    except HttpProcessingError as error:
        raise invalid(("", "The body's framing is malformed.")) from error
    if not parts or endpoint.method in ("GET", "DELETE"):
        return None
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise invalid(("", "Expected JSON.")) from error
