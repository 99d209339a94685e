"""At ``log.level: debug`` the log says why each request ended as it did."""

from collections.abc import Callable
from typing import Any

from tests.support.in_process import policy

Start = Callable[..., Any]


async def test_an_allowed_request_says_which_rule_and_key(start: Start) -> None:
    """The rules that were asked, the secret that serves and its budget are lines beside the request's own."""
    run = await start(log={"level": "debug"})
    await run.ask()
    (judged,) = await run.events("request_judged")
    (chosen,) = await run.events("key_chosen")

    assert judged["request_id"] == chosen["request_id"]
    assert any(": allows" in rule for rule in judged["rules"])
    assert ("debug", "main", "1", "read") == tuple(chosen[name] for name in ("level", "key", "slot", "lane"))


async def test_a_refused_request_says_which_rule(start: Start) -> None:
    """The last rule that was asked refused, and says why; no key was chosen."""
    run = await start(policies=[policy(scopes=["companies:read"])], log={"level": "debug"})
    await run.ask()
    (judged,) = await run.events("request_judged")

    assert ": refuses, " in judged["rules"][-1]
    assert "threads:read" in judged["rules"][-1]


async def test_nothing_of_it_is_written_otherwise(start: Start) -> None:
    """At ``info`` a request is one line."""
    run = await start()
    await run.ask()

    assert "request_judged" not in run.log_file.read_text()
