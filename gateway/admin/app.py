"""The admin listener's application: probes, metrics and status. It reads, and changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from aiohttp import web

from gateway.admin.health import Health
from gateway.admin.page import SECURITY_POLICY, page
from gateway.admin.status import encode
from gateway.telemetry import exposition
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.status import Status

METRICS: Final = web.AppKey("metrics", Metrics)
HEALTH: Final = web.AppKey("health", Health)
STATUS: Final[web.AppKey[Callable[[], Status]]] = web.AppKey("status")
RENDERER: Final = web.AppKey("renderer", ThreadPoolExecutor)

_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


def admin_app(metrics: Metrics, health: Health, status: Callable[[], Status]) -> web.Application:
    """``/metrics``, ``/livez``, ``/readyz``, ``/status`` and ``/status.json``; GET and HEAD only.

    ``status`` is called at each request for it, on the loop.
    """
    app = web.Application(middlewares=[_plain_errors])
    app[METRICS], app[HEALTH], app[STATUS] = metrics, health, status
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


class Connection(web.RequestHandler):
    """aiohttp's connection, but that it does not quote to a peer what of its bytes could not be parsed."""

    __slots__ = ()

    def __init__(self, server: web.Server) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it is what quotes them
    ) -> web.StreamResponse:
        return super().handle_error(request, status, exc, "The request is not valid HTTP/1.1.")


async def _expects_nothing(_: web.Request) -> web.StreamResponse:
    """RFC 9110 section 10.1.1. aiohttp's own refusal quotes the field."""
    raise web.HTTPExpectationFailed


async def _metrics(request: web.Request) -> web.Response:
    accept = ",".join(request.headers.getall("Accept", ()))
    metrics = request.app[METRICS]
    metrics.refresh()
    body = await asyncio.get_running_loop().run_in_executor(request.app[RENDERER], metrics.render, accept)
    return web.Response(body=body, headers={"Content-Type": exposition.content_type(accept)})


async def _livez(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    reasons = request.app[HEALTH].reasons_not_ready()
    if reasons:
        return web.Response(status=503, text="".join(f"{reason}\n" for reason in reasons))
    return web.Response(text="ok\n")


async def _status_json(request: web.Request) -> web.Response:
    return web.Response(body=encode(request.app[STATUS]()), content_type="application/json")


async def _status_page(request: web.Request) -> web.Response:
    return web.Response(
        body=page(request.app[STATUS]()).encode("utf-8", "replace"),
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": SECURITY_POLICY, "Referrer-Policy": "no-referrer"},
    )


async def _renderer(app: web.Application) -> AsyncIterator[None]:
    """One thread of its own: scrapes wait for each other, and for nothing else that the loop has in threads."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics") as pool:
        app[RENDERER] = pool
        yield


async def _same_headers(_: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"


@web.middleware
async def _plain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        body = {"error": {"code": _CODES.get(error.status, "invalid_request"), "message": error.reason}}
        kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return web.Response(
            status=error.status, body=msgspec.json.encode(body), content_type="application/json", headers=kept
        )
