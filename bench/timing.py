"""Times within this process: of one call, and between two turns of its event loop."""

import asyncio
import time
from collections.abc import Callable


def per_call(work: Callable[[], object], calls: int = 10_000, clock: Callable[[], float] = time.process_time) -> float:
    """Microseconds of CPU for one call, the best of five runs; of one thread with its ``clock``."""
    best = float("inf")
    for _ in range(5):
        began = clock()
        for _ in range(calls):
            work()
        best = min(best, (clock() - began) / calls * 1e6)
    return round(best, 2)


async def gaps(until: Callable[[], bool]) -> tuple[float, list[tuple[float, float]]]:
    """Seconds until something holds, and the gaps of a probe that wants to wake up each millisecond, longest first.

    A gap is its seconds and the seconds of CPU in it: one with little CPU is the machine's.
    """
    began = last = time.perf_counter()
    used = time.process_time()
    found = []
    while not until():
        await asyncio.sleep(0.001)
        now, cpu = time.perf_counter(), time.process_time()
        found.append((now - last, cpu - used))
        last, used = now, cpu
    return last - began, sorted(found, reverse=True)
