"""Lines of an access log, as the gateway writes them."""

import json


def line(caller: str, endpoint: str, time: str = "06:01:00", decision: str = "allow") -> str:
    """A line of the access log."""
    return json.dumps({"time": f"2026-11-24T{time}.123Z", "caller": caller, "endpoint": endpoint, "decision": decision})
