"""The admin listener's application: probes, metrics and status. It reads, and changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from aiohttp import web

from gateway.admin.access import Token, check
from gateway.admin.connections import AdminConnection
from gateway.admin.health import Health
from gateway.admin.page import SECURITY_POLICY, page
from gateway.admin.status import encode
from gateway.admin.throttle import Throttle
from gateway.telemetry import exposition
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.status import Status

METRICS: Final = web.AppKey("metrics", Metrics)
HEALTH: Final = web.AppKey("health", Health)
STATUS: Final[web.AppKey[Callable[[], Status]]] = web.AppKey("status")
RENDERER: Final = web.AppKey("renderer", ThreadPoolExecutor)
TOKEN: Final[web.AppKey[Token]] = web.AppKey("token")
THROTTLE: Final = web.AppKey("throttle", Throttle)

_CODES: Final = {403: "forbidden", 404: "not_found", 405: "method_not_allowed", 421: "misdirected_request"}


def admin_app(
    metrics: Metrics, health: Health, status: Callable[[], Status], token: Token = lambda: None
) -> web.Application:
    """``/metrics``, ``/livez``, ``/readyz``, ``/status`` and ``/status.json``; GET and HEAD only.

    ``status`` is called on the loop. ``token`` is as for `gateway.admin.access`.
    """
    app = web.Application(middlewares=[_plain_errors])
    app[METRICS], app[HEALTH], app[STATUS], app[TOKEN], app[THROTTLE] = metrics, health, status, token, Throttle()
    app.cleanup_ctx.append(_renderer)
    app.on_response_prepare.append(_same_headers)
    served = {
        "/metrics": _metrics,
        "/livez": _livez,
        "/readyz": _readyz,
        "/status": _status_page,
        "/status.json": _status_json,
    }
    for path, handler in served.items():
        app.router.add_get(path, handler, expect_handler=_expects_nothing)
    return app


async def _expects_nothing(_: web.Request) -> web.StreamResponse:
    """RFC 9110 section 10.1.1. aiohttp's own refusal quotes the field."""
    raise web.HTTPExpectationFailed


async def _metrics(request: web.Request) -> web.Response:
    accept = ",".join(request.headers.getall("Accept", ()))
    content_type = exposition.content_type(accept)
    metrics = request.app[METRICS]

    async def rendered() -> bytes:
        metrics.refresh()
        return await _in_thread(request, lambda: metrics.render(accept))

    body = await request.app[THROTTLE].get(content_type, rendered)
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _in_thread(request: web.Request, make: Callable[[], bytes]) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(request.app[RENDERER], make)


async def _status(request: web.Request, make: Callable[[Status], bytes]) -> bytes:
    async def made() -> bytes:
        status = request.app[STATUS]()
        return await _in_thread(request, lambda: make(status))

    return await request.app[THROTTLE].get(request.path, made)


async def _livez(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    reasons = request.app[HEALTH].reasons_not_ready()
    if reasons:
        return web.Response(status=503, text="".join(f"{reason}\n" for reason in reasons))
    return web.Response(text="ok\n")


async def _status_json(request: web.Request) -> web.Response:
    return web.Response(body=await _status(request, encode), content_type="application/json")


async def _status_page(request: web.Request) -> web.Response:
    return web.Response(
        body=await _status(request, lambda status: page(status).encode("utf-8", "replace")),
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": SECURITY_POLICY, "Referrer-Policy": "no-referrer"},
    )


async def _renderer(app: web.Application) -> AsyncIterator[None]:
    """A thread of its own: scrapes wait for each other, and for no other work in threads."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics") as pool:
        app[RENDERER] = pool
        yield
        await app[THROTTLE].close()


async def _same_headers(_: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"


@web.middleware
async def _plain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    connection = request.protocol
    if isinstance(connection, AdminConnection):
        connection.serves(busy=True)
    try:
        check(request, request.app[TOKEN])
        return await handler(request)
    except web.HTTPException as error:
        body = {"error": {"code": _CODES.get(error.status, "invalid_request"), "message": error.reason}}
        kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return web.Response(
            status=error.status, body=msgspec.json.encode(body), content_type="application/json", headers=kept
        )
    finally:
        if isinstance(connection, AdminConnection):
            connection.serves(busy=False)
