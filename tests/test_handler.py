"""Requests through a gateway on real sockets."""

from tests.kit import KEY, Running


async def test_an_allowed_request_reaches_the_upstream_with_the_key(run: Running) -> None:
    """A caller sends its own token; the upstream sees the key, the very target, and nothing of the caller's."""
    response = await run.ask("GET", "/api/v2/threads?a=%2F&b=%41%7e&c=x&&", "X-Forwarded-For: 1.2.3.4", "Cookie: a=b")

    (arrival,) = run.upstream.arrivals
    assert 200 == response.status
    assert b'{"ok":true}' == response.body
    assert b"/api/v2/threads?a=%2F&b=%41%7e&c=x&&" == arrival.target
    assert KEY == arrival.bearer
    assert ["host", "via", "authorization"] == [name.lower() for name, _ in arrival.fields]
