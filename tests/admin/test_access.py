"""`gateway.admin.access`: what a peer may see by its address, its Host and its token."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.admin.access import Asked, Denied, check

TOKEN = "a-token-for-the-status"


def verdict(peer: str, path: str = "/status", token: str | None = TOKEN, **fields: str) -> int:
    """The status of the refusal; 200 if there is none."""
    asked = Asked("GET", path, CIMultiDictProxy(CIMultiDict({"Host": "localhost"} | fields)), peer)
    try:
        check(asked, lambda: token)
    except Denied as denied:
        return denied.status
    return 200


POD, LOCAL = "10.0.0.7", "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "fields", "expected"),
    [
        (LOCAL, {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("", {}, 200),
        (POD, {}, 403),
        (POD, {"Authorization": TOKEN}, 403),
        (POD, {"Authorization": f"Basic {TOKEN}"}, 403),
        (POD, {"Authorization": f"Bearer {TOKEN}x"}, 403),
        (POD, {"Authorization": "Bearer é"}, 403),
        (POD, {"Authorization": f"Bearer {TOKEN}"}, 200),
        (POD, {"Authorization": f"Bearer {TOKEN}", "Host": "10.0.0.9:9090"}, 200),
        ("fe80::1%eth0", {}, 403),
        (LOCAL, {"Host": "rebound.example"}, 421),
        (LOCAL, {"Host": ""}, 421),
        (LOCAL, {"Host": "localhost.rebound.example"}, 421),
    ],
)
def test_who_may_see_the_status(peer: str, fields: dict[str, str], expected: int) -> None:
    """This machine sees it by its own names; other hosts see it with the token alone."""
    assert [expected] * 2 == [verdict(peer, path, **fields) for path in ("/status", "/status.json")]


def test_without_a_token_nobody_else_sees_it() -> None:
    """Without a status token no other host sees the status; probes and metrics are open to all."""
    assert 403 == verdict(POD, token=None, Authorization="Bearer ")
    assert 403 == verdict(POD, token="", Authorization="Bearer ")
    assert [200] * 3 == [verdict(POD, path, None) for path in ("/metrics", "/livez", "/readyz")]
