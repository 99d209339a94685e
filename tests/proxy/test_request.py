"""`gateway.proxy.request`: what a first request gets wrong; `tests/wire` has the tables of what is refused."""

import pytest

from tests.support.in_process import Running
from tests.support.sentinels import TOKEN

LINE = "GET /api/v2/threads HTTP/1.1"
AUTH = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("data", "fix"),
    [
        (b"get /api/v2/threads HTTP/1.1\r\nHost: a\r\n\r\n", "write the method in capitals, as `GET`"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "use http://, since this listener has no TLS"),
    ],
    ids=["lower case", "TLS"],
)
async def test_what_is_nearly_http_says_what_to_do(run: Running, data: bytes, fix: str) -> None:
    """A method in lower case and TLS to a plain listener are two mistakes that a first request makes."""
    response = await run.raw(data)

    assert (400, "invalid_request") == (response.status, response.code)
    assert response.json["error"]["details"]["gateway"]["fix"].endswith(f"; {fix}")
