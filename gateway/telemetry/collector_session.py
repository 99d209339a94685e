"""The HTTP session that sends spans to a collector: requests, set up to ignore the settings of the machine."""

import contextlib
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests

# What is read of a collector's answer, so that its connection can be used again; there is nothing in it to know.
_ANSWER: Final = 4096


class Session(requests.Session):
    """What the exporter sends with: no proxy, no ``.netrc``, no cookie, and little read of an answer.

    ``fault`` says why the last batch was not taken, empty where it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.fault = ""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        try:
            answer = super().send(request, **{**kwargs, "stream": True})
        except Exception as failure:
            self.fault = f"the collector gave no answer: {type(failure).__name__}"
            raise
        # A redirection, which is not followed, takes nothing either.
        self.fault = "" if 200 <= answer.status_code < 300 else f"the collector answered {answer.status_code}"
        with answer, contextlib.suppress(Exception):
            answer.raw.read(_ANSWER)
        return answer
