"""Applies what a change of the policies takes away, while the change as a whole cannot be used.

A revocation must not wait because another team's file is broken. So a caller whose file is gone loses everything, and
one whose file changed may do what the old *and* the new text allow. A broken file keeps its last grant. Wider grants
wait until all files can be used. Nothing here grants anything that the running configuration does not.
"""

from collections.abc import Iterable, Iterator

from msgspec import structs

from gateway.config.assembly.authentication import Authenticated, callers_of
from gateway.config.assembly.policies import Policies, PolicyCache, PolicyFile, read_folder
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.reading.problem import Problem
from gateway.core.catalog import Endpoint
from gateway.core.policy import Policy


def narrowed(running: Snapshot, cache: PolicyCache) -> Snapshot:
    """The running configuration without what the present files of its policies no longer grant.

    The same object if nothing is taken away, as when the folder cannot be read or has no policy. It blocks.
    """
    folder, problems = running.settings.policies, list[Problem]()
    now = read_folder(folder, running.catalog, problems, running.verifying, cache)
    if any(problem.file == str(folder) for problem in problems):
        return running
    files = tuple(_left(running.files, now))
    if files == running.files:
        return running
    callers = callers_of(((file.policy.caller, file.authenticate) for file in files), running.callers.settings)
    policies = {file.policy.caller: file.policy for file in files}
    return structs.replace(running, files=files, policies=policies, callers=callers)


def _left(before: Iterable[PolicyFile], now: Policies) -> Iterator[PolicyFile]:
    sound = {file.policy.caller: file for file in now.files}
    for file in before:
        if (new := sound.get(file.policy.caller)) is not None:
            yield file if new == file else _both(file, new)
        elif file.path in now.broken:
            yield file


def _both(old: PolicyFile, new: PolicyFile) -> PolicyFile:
    return PolicyFile(new.path, both(old.policy, new.policy), _common(old.authenticate, new.authenticate))


def both(old: Policy, new: Policy) -> Policy:
    """The policy that allows an endpoint where these two do, with the earlier expiry and the lower caps."""
    return new._replace(
        scopes=new.scopes if old.audit else old.scopes if new.audit else old.scopes & new.scopes,
        endpoints=frozenset(one for one in old.endpoints | new.endpoints if _allows(old, one) and _allows(new, one)),
        deny=old.deny | new.deny,
        audit=old.audit and new.audit,
        expires=min((day for day in (old.expires, new.expires) if day is not None), default=None),
        reads=_least(old.reads, new.reads),
        writes=_least(old.writes, new.writes),
    )


def _allows(policy: Policy, endpoint: Endpoint) -> bool:
    scoped = not endpoint.guarded and (policy.audit or endpoint.scopes <= policy.scopes)
    return endpoint not in policy.deny and (endpoint in policy.endpoints or scoped)


def _least(one: int | None, other: int | None) -> int | None:
    return min((cap for cap in (one, other) if cap is not None), default=None)


def _common(old: Authenticated, new: Authenticated) -> Authenticated:
    found = {kind: tuple(entry for entry in entries if entry in new.get(kind, ())) for kind, entries in old.items()}
    return {kind: entries for kind, entries in found.items() if entries}
