"""`gateway.callers.kubernetes`: which service account a token identifies, and who gets the gateway's own token."""

from typing import Any

import pytest

from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.kind import Rejected
from gateway.callers.kubernetes import account_of, is_api_server
from gateway.callers.signed_tokens import LEEWAY, valid_until
from tests.support.issuer import ACCOUNT, AUDIENCE, NOW, claims_of

URL = "https://kubernetes.default.svc"
ISSUER = IssuerSettings("kubernetes", URL, AUDIENCE)


def proven(**claims: Any) -> str:
    """The account that claims identify, or why they identify none."""
    given = claims_of(URL, **claims)
    until = valid_until(given, ISSUER, NOW)
    found = until if isinstance(until, Rejected) else account_of(given)
    return found if isinstance(found, str) else found.why.replace("is not accepted", "no")


NO_EXP = "no: it has no `exp` that is a time"
NO_NBF = "no: it has no `nbf` that is a time"
AUD = "no: its audience is not `productlane-gateway`"
ISS = "no: its issuer is not that of `kubernetes`"
SUB = "no: its subject is not a service account"
DIFFER = "no: its subject and its `kubernetes.io` claim differ"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, ACCOUNT),
        ({"aud": AUDIENCE}, ACCOUNT),
        ({"aud": ["other", AUDIENCE]}, ACCOUNT),
        ({"aud": None}, AUD),
        ({"aud": []}, AUD),
        ({"aud": ["https://kubernetes.default.svc"]}, AUD),
        ({"aud": AUDIENCE + "2"}, AUD),
        ({"aud": AUDIENCE[:-1]}, AUD),
        ({"aud": {AUDIENCE: True}}, AUD),
        ({"aud": [[AUDIENCE]]}, AUD),
        ({"iss": "https://evil.test"}, ISS),
        ({"iss": URL + "/"}, ISS),
        ({"iss": [URL]}, ISS),
        ({"iss": None}, ISS),
        ({"exp": NOW - LEEWAY + 1}, ACCOUNT),
        ({"exp": NOW - LEEWAY}, "no: it has expired"),
        ({"exp": None}, NO_EXP),
        ({"exp": True}, NO_EXP),
        ({"exp": str(NOW + 600)}, NO_EXP),
        ({"exp": float("nan")}, NO_EXP),
        ({"exp": float("inf")}, NO_EXP),
        ({"exp": 10**400}, NO_EXP),
        ({"exp": -1}, NO_EXP),
        ({"nbf": NOW + LEEWAY}, ACCOUNT),
        ({"nbf": NOW + LEEWAY + 1}, "no: it is not valid yet"),
        ({"nbf": None}, ACCOUNT),
        ({"nbf": "now"}, NO_NBF),
        ({"sub": None}, SUB),
        ({"sub": 7}, SUB),
        ({"sub": "billing/billing-api"}, SUB),
        ({"sub": "system:node:node-1"}, SUB),
        ({"sub": "system:serviceaccount:billing"}, SUB),
        ({"sub": "system:serviceaccount:billing:billing-api:x"}, SUB),
        ({"sub": "system:serviceaccount:billing:billing-api\n"}, SUB),
        ({"sub": "system:serviceaccount:Billing:billing-api"}, SUB),
        ({"sub": "system:serviceaccount:billing/x:billing-api"}, SUB),
        ({"sub": "x:system:serviceaccount:billing:billing-api"}, SUB),
        ({"sub": "system:serviceaccount:billing:other"}, DIFFER),
        ({"sub": "system:serviceaccount:other:billing-api"}, DIFFER),
        ({"kubernetes.io": None}, ACCOUNT),
        ({"kubernetes.io": "billing"}, DIFFER),
        ({"kubernetes.io": {"namespace": "billing"}}, DIFFER),
        ({"kubernetes.io": {"namespace": "billing", "serviceaccount": "billing-api"}}, DIFFER),
        ({"kubernetes.io": {"serviceaccount": {"name": "billing-api"}}}, DIFFER),
    ],
)
def test_claims_prove_an_account_or_nothing(claims: dict[str, Any], expected: str) -> None:
    """Issuer, audience, times, subject and Kubernetes' own claim all have to be right; each has its own reason."""
    assert expected == proven(**claims)


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("kubernetes.default.svc", "cluster.local", True),
        ("kubernetes.default.svc.cluster.local", "cluster.local", True),
        ("kubernetes.default.svc.corp.example", "corp.example", True),
        ("kubernetes.default.svc.corp.example", "cluster.local", False),
        ("kubernetes.default.svc.evil.test", "cluster.local", False),
        ("kubernetes.default.svc.cluster.local.evil.test", "cluster.local", False),
        ("xkubernetes.default.svc", "cluster.local", False),
        ("kubernetes.default.svcx", "cluster.local", False),
        ("evil.test", "cluster.local", False),
        (None, "cluster.local", False),
    ],
)
def test_the_gateways_own_token_goes_to_the_api_server_only(host: str | None, domain: str, expected: bool) -> None:
    """Whole names are compared: no other host gets the gateway's service-account token by a name that begins alike."""
    assert expected is is_api_server(host, domain)
