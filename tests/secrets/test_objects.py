"""Objects with configuration, keys or identities show no secret when they are printed or copied."""

import copy
import gc
import json
import pickle
import pprint
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import msgspec
import pytest

from gateway.core.secret import Mask, Secret
from tests.support.hunt import found
from tests.support.in_process import Running, running
from tests.support.raw_caller import head
from tests.support.recording import Upstream

# Code, not data: what hangs on these is the program itself.
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


@pytest.fixture
async def used(tmp_path: Path, upstream: Upstream) -> Any:
    """A gateway that has served, so that its identity cache is filled."""
    async with running(tmp_path, upstream) as run:
        for target in ("/api/v2/me", "/api/v2/threads", "/api/v2/none"):
            await run.raw(head("GET", target))
        yield run


def reached(start: object) -> Iterator[object]:
    """Every object that can be reached from this one, but not through code and not into a secret."""
    seen: dict[int, object] = {}
    ahead = [start]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen or isinstance(thing, _CODE):
            continue
        seen[id(thing)] = thing
        if not isinstance(thing, Secret | Mask):
            ahead.extend(gc.get_referents(thing))
    yield from seen.values()


def shown(thing: object) -> dict[str, bytes]:
    """An object in every way in which tools print one."""
    ways: dict[str, Callable[[object], str]] = {"repr": repr, "str": str, "format": format, "pprint": pprint.pformat}
    kind = type(thing).__name__
    return {f"{way} of {kind}": printed(thing).encode("utf-8", "replace") for way, printed in ways.items()}


async def test_no_object_of_the_configuration_shows_a_secret(used: Running) -> None:
    """A snapshot, printed in any way, shows previews at most, and no text of a secret lies outside a `Secret`."""
    snapshot = used.gateway.parts.facts.snapshot
    things = [*reached(snapshot)]
    secrets = [thing for thing in things if isinstance(thing, Secret)]
    ours = [thing for thing in things if type(thing).__module__.startswith("gateway.")]
    texts = [thing for thing in things if isinstance(thing, str | bytes | bytearray)]

    assert 1 == len(secrets)
    assert {"Snapshot", "Key", "Slot", "Upstream", "Policy", "Callers", "Routes"} <= {
        type(thing).__name__ for thing in ours
    }
    assert [] == [hit for thing in ours for hit in found(shown(thing))]
    assert [] == [text for text in texts if found({"text": text.encode() if isinstance(text, str) else bytes(text)})]
    assert [] == found({"vars": str([vars(thing) for thing in ours if hasattr(thing, "__dict__")]).encode()})


async def test_the_identity_cache_holds_no_secret(used: Running) -> None:
    """No key or value of the store, and no object behind the keyring, contains a key or a token."""
    things = [*reached(used.gateway.parts.facts.current.serving.keyring)]
    texts = [
        thing.encode() if isinstance(thing, str) else bytes(thing) for thing in things if isinstance(thing, str | bytes)
    ]

    assert any(b"wks_1" in text for text in texts), "the cache is not empty"
    assert [] == found({"keyring": b"\n".join(texts)})


@pytest.mark.parametrize(
    "serialise",
    [pickle.dumps, json.dumps, msgspec.json.encode, msgspec.to_builtins, copy.deepcopy, copy.copy],
    ids=["pickle", "json", "msgspec", "builtins", "deepcopy", "copy"],
)
async def test_the_configuration_cannot_be_serialised(used: Running, serialise: Any) -> None:
    """A cache, a crash reporter or a debugger that tries to write the keys down fails."""
    with pytest.raises(TypeError):
        serialise(used.gateway.parts.facts.snapshot.keys["main"].slots[0].secret)
