"""`gateway.core.target`: a target is read in one way only, or refused."""

import re
import unicodedata
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import MAX_TARGET, Target, read_target

ACCEPTED = {
    "/api/v2/threads": ("api", "v2", "threads"),
    "/api/v2/threads/th_1.2~3-4": ("api", "v2", "threads", "th_1.2~3-4"),
    "/api/v2/threads/.hidden": ("api", "v2", "threads", ".hidden"),
    "/api/v2/threads/a..b": ("api", "v2", "threads", "a..b"),
    "/api/v2/threads/" + "a" * 128: ("api", "v2", "threads", "a" * 128),
    "/api/v2/threads?": ("api", "v2", "threads"),
    "/api/v2/threads?a=/../&b=//": ("api", "v2", "threads"),
    "/api/v2/contacts/by-email?email=a%40b.c": ("api", "v2", "contacts", "by-email"),
    "/API/V2/threads": ("API", "V2", "threads"),
    "/x": ("x",),
}

# What servers are known to read in two ways (the advisories of Envoy, Istio, nginx and Tomcat on paths).
REFUSED = """
/ /api/v2/ /api/v2/threads/ //api/v2/threads /api//v2/threads /api/v2//companies/1 /api/v2/threads// ///
/api/v2/threads/../companies/1 /api/v2/threads/.. /api/v2/.. /../api/v2/threads /.. /. /api/v2/./threads
/api/v2/threads/. /api/v2/%2e%2e/companies /api/v2/.%2e/companies /api/v2/%2E./companies /%2e/api/v2/threads
/api/v2/threads/..%2fcompanies%2f1 /api/v2/threads/..%5ccompanies /api/v2/threads\\..\\companies /api\\v2\\threads
/api/v2/threads%2f1 /api/v2/threads%5c1 /api/v2/%252e%252e%252fcompanies /api/v2/%%32%65%%32%65/companies
/api/v2/%25252e%25252e /api/v2/threads/..;/companies/1 /api/v2/threads;v=1 /api/v2;/threads
/api/v2/threads/;/../companies /api/v2/threads/1%00 /api/v2/threads/%00/../.. /api/v2/threads%0d%0aX-Evil:%201
/api/v2/threads%09 /api/v2/threads%20 /api/v2/threads/%c0%ae%c0%ae/companies /api/v2/threads/%c0%af
/api/v2/threads/%ef%bc%8e%ef%bc%8e /api/v2/%e2%81%84
/api/v2/threads/．．/companies /api/v2/threads/⁄ /api/v2/threads/1é /api/v2/threads/1\udcff /api/v2/threads/1#
/api/v2/threads/1#/../../companies/2 /api/v2/threads%3fx /api/v2/threads%23x /api/v2/threads/a#b?c /api/v2/ThReAdS%41
/%61pi/v2/threads /api/v2x/.. /api/v2/threads/a:b /api/v2/threads/a@b /api/v2/threads/a,b /api/v2/threads/a+b
/api/v2/threads/a=b /api/v2/threads/a&b /api/v2/threads/a'b /api/v2/threads/a"b /api/v2/threads/a*b /api/v2/threads/(a)
/api/v2/threads/<a> /api/v2/threads/{id} /api/v2/threads/[1] /api/v2/threads/a|b /api/v2/threads/a^b /api/v2/threads/$a
http://evil/api/v2/threads https://productlane.com/api/v2/threads ftp://evil/x evil:443 * ?x //evil/api/v2/threads
@evil/api/v2/threads :8080/api/v2/threads /\\evil/api/v2 api/v2/threads ../api/v2/threads
/api/v2/threads/\u212a /api/v2/threads/ſ /api/v2/threads/... /api/v2/companies./1 /api/v2/contacts/by-email.
""".split()  # noqa: SIM905 - one to a line would fill two screens

# Pieces of the paths that have fooled proxies, for random sentences.
TOKENS = """
/ / / . .. api v2 threads companies th_1 Threads ... a~b %2e %2E %2f %2F %5c %25 %252e %252f %00 %0a %0d%0a %09 %20 %23
%3b %3f %40 %41 %61 %7e %c0%ae %c0%af %e0%80%ae %e2%81%84 %ef%bc%8e %ef%bc%8f %% %u002e %g1 // ; ;a=b \\ \\\\ # @ : +
, = & * | ~ - _ ．．／ ⁄ \x00 \xad \u200b \u212a \u017f \udcff é e\u0301
""".split()  # noqa: SIM905 - one to a line would fill two screens


def readings(path: str) -> set[str]:
    """Every way in which some server is known to read a path, each applied to the result of each other."""
    found: set[str] = set()
    pending = {path}
    for _ in range(4):
        pending = {step(one) for one in pending for step in _STEPS} - found
        found |= pending
    return found


def _merged(path: str) -> str:
    return re.sub("/{2,}", "/", path)


def _resolved(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _overlong(path: str) -> str:
    """UTF-8 as a decoder reads it that takes the bits of C0 AE and E0 80 AE for a dot (RFC 3629 section 10)."""
    raw = unquote_to_bytes(path.encode("utf-8", "surrogatepass"))
    raw = re.sub(rb"\xc0([\x80-\xbf])", lambda m: bytes([m[1][0] & 0x3F]), raw)
    raw = re.sub(rb"\xe0\x80([\x80-\xbf])", lambda m: bytes([m[1][0] & 0x3F]), raw)
    return raw.decode("latin-1")


_STEPS = (
    lambda p: p,
    unquote,
    lambda p: unquote(p, encoding="latin-1"),
    _overlong,
    lambda p: re.sub("%u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), p),
    _merged,
    _resolved,
    lambda p: p.replace("\\", "/"),
    lambda p: re.sub(";[^/]*", "", p),
    lambda p: re.split("[\x00\r\n#?]", p)[0],
    lambda p: p.rstrip("/ .\t") or "/",
    lambda p: unicodedata.normalize("NFKC", p),
    lambda p: re.sub("[\x00-\x20\xad\u200b\x7f]", "", p),
)


def outcome(raw: str) -> Target | None:
    """The target, or None if it is refused."""
    try:
        return read_target("GET", raw)
    except Refused:
        return None


@pytest.mark.parametrize("raw", ACCEPTED)
def test_a_plain_target_is_taken_as_it_is(raw: str) -> None:
    """What this API's clients send is accepted, with nothing in it changed."""
    target = read_target("POST", raw)

    assert Target("POST", raw, ACCEPTED[raw]) == target


@pytest.mark.parametrize(
    "raw", [*REFUSED, "", " ", "/api/v2/threads ", "/api/v2/thr eads", "/api/v2/threads\t", "/a\n", "/a\r\nX: 1"]
)
def test_an_ambiguous_target_is_refused(raw: str) -> None:
    """A target that two servers could read differently never gets as far as the policy."""
    with pytest.raises(Refused) as caught:
        read_target("GET", raw)

    assert (Code.INVALID_REQUEST, Reason.TARGET) == (caught.value.code, caught.value.reason)


@pytest.mark.parametrize("raw", ["/api/v2/threads/{}", "/api/v2/{}/threads", "/{}"])
def test_a_segment_has_at_most_128_characters(raw: str) -> None:
    """An id can be as long as any id of this API, and not long enough to be a burden on what reads it next."""
    assert outcome(raw.format("a" * 128)) is not None
    assert outcome(raw.format("a" * 129)) is None


@pytest.mark.parametrize(
    "query",
    ["a=%2F&b=%41%7e&c=é", "", "a=b?c=d", "a[]=1&b={}|^`\"'<>\\", "%%%zz", "+%20", "日本=\U0001f600", "a=\udcff"],
)
def test_a_query_crosses_byte_for_byte(query: str) -> None:
    """Filters, cursors and e-mail addresses reach Productlane as they were written, whatever their encoding."""
    raw = f"/api/v2/threads?{query}"

    assert raw == read_target("GET", raw).raw
    assert f"/threads?{query}" == read_target("GET", raw).below_base


@pytest.mark.parametrize("bad", ["\x00", "\t", "\n", "\r", "\x1f", " ", "#", "\x7f"])
@pytest.mark.parametrize("query", ["{}", "a={}b", "a=b{}"])
def test_a_query_cannot_end_the_target_or_the_line(bad: str, query: str) -> None:
    """No control, space or fragment in a query can start another request."""
    assert outcome("/api/v2/threads?" + query.format(bad)) is None
    assert outcome("/api/v2/threads?" + query.format("x")) is not None


def test_a_target_has_a_length_limit() -> None:
    """A target is at most 8192 characters, query and all; a longer one is answered 414."""
    start = "/api/v2/threads?"
    longest = start + "a" * (MAX_TARGET - len(start))

    assert longest == read_target("GET", longest).raw
    with pytest.raises(Refused) as caught:
        read_target("GET", longest + "a")
    assert Code.URI_TOO_LONG is caught.value.code


def test_a_refusal_does_not_repeat_the_target() -> None:
    """A refusal shows neither path nor query, which may hold personal data, to the caller or the log."""
    for raw in ("/api/v2/PERSON%40/x", "/api/v2/threads?PERSON#", "PERSON", "/PERSON/..", "/x?" + "PERSON" * 2000):
        with pytest.raises(Refused) as caught:
            read_target("GET", raw)

        assert "PERSON" not in caught.value.message + caught.value.note


@pytest.mark.parametrize(
    ("method", "judged"), [("HEAD", "GET"), ("GET", "GET"), ("POST", "POST"), ("head", "head"), ("DELETE", "DELETE")]
)
def test_head_is_judged_as_get(method: str, judged: str) -> None:
    """HEAD is judged as GET, other methods as themselves, and the method is sent unchanged."""
    target = read_target(method, "/api/v2/threads")

    assert judged == target.judged_method
    assert method == target.method


@pytest.mark.parametrize("raw", [path for path in REFUSED if path.startswith("/") and ("%" in path or "/." in path)])
def test_the_oracle_sees_the_attacks(raw: str) -> None:
    """The readings used below do find another reading of the paths that are known to have one."""
    assert {raw} != readings(raw)


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map(lambda tokens: "/" + "".join(tokens)))
@example("/api/v2/threads/th_1")
@example("/api/v2/threads/.a..b~_-")
def test_an_accepted_path_has_one_reading(raw: str) -> None:
    """An accepted path names the judged endpoint however a server decodes, resolves, merges, cuts or folds it."""
    target = outcome(raw)

    assert target is None or {raw} == readings(raw)


@given(st.text(max_size=40) | st.text("/.%aA2eEfF5cC;\\?#", max_size=12))
def test_nothing_is_changed_on_the_way(raw: str) -> None:
    """Any target is either sent exactly as judged or refused."""
    target = outcome(raw)

    if target is not None:
        assert raw == target.raw
        assert "/" + "/".join(target.segments) == raw.partition("?")[0]
