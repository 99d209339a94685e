"""`gateway.callers.tokens`: the tokens that the gateway's own command makes."""

import re

from gateway.callers.tokens import digest, new_token


def test_a_token_is_new_each_time_and_its_policy_line_fits() -> None:
    """`productlane-gateway token` prints a token of 256 random bits and the digest that admits exactly that token."""
    token, line = new_token()
    other, _ = new_token()

    assert re.fullmatch(r"plgw_[A-Za-z0-9_-]{43}", token)
    assert token != other
    assert f"sha256:{digest(token).hex()}" == line
