"""A key that rotates under load, by hand: `python -m bench.rotation [--rotations 20] [--period 2] [--rate 100]`.
The period is in seconds between writes, the rate in requests a second.

First each new secret is good, and the old one is revoked half way to the next; then each is unknown to Productlane, of
another workspace, and one with fewer scopes. A simulated Productlane and the real command, on loopback. Printed are the
requests, those that were not answered by a 2xx, the requests upstream that had not exactly one key, and how long after
its write a good secret was first in use. Exit status 1 where a request was lost, a bad secret was sent, or a good one
was not in use within a second.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.command import options
from tests.support.rotating import SCOPES, Stage, load, overwrite, replace_file, stage

WITHIN: Final = 1.0
BAD: Final[Mapping[str, Mapping[str, Any]]] = {
    "unknown": {"known": False},
    "other workspace": {"workspace": "wks_other"},
    "fewer scopes": {"scopes": SCOPES - {"companies:write"}},
}


async def good(it: Stage, rotations: int, period: float) -> list[float]:
    """Rotate; the seconds from each write to the first use of what was written."""
    delays = []
    for turn in range(rotations):
        old, key = it.secret, it.mint()
        delays.append(await it.promoted(key, overwrite if turn % 2 else replace_file))
        await asyncio.sleep(max(0.0, period / 2 - delays[-1]))
        it.simulator.keys.revoke(old)
        it.secret = key.secret
        await asyncio.sleep(period / 2)
    return delays


async def bad(it: Stage, rotations: int, period: float, parts: Mapping[str, Any]) -> list[float]:
    """Write what is no good; no delays, since none of it is ever used."""
    for _ in range(rotations):
        await asyncio.to_thread(replace_file, it.file, it.mint(**parts).secret)
        await asyncio.sleep(period)
    return []


async def measure(name: str, rotations: int, period: float, rate: float) -> bool:
    """One series, printed; whether all of it held."""
    with tempfile.TemporaryDirectory() as folder:
        async with stage(Path(folder)) as it:
            async with load(it, rate=rate):
                await asyncio.sleep(period / 2)
                delays = await (
                    good(it, rotations, period) if name == "good" else bad(it, rotations, period, BAD[name])
                )
            retries = sum(one.status == 401 for one in it.forwarded)
            foreign = {one.header("Authorization")[0] for one in it.forwarded} - {f"Bearer {it.secret}"}
            keyless = len(it.without_one_key())
    lost = sum(it.failures.values())
    timing = (
        f"in use after {1000 * sum(delays) / len(delays):.0f} ms, at most {1000 * max(delays):.0f}" if delays else ""
    )
    wrong = 0 if delays else len(foreign)
    print(
        f"{name:16} {rotations} rotations  {it.sent} requests  {lost} lost  {retries} sent again  "
        f"{keyless} without one key  {wrong} bad secrets sent  {timing}"
    )
    for failure, count in it.failures.most_common(3):
        print(f"    {count} x {failure}")
    return not lost and not keyless and not wrong and max(delays, default=0.0) <= WITHIN


def main() -> None:
    """Run every series one after the other."""
    asked = options(__doc__, rotations=20, period=2.0, rate=100.0).parse_args()
    held = [asyncio.run(measure(name, asked.rotations, asked.period, asked.rate)) for name in ("good", *BAD)]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
