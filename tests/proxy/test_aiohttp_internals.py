"""What the listener uses of aiohttp beyond its documentation exists, or nothing starts."""

import asyncio
import inspect
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from gateway.core.target import MAX_TARGET
from gateway.proxy import aiohttp_internals as footing
from gateway.proxy import edge, listener
from gateway.runtime import server
from tests.support.kit import Running

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


def _parser() -> HttpRequestParser:
    """aiohttp's parser with the listener's limits."""
    loop, limits = asyncio.get_running_loop(), edge.PARSER_LIMITS
    return HttpRequestParser(BaseProtocol(loop), loop, 1 << 16, **cast(Any, limits))


async def _parse(data: bytes) -> BaseException | None:
    """What aiohttp's parser raises for these bytes, given the listener's limits."""
    parser = _parser()
    try:
        parser.feed_data(data)
    except BadHttpMessage as failure:
        return failure
    return None


def test_this_aiohttp_has_all_of_it() -> None:
    """The installed release is one that the gateway stands on."""
    assert [] == footing.missing()


@pytest.mark.parametrize("name", footing.METHODS)
def test_a_method_that_changes_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A release whose method takes other parameters is named."""
    monkeypatch.setattr(RequestHandler, name, lambda self, other: None)

    assert [True] == [name in missing for missing in footing.missing()]


@pytest.mark.parametrize("name", footing.ATTRIBUTES)
def test_an_attribute_that_goes_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A release without the attribute is named, though nothing fails before the first request."""
    for kind in RequestHandler.__mro__:
        slots = getattr(kind, "__slots__", ())
        if name in slots:
            monkeypatch.setattr(kind, "__slots__", tuple(slot for slot in slots if slot != name))

    assert [f"RequestHandler.{name}"] == footing.missing()


def test_nothing_starts_on_another_footing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process does not start where anything is missing; the line names it."""
    monkeypatch.setattr(footing, "ATTRIBUTES", ("_gone",))

    with pytest.raises(server.CannotStart, match=r"lacks what this gateway stands on: RequestHandler\._gone"):
        server.check_runtime(debug=False)


async def test_limits_that_are_not_taken_stop_the_listener(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that forgets a limit is caught when the listener is made."""
    usual = RequestHandler.__init__

    def forgets(self: RequestHandler, *args: object, max_field_size: int = 0, **options: object) -> None:
        usual(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(RequestHandler, "__init__", forgets)
    handler, limits = run.gateway._handler, run.gateway._snapshot.settings.limits

    with pytest.raises(RuntimeError, match="max_field_size=8190"):
        listener.Listener(handler, limits, run.log)


def test_no_name_of_ours_hides_one_of_aiohttps() -> None:
    """What the connection adds has names that its base has not."""
    own = set(listener.Connection.__slots__)
    base = {name for kind in RequestHandler.__mro__ for name in (*getattr(kind, "__slots__", ()), *vars(kind))}

    assert set() == own & base


def test_whatever_is_overridden_or_read_is_on_the_list() -> None:
    """The list is whole: every override, and every private name, that the listener's source uses."""
    base = {name for kind in RequestHandler.__mro__ for name in (*getattr(kind, "__slots__", ()), *vars(kind))}
    overrides = {name for name in vars(listener.Connection) if name in base and not name.startswith("__")}
    functions = [*vars(listener.Connection).values(), *vars(listener.Listener).values()]
    named = {name for function in functions if inspect.isfunction(function) for name in function.__code__.co_names}
    private = {name for name in named & base if name.startswith("_") and not name.endswith("__")}

    assert overrides <= set(footing.METHODS)
    assert private <= set(footing.ATTRIBUTES)


async def test_the_parser_says_too_long_as_the_edge_reads_it() -> None:
    """A long target carries its limit, a long field carries another, and too many fields have their sentence."""
    target = await _parse(b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1\r\n\r\n")
    name = await _parse(HEAD + b"X: " + b"a" * (edge.MAX_HEAD + 1) + b"\r\n\r\n")
    count = await _parse(HEAD + b"X: y\r\n" * edge.MAX_FIELDS + b"\r\n")

    assert isinstance(target, LineTooLong)
    assert isinstance(name, LineTooLong)
    assert isinstance(count, BadHttpMessage)
    assert (MAX_TARGET, edge.MAX_HEAD) == (target.args[1], name.args[1])
    assert edge.TOO_MANY_FIELDS == count.message


async def test_a_good_message_is_told_from_a_failure(run: Running) -> None:
    """The connection knows a parsed head by its type, which is the C parser's own."""
    parser = _parser()
    ((message, _),) = parser.feed_data(HEAD + b"\r\n")[0]

    assert isinstance(message, RawRequestMessage)
    assert "400" == str((await run.raw(b"junk\r\n\r\n")).status)
