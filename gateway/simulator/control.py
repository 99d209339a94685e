"""The control port: what the owner of a running simulator may do to it from outside, as JSON.

``GET``, ``POST /keys`` · ``PATCH``, ``DELETE /keys/{api_key_id or preview}`` · ``GET``, ``POST``, ``DELETE /faults`` ·
``GET``, ``DELETE /requests``. A secret that is made here is shown once; no other ever comes out. Errors are
``{"error": {"code", "message"}}`` with the codes ``invalid``, ``not_found`` and ``ambiguous``.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from msgspec import DecodeError, Struct, to_builtins
from msgspec.json import decode

from gateway.simulator.arrivals import Arrival, Arrivals
from gateway.simulator.faults import Fault, Faults
from gateway.simulator.keys import Ambiguous, KeyRing, SimulatedKey

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Scopes(Struct, forbid_unknown_fields=True):
    scopes: frozenset[str]


class _NewKey(Struct, forbid_unknown_fields=True):
    scopes: frozenset[str]
    secret: str = ""
    workspace: str = "wks_demo"
    api_key_id: str = ""


class Control:
    """The handlers over the simulator's keys, faults and record."""

    def __init__(self, keys: KeyRing, faults: Faults, arrivals: Arrivals) -> None:
        self._keys = keys
        self._faults = faults
        self._arrivals = arrivals

    def app(self) -> web.Application:
        """The control port's application."""
        app = web.Application(middlewares=[_answer_errors])
        app.router.add_get("/keys", self.list_keys)
        app.router.add_post("/keys", self.add_key)
        app.router.add_patch("/keys/{name}", self.edit_key)
        app.router.add_delete("/keys/{name}", self.revoke_key)
        app.router.add_get("/faults", self.list_faults)
        app.router.add_post("/faults", self.add_fault)
        app.router.add_delete("/faults", self.clear_faults)
        app.router.add_get("/requests", self.list_requests)
        app.router.add_delete("/requests", self.clear_requests)
        return app

    async def list_keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [_shown_key(key) for key in self._keys]})

    async def add_key(self, request: web.Request) -> web.Response:
        """Takes ``scopes`` and perhaps ``secret``, ``workspace``, ``api_key_id``."""
        given = decode(await request.read(), type=_NewKey)
        made = {} if given.secret else {"secret": f"pl_v2_{secrets.token_hex(16)}"}
        key = SimulatedKey(made.get("secret", given.secret), given.scopes, given.workspace, given.api_key_id)
        self._keys.add(key)
        return web.json_response(_shown_key(key) | made, status=201)

    async def edit_key(self, request: web.Request) -> web.Response:
        given = decode(await request.read(), type=_Scopes)
        key = self._keys.named(request.match_info["name"])
        return web.json_response(_shown_key(self._keys.edit(key.secret, given.scopes)))

    async def revoke_key(self, request: web.Request) -> web.Response:
        key = self._keys.named(request.match_info["name"])
        self._keys.revoke(key.secret)
        return web.json_response({"api_key_id": key.api_key_id, "revoked": True})

    async def list_faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [_shown_fault(fault, left) for fault, left in self._faults.in_force()]})

    async def add_fault(self, request: web.Request) -> web.Response:
        fault = self._faults.add(decode(await request.read()))
        return web.json_response(_shown_fault(fault, fault.count), status=201)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"cleared": True})

    async def list_requests(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": [_shown_arrival(arrival) for arrival in self._arrivals.latest()]})

    async def clear_requests(self, _: web.Request) -> web.Response:
        self._arrivals.clear()
        return web.json_response({"cleared": True})


def _shown_key(key: SimulatedKey) -> dict[str, Any]:
    """A key without its secret."""
    return {
        "api_key_id": key.api_key_id,
        "preview": key.preview,
        "scopes": sorted(key.scopes),
        "workspace": key.workspace,
    }


def _shown_fault(fault: Fault, left: int | None) -> dict[str, Any]:
    """A fault's parts that differ from their defaults, and how many requests it will still strike."""
    return {**to_builtins(fault), "left": left}


def _shown_arrival(arrival: Arrival) -> dict[str, Any]:
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
    except (ValueError, DecodeError) as error:
        return _error(400, "invalid", str(error))
    except web.HTTPException as error:
        return _error(error.status, "not_found", f"{request.method} {request.path}: {error.reason}")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
