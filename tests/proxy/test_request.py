"""`gateway.proxy.request`: what aiohttp would serve and this gateway does not; `tests/wire` has the long tables."""

import pytest

from tests.support.in_process import Running
from tests.support.sentinels import TOKEN

LINE = "GET /api/v2/threads HTTP/1.1"
AUTH = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        ([LINE, "Host: gateway.test", AUTH], 200, ""),
        ([LINE, "Host: [::1]:8080", AUTH], 200, ""),
        ([LINE, "Host: 127.0.0.1:8080", AUTH], 200, ""),
        ([LINE, "Host: a_b.svc.cluster.local", AUTH], 200, ""),
        ([LINE.replace("1.1", "1.0"), AUTH], 200, ""),
        ([LINE, AUTH], 400, "invalid_request"),
        ([LINE, "Host:", AUTH], 400, "invalid_request"),
        ([LINE, "Host: a", "Host: a", AUTH], 400, "invalid_request"),
        ([LINE, "Host: a/b", AUTH], 400, "invalid_request"),
        ([LINE, "Host: a@b", AUTH], 400, "invalid_request"),
        ([LINE, "Host: a, b", AUTH], 400, "invalid_request"),
        ([LINE.replace("1.1", "2.0"), "Host: a", AUTH], 505, "version_not_supported"),
        ([LINE.replace("1.1", "0.9"), "Host: a", AUTH], 505, "version_not_supported"),
        ([LINE, "Host: a", AUTH, "Content-Length: 5"], 400, "invalid_request"),
        ([LINE, "Host: a", AUTH, "Content-Length: 0"], 200, ""),
        ([LINE, "Host: a", AUTH, "Transfer-Encoding: chunked"], 400, "invalid_request"),
        ([LINE, "Host: a", AUTH, "Expect: 200-ok"], 417, "expectation_failed"),
        ([LINE, "Host: a", AUTH, "Via: 1.1 productlane-gateway"], 508, "loop_detected"),
        ([LINE, "Host: a", AUTH, "Via: 1.1 other-proxy"], 200, ""),
        (
            ["POST /api/v2/threads HTTP/1.1", "Host: a", AUTH, "Transfer-Encoding: gzip, chunked"],
            400,
            "invalid_request",
        ),
        (["POST /api/v2/threads HTTP/1.0", "Host: a", AUTH, "Transfer-Encoding: chunked"], 400, "invalid_request"),
        (["GET http://gateway.test/api/v2/threads HTTP/1.1", "Host: gateway.test", AUTH], 400, "invalid_request"),
        (["OPTIONS * HTTP/1.1", "Host: a", AUTH], 400, "invalid_request"),
        (["CONNECT evil:443 HTTP/1.1", "Host: evil:443", AUTH], 400, "invalid_request"),
        (["TRACE /api/v2/threads HTTP/1.1", "Host: a", AUTH], 405, "method_not_allowed"),
    ],
)
async def test_a_request_is_what_the_rfc_says_or_refused(
    run: Running, lines: list[str], status: int, code: str
) -> None:
    """Whatever two servers could take for different requests is refused, and nothing of it reaches the upstream."""
    response = await run.raw("\r\n".join([*lines, "", ""]).encode())

    assert status == response.status
    assert code == ("" if status == 200 else response.code)
    assert (status == 200) == bool(run.upstream.arrivals)


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
