"""A client certificate as a value, and the form of a SPIFFE id."""

from typing import Final, NamedTuple

# The SPIFFE ID specification, section 2: lower-case trust domain, a path of plain segments and nothing after it. That
# of a workload has a path (X509-SVID, section 2).
SPIFFE_ID: Final = r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+"


class Certificate(NamedTuple):
    """A client certificate whose chain TLS has verified.

    ``spiffe_id`` is None where it has none that counts; ``fault`` then says why. ``not_after`` is Unix time in seconds.
    """

    spiffe_id: str | None
    fault: str
    not_after: float
