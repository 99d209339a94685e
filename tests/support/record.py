"""The record of a request, as the log and the metrics get it."""

from gateway.telemetry.record import Record


def record(**fields: object) -> Record:
    """A request that was served, with some fields changed."""
    served = Record(
        request_id="req_0123456789abcdef",
        caller="billing",
        endpoint="GET /companies/{id}",
        method="GET",
        status=200,
        source="upstream",
        decision="allow",
        reason="scope_held",
        key="main",
        slot="1",
        lane="read",
        upstream_ms=80.25,
        duration_ms=81.5,
        bytes_out=512,
    )
    for name, value in fields.items():
        setattr(served, name, value)
    return served
