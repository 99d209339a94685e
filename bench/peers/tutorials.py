"""The proxies that a search for Python finds: ``python -m bench.peers.tutorials aiohttp|starlette PORT URL CA``."""

import ssl
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

KEY = "pl_v2_of-the-bench-0001"


def with_aiohttp(port: int, url: str, ca: str) -> None:
    """One session, headers copied, bodies read whole."""
    trust = ssl.create_default_context(cafile=ca) if url.startswith("https") else None

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as app["session"]:
            yield

    async def handle(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        headers["Authorization"] = f"Bearer {KEY}"
        async with request.app["session"].request(
            request.method, url + request.path_qs, headers=headers, data=await request.read(), ssl=trust or True
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def with_starlette(port: int, url: str, ca: str) -> None:
    """The same with Starlette, httpx and uvicorn."""
    import httpx  # type: ignore[import-not-found, unused-ignore]
    import uvicorn  # type: ignore[import-not-found, unused-ignore]
    from starlette.applications import Starlette  # type: ignore[import-not-found, unused-ignore]
    from starlette.requests import Request  # type: ignore[import-not-found, unused-ignore]
    from starlette.responses import Response  # type: ignore[import-not-found, unused-ignore]
    from starlette.routing import Route  # type: ignore[import-not-found, unused-ignore]

    client = httpx.AsyncClient(verify=ssl.create_default_context(cafile=ca) if url.startswith("https") else True)

    async def handle(request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        headers["authorization"] = f"Bearer {KEY}"
        target = f"{url}{request.url.path}?{request.url.query}"
        answer = await client.request(request.method, target, headers=headers, content=await request.body())
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Response(answer.content, answer.status_code, kept)

    app = Starlette(routes=[Route("/{path:path}", handle, methods=["GET", "POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    made_with = {"aiohttp": with_aiohttp, "starlette": with_starlette}[sys.argv[1]]
    made_with(int(sys.argv[2]), sys.argv[3], sys.argv[4])
