"""The simulator as a whole: its listeners, and what its owner may do to it while it runs."""

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiohttp import web

from gateway.core.catalog import Catalog
from gateway.core.target import BASE
from gateway.simulator.app import Service
from gateway.simulator.arrivals import Arrivals
from gateway.simulator.control import Control
from gateway.simulator.faults import Faults
from gateway.simulator.keys import KeyRing, SimulatedKey
from gateway.simulator.limits import Limits


class Simulator:
    """Productlane v2 in memory, on real sockets.

    ``keys`` are those it starts with. ``clock`` gives Unix seconds and rules the rate limits and dates. ``record`` is
    how many requests are remembered. Data, keys and counts outlive a `stop`.
    """

    def __init__(
        self,
        catalog: Catalog,
        keys: Iterable[SimulatedKey] = (),
        *,
        clock: Callable[[], float] = time.time,
        limits: Limits | None = None,
        record: int = 1000,
    ) -> None:
        self.keys: Final = KeyRing(keys)
        self.faults: Final = Faults(catalog)
        self.arrivals: Final = Arrivals(record)
        self._service = Service(catalog, self.keys, self.faults, self.arrivals, clock=clock, limits=limits or Limits())
        self._runners: list[web.BaseRunner] = []
        self._urls: dict[str, str] = {}

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen; port 0 takes any free one. The control port, if asked for, is on loopback. Raises `OSError`."""
        try:
            bound = await self._listen(web.ServerRunner(self._service.server(), shutdown_timeout=1.0), host, port, tls)
            self._urls["traffic"] = f"{'https' if tls else 'http'}://{bound}{BASE}"
            if control_port is not None:
                control = Control(self.keys, self.faults, self.arrivals).app()
                runner = web.AppRunner(control, access_log=None, shutdown_timeout=1.0)
                self._urls["control"] = f"http://{await self._listen(runner, '127.0.0.1', control_port, None)}"
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close both listeners and every connection; answers that a fault holds back are sent first."""
        self.faults.clear()
        self._urls.clear()
        while self._runners:
            await self._runners.pop().cleanup()

    async def __aenter__(self) -> "Simulator":
        if not self._runners:
            await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The API's base, ``http://127.0.0.1:PORT/api/v2``. Raises `RuntimeError` if it is not started."""
        return self._url("traffic")

    @property
    def control_url(self) -> str:
        """The control port's base. Raises `RuntimeError` if none is open."""
        return self._url("control")

    def fault(self, endpoint: str | None = None, **parts: Any) -> None:
        """Put a fault in force; its parts are those of `Fault`. Raises `ValueError`."""
        self.faults.add({"endpoint": endpoint, **parts})

    async def received(self, count: int) -> None:
        """Return once so many requests have come since the record was cleared. The caller sets the deadline."""
        await self.arrivals.until(lambda arrivals: arrivals.count >= count)

    def _url(self, listener: str) -> str:
        if listener not in self._urls:
            raise RuntimeError(f"the simulator's {listener} listener is not open")
        return self._urls[listener]

    async def _listen(self, runner: web.BaseRunner, host: str, port: int, tls: ssl.SSLContext | None) -> str:
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        bound = runner.addresses[-1]
        return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
