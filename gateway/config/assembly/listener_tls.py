"""The section ``tls`` of ``gateway.yaml``: HTTPS on the traffic listener."""

from gateway.config.reading.document import Document
from gateway.config.schema.gateway import Gateway
from gateway.config.tls import BadTls, listener_context, unreadable


def check_tls(settings: Gateway, document: Document, *, look: bool = True) -> None:
    """Try the listener's TLS, and report what is wrong. Unless ``look``, no file is opened."""
    tls = settings.tls
    if tls is None:
        return
    problems = unreadable(tls) if look else []
    try:
        if look and not problems:
            listener_context(tls)
    except BadTls as fault:
        problems = [fault]
    for problem in problems:
        document.report(("tls", problem.setting), str(problem))
    domain = getattr(settings.callers, "trusted_spiffe_domain", None)
    if tls.client_ca is not None and document.sound(("callers",)) and domain is None:
        document.report(("tls", "client_ca"), "proves nobody without `callers.trusted_spiffe_domain`")
