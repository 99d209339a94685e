"""The control port: what the owner of a running simulator may do to it from outside, as JSON.

``GET``, ``POST /keys`` · ``PATCH``, ``DELETE /keys/{api_key_id or preview}`` · ``GET``, ``POST``, ``DELETE /faults`` ·
``GET``, ``DELETE /requests``. A secret that is made here is shown once; no other ever comes out. Errors are
``{"error": {"code", "message"}}`` with the codes ``invalid``, ``not_found`` and ``ambiguous``.
"""

import dataclasses
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from gateway.simulator.arrivals import Arrival, Arrivals
from gateway.simulator.faults import Fault, Faults
from gateway.simulator.keys import Ambiguous, KeyRing, SimulatedKey

_TEXT, _NUMBER, _TIME = (str,), (int,), (int, float)
_PARTS: Final[dict[str, tuple[type, ...]]] = {
    "endpoint": _TEXT,
    "count": _NUMBER,
    "delay": _TIME,
    "status": _NUMBER,
    "code": _TEXT,
    "message": _TEXT,
    "details": (dict, list),
    "body": _TEXT,
    "headers": (dict,),
    "body_bytes": _NUMBER,
    "chunked": (bool,),
    "act": _TEXT,
    "after": _NUMBER,
    "seconds": _TIME,
    "piece": _NUMBER,
    "raw": _TEXT,
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadRequest(ValueError):
    """The request's JSON is not what the control port takes; the message says why."""


class Control:
    """The handlers over the simulator's keys, faults and record."""

    def __init__(self, keys: KeyRing, faults: Faults, arrivals: Arrivals) -> None:
        self._keys = keys
        self._faults = faults
        self._arrivals = arrivals

    async def list_keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [shown_key(key) for key in self._keys]})

    async def add_key(self, request: web.Request) -> web.Response:
        """Takes ``scopes`` and perhaps ``secret``, ``workspace``, ``api_key_id``, ``user_bound``."""
        fields = await _fields(
            request, {"secret": str, "workspace": str, "api_key_id": str, "user_bound": bool, "scopes": list}
        )
        made = {} if "secret" in fields else {"secret": f"pl_v2_{secrets.token_hex(16)}"}
        fields["scopes"] = _scopes(fields)
        key = SimulatedKey(**(fields | made))
        self._keys.add(key)
        return web.json_response(shown_key(key) | made, status=201)

    async def edit_key(self, request: web.Request) -> web.Response:
        fields = await _fields(request, {"scopes": list})
        key = self._keys.named(request.match_info["name"])
        return web.json_response(shown_key(self._keys.edit(key.secret, _scopes(fields))))

    async def revoke_key(self, request: web.Request) -> web.Response:
        key = self._keys.named(request.match_info["name"])
        self._keys.revoke(key.secret)
        return web.json_response({"api_key_id": key.api_key_id, "revoked": True})

    async def list_faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [shown_fault(fault, left) for fault, left in self._faults.in_force()]})

    async def add_fault(self, request: web.Request) -> web.Response:
        fault = _fault(await _object(request))
        self._faults.add(fault)
        return web.json_response(shown_fault(fault, fault.count), status=201)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"cleared": True})

    async def list_requests(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": [shown_arrival(arrival) for arrival in self._arrivals.latest()]})

    async def clear_requests(self, _: web.Request) -> web.Response:
        self._arrivals.clear()
        return web.json_response({"cleared": True})


def control_app(keys: KeyRing, faults: Faults, arrivals: Arrivals) -> web.Application:
    """The control port's application."""
    control = Control(keys, faults, arrivals)
    app = web.Application(middlewares=[_answer_errors])
    app.router.add_get("/keys", control.list_keys)
    app.router.add_post("/keys", control.add_key)
    app.router.add_patch("/keys/{name}", control.edit_key)
    app.router.add_delete("/keys/{name}", control.revoke_key)
    app.router.add_get("/faults", control.list_faults)
    app.router.add_post("/faults", control.add_fault)
    app.router.add_delete("/faults", control.clear_faults)
    app.router.add_get("/requests", control.list_requests)
    app.router.add_delete("/requests", control.clear_requests)
    return app


def shown_key(key: SimulatedKey) -> dict[str, Any]:
    """A key without its secret."""
    return {
        "api_key_id": key.api_key_id,
        "preview": key.preview,
        "scopes": sorted(key.scopes),
        "workspace": key.workspace,
        "user_bound": key.user_bound,
    }


def shown_fault(fault: Fault, left: int | None) -> dict[str, Any]:
    """A fault's parts that differ from their defaults, and how many requests it will still strike."""
    default = Fault()
    parts = {part.name: getattr(fault, part.name) for part in dataclasses.fields(Fault)}
    return {name: value for name, value in parts.items() if value != getattr(default, name)} | {"left": left}


def shown_arrival(arrival: Arrival) -> dict[str, Any]:
    """A request on record, with its credentials cut to a preview of ten characters."""
    headers = [
        [name, _preview(value) if name.lower() in ("authorization", "cookie", "proxy-authorization") else value]
        for name, value in arrival.headers
    ]
    return {
        "method": arrival.method,
        "target": arrival.target,
        "headers": headers,
        "body": {"length": arrival.body.length, "sha256": arrival.body.sha256, "ended": arrival.body.ended},
        "key_id": arrival.key_id,
        "connection": arrival.connection,
        "status": arrival.status,
        "outcome": arrival.outcome,
    }


def _preview(value: str) -> str:
    scheme, space, secret = value.partition(" ")
    return f"{scheme}{space}{secret[:10]}…" if space else "…"


@web.middleware
async def _answer_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Ambiguous as error:
        return _error(409, "ambiguous", str(error))
    except KeyError:
        return _error(404, "not_found", "No key has this api_key_id or preview.")
    except ValueError as error:
        return _error(400, "invalid", str(error))
    except web.HTTPException as error:
        return _error(error.status, "not_found", f"{request.method} {request.path}: {error.reason}")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        fields = json.loads(await request.text())
    except ValueError as error:
        raise BadRequest("expected JSON") from error
    if not isinstance(fields, dict):
        raise BadRequest("expected a JSON object")
    return fields


async def _fields(request: web.Request, kinds: dict[str, type]) -> dict[str, Any]:
    fields = await _object(request)
    for name, value in fields.items():
        if name not in kinds:
            raise BadRequest(f"unknown field {name}; known are {', '.join(sorted(kinds))}")
        if not isinstance(value, kinds[name]):
            raise BadRequest(f"{name} must be a JSON {kinds[name].__name__}")
    return fields


def _scopes(fields: dict[str, Any]) -> frozenset[str]:
    scopes = fields.get("scopes")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise BadRequest("scopes must be a list of names")
    return frozenset(scopes)


def _fault(parts: dict[str, Any]) -> Fault:
    for name, value in parts.items():
        kinds = _PARTS.get(name)
        if kinds is None:
            raise BadRequest(f"unknown part {name}; a fault's parts are {', '.join(_PARTS)}")
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadRequest(f"{name} must be a JSON {' or '.join(kind.__name__ for kind in kinds)}")
    if not all(isinstance(value, str) for value in parts.get("headers", {}).values()):
        raise BadRequest("headers must be an object of texts")
    return Fault(**parts)
