"""One permitted request on its way to the upstream."""

import msgspec

from gateway.core.decision import Permit
from gateway.keys.keyring import Chosen
from gateway.proxy.reply import Reply
from gateway.proxy.request import Request
from gateway.proxy.serving import Serving
from gateway.telemetry.record import Record


class Exchange(msgspec.Struct):
    """All that forwarding a request takes. It cannot be made without a `Permit`, which only `decide` makes.

    ``chosen`` is the secret that it is sent with; where Productlane refuses that one, another may take its place.
    ``budget`` are lines of a head that report the caller's share of the secret's budget, ``limits`` those of its own
    limits.
    ``serving`` is what it is served with, ``judged_by`` what allowed it last: a later configuration where it had to
    wait.
    """

    permit: Permit
    chosen: Chosen
    request: Request
    reply: Reply
    record: Record
    serving: Serving
    judged_by: Serving
    budget: bytes = b""
    limits: bytes = b""
