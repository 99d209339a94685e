"""Writes a refusal: the envelope of the body, and ``Proxy-Status``."""

from typing import Any

from gateway.core.refusal import PSEUDONYM, Refused


def envelope(refused: Refused, request_id: str) -> dict[str, Any]:
    """Productlane's error body (its page on errors): ``{"error": {code, message, details, request_id}}``.

    Most clients print the message and nothing else, so it ends in the fix. ``details.gateway`` says which gateway
    setting decided, and the fix as ``Proxy-Status`` has it.
    """
    gateway = {"decided_by": refused.decided_by, "fix": refused.note}
    return {
        "error": {
            "code": refused.code.value,
            "message": f"{refused.message} {refused.fix[0].upper()}{refused.fix[1:]}.",
            "details": {**(refused.details or {}), "gateway": gateway},
            "request_id": request_id,
        }
    }


def proxy_status(error: str, details: str, *, received: int | None = None) -> str:
    """A ``Proxy-Status`` member (RFC 9209 section 2).

    ``error`` is a type of section 2.3, or empty where nothing went wrong here; ``received`` is the upstream's status.
    ``details`` becomes an sf-string (RFC 8941 section 3.3.3): what is not printable ASCII stands as ``?``.
    """
    text = "".join(c if " " <= c <= "~" else "?" for c in details).replace("\\", "\\\\").replace('"', '\\"')
    member = f"{PSEUDONYM}; error={error}" if error else PSEUDONYM
    if received is not None:
        member += f"; received-status={received}"
    return f'{member}; details="{text}"' if text else member
