"""`gateway.admin.access`: what a peer may see by its address, its Host and its token."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.admin.access import check

TOKEN = "a-token-for-the-status"


class Transport:
    """As much of a transport as is asked for: who is at the other end."""

    def __init__(self, peer: object) -> None:
        self.peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.peer if name == "peername" else default


def verdict(peer: object, path: str = "/status", token: str | None = TOKEN, **fields: str) -> int:
    """The status of the refusal; 200 if there is none."""
    transport: Any = Transport(peer)
    request = make_mocked_request("GET", path, headers={"Host": "localhost"} | fields, transport=transport)
    try:
        check(request, lambda: token)
    except web.HTTPException as refused:
        return refused.status
    return 200


POD, LOCAL = ("10.0.0.7", 4711), ("127.0.0.1", 4711)


@pytest.mark.parametrize(
    ("peer", "fields", "expected"),
    [
        (LOCAL, {}, 200),
        (("::1", 1, 0, 0), {}, 200),
        (("::ffff:127.0.0.1", 1, 0, 0), {}, 200),
        ("", {}, 200),
        (POD, {}, 403),
        (POD, {"Authorization": TOKEN}, 403),
        (POD, {"Authorization": f"Basic {TOKEN}"}, 403),
        (POD, {"Authorization": f"Bearer {TOKEN}x"}, 403),
        (POD, {"Authorization": "Bearer é"}, 403),
        (POD, {"Authorization": f"Bearer {TOKEN}"}, 200),
        (POD, {"Authorization": f"Bearer {TOKEN}", "Host": "10.0.0.9:9090"}, 200),
        (("fe80::1%eth0", 1, 0, 2), {}, 403),
        (LOCAL, {"Host": "rebound.example"}, 421),
        (LOCAL, {"Host": ""}, 421),
        (LOCAL, {"Host": "localhost.rebound.example"}, 421),
    ],
)
def test_who_may_see_the_status(peer: object, fields: dict[str, str], expected: int) -> None:
    """This machine sees it by its own names; other hosts see it with the token alone."""
    assert [expected] * 2 == [verdict(peer, path, **fields) for path in ("/status", "/status.json")]


def test_without_a_token_nobody_else_sees_it() -> None:
    """Without a status token no other host sees the status; probes and metrics are open to all."""
    assert 403 == verdict(POD, token=None, Authorization="Bearer ")
    assert 403 == verdict(POD, token="", Authorization="Bearer ")
    assert [200] * 3 == [verdict(POD, path, None) for path in ("/metrics", "/livez", "/readyz")]
