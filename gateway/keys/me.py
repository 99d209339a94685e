"""Asks ``GET /me``, by one request on a session of its own, and reads the answer."""

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict

from gateway.aio.background import Background
from gateway.core.headers import upstream_fields
from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.key_faults import fault_of_status
from gateway.core.retry_after import read_retry_after
from gateway.core.secret import Secret
from gateway.keys.me_values import PAUSE, Fault, Good, MeSettings, Refusal
from gateway.net.faults import PEER_ERRORS, why
from gateway.net.one_question import FIELDS, session_options

if TYPE_CHECKING:
    from gateway.keys.cached import MeAnswers

MAX_BODY: Final = 262_144
# A 429 or 503 may ask for a longer pause by `Retry-After`, within reason.
MAX_PAUSE: Final = 60.0


class _Bounded(aiohttp.ClientResponse):
    """A response whose body is never read beyond `MAX_BODY` bytes, not even by a cache that stores it.

    aiohttp has no such bound, so the one method that fills the body, here and for the cache, is replaced.
    """

    async def read(self) -> bytes:
        if self._body is None:
            try:
                await self.content.readexactly(MAX_BODY + 1)
                raise aiohttp.ClientPayloadError("too large")
            except asyncio.IncompleteReadError as whole:
                self._body = whole.partial
            except BaseException:
                self.close()  # the cache has not yet given it to anybody who could
                raise
        return self._body


class Me:
    """Asks ``GET /me`` as its settings say. Answers are kept in their store; without one, nowhere."""

    def __init__(self, settings: MeSettings) -> None:
        self._settings: Final = settings
        self._aside: Final = Background()
        self._closed = False

    async def ask(self, secret: Secret, *, newer_than: float) -> Good | Refusal | Fault:
        """The answer of the store, or else of Productlane, about a secret. Never raises.

        A stored answer has to be asked for after ``newer_than`` (Unix seconds); infinity asks Productlane itself.
        """
        if self._closed:
            return Fault("closed")
        answers = self._answers(secret, newer_than)
        try:
            return await self._question(secret, answers)
        except NotAnIdentity:
            return Fault("the answer is not an identity")
        except PEER_ERRORS as error:
            return Fault(why(error))
        finally:
            if answers is not None:
                self._aside.start(answers.release())

    async def stale(self, secret: Secret, *, newer_than: float) -> Good | None:
        """The last good answer in the store, if it may still be used while Productlane cannot be asked."""
        answers = self._answers(secret, newer_than)
        return None if answers is None else await answers.stale()

    def drop(self, secret: Secret) -> None:
        """Delete a secret's answer from the store, in the background. Called on the event loop."""
        if (answers := self._answers(secret, float("inf"))) is not None:
            self._aside.start(answers.delete())

    async def close(self) -> None:
        """Ask nothing from now on, and wait for the store."""
        self._closed = True
        await self._aside.join()

    async def _question(self, secret: Secret, answers: "MeAnswers | None") -> Good | Refusal | Fault:
        settings = self._settings
        began, asked_at = settings.clock(), settings.wall()
        fields = CIMultiDict([("Accept", "application/json"), *FIELDS, *upstream_fields(secret)])
        async with (
            self._session(answers) as session,
            session.get(settings.url, headers=fields, allow_redirects=False) as response,
        ):
            if answers is not None and answers.found is not None:
                return answers.found
            if (fault := fault_of_status(response.status)) is not None:
                self.drop(secret)
                return Refusal(fault)
            if response.status != 200:
                pause = max(read_retry_after(response.headers) or 0.0, PAUSE)
                return Fault(f"status {response.status}", min(pause, MAX_PAUSE))
            identity = Identity.read(await response.read(), settings.secrets.including(secret))
            return Good(identity, settings.clock() - began, asked_at, kept=False)

    def _answers(self, secret: Secret, newer_than: float) -> "MeAnswers | None":
        if self._settings.store is None:
            return None
        from gateway.keys.cached import MeAnswers

        return MeAnswers(self._settings, self._settings.store, secret, newer_than)

    def _session(self, answers: "MeAnswers | None") -> aiohttp.ClientSession:
        """A session for one question. One a minute and secret gains nothing from kept connections."""
        options = session_options(self._settings.ssl, self._settings.resolver, self._settings.timeout)
        options["response_class"] = _Bounded
        return aiohttp.ClientSession(**options) if answers is None else answers.session(**options)
