"""Fixtures for every test: the loop that the gateway runs on, an upstream, and a gateway in front of it."""

import asyncio
import faulthandler
import inspect
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import settings

from tests.support.deadline import limited
from tests.support.in_process import Running, running
from tests.support.recording import Upstream

if TYPE_CHECKING:
    from tests.support.collector import Collector


# A property promises an answer, not a speed, and the machine may be busy. `make test-fast` asks for fewer examples.
settings.register_profile("thorough", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=15)
settings.load_profile("thorough")


_STDERR = pytest.StashKey[int]()
TEARDOWN_SECONDS = 60.0


def pytest_configure(config: pytest.Config) -> None:
    """Keep a way to the terminal, which a hanging test would otherwise not have."""
    config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """End the process if the teardown of a failed test hangs.

    pytest and pytest-timeout both stop their clocks once a test has failed, for the sake of debuggers.
    """
    if isinstance(node, pytest.Item) and not node.config.getoption("usepdb"):
        faulthandler.dump_traceback_later(TEARDOWN_SECONDS, file=node.config.stash[_STDERR], exit=True)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that the command runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Asynchronous tests end before the alarm of pytest-timeout."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            own = item.get_closest_marker("timeout")
            item.obj = limited(item.obj, 0.9 * float(own.args[0] if own else config.getini("timeout")))


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the fuzz tests in `tests/wire` and `tests/fuzz` do, and with which chance."""
    parser.addoption("--fuzz-seed", type=int, default=1, help="the seed of the random messages")
    parser.addoption("--fuzz-count", type=int, default=2000, help="how many random messages are sent")


@pytest.fixture(scope="session")
def fuzz(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Seed and number of random messages."""
    return request.config.getoption("--fuzz-seed"), request.config.getoption("--fuzz-count")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that records."""
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def collector() -> AsyncIterator["Collector"]:
    """A collector of spans that takes everything."""
    from tests.support.collector import Collector

    server = Collector()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def start(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Callable[..., Any]]:
    """Start gateways in front of the upstream: ``await start(policies=[…], **settings)``."""
    async with AsyncExitStack() as stack:
        count = 0

        async def begin(**settings: Any) -> Running:
            nonlocal count
            count += 1
            return await stack.enter_async_context(running(tmp_path / str(count), upstream, **settings))

        yield begin


@pytest.fixture
async def run(start: Callable[..., Any]) -> Running:
    """A gateway with one key and one caller that may do everything."""
    gateway: Running = await start()
    return gateway
