"""The command that shows the secrets of running gateways, and says which of them may be revoked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import REFUSED, fail, json_option, print_json
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.cli.keys.replicas import Answered
    from gateway.cli.keys.revocation import Secret, Sighting


def _seconds(_: click.Context, __: click.Parameter, text: str) -> float:
    from gateway.config.reading.scalar import seconds

    try:
        return seconds(text)
    except ValueError:
        raise click.BadParameter("expected a duration such as 30m or 1h") from None


@click.command()
@click.option(
    "--admin",
    "addresses",
    metavar="URL",
    multiple=True,
    default=("http://127.0.0.1:9090",),
    show_default=True,
    help="Admin listener to ask; a name stands for every address that it resolves to. May be given more than once.",
)
@click.option(
    "--unused-for",
    metavar="DURATION",
    default="1h",
    show_default=True,
    callback=_seconds,
    help="How long no replica may have used a secret before it is called safe to revoke.",
)
@json_option
def keys(addresses: tuple[str, ...], unused_for: float, as_json: bool) -> None:
    """Show the secrets of running gateways: state, age and use, and which may be revoked.

    Productlane has no call to rotate a key and cannot tell when an old one is out of use; the gateway can. A secret is
    safe to revoke where every replica answered, has another secret of the key active, and has not used this one for
    --unused-for. Use is counted in memory, so a replica that has just started has to run that long first. Give the
    name of a headless Service to ask every replica of it.

    \b
        productlane-gateway keys
        productlane-gateway keys --admin http://gateway-headless:9090 --unused-for 30m

    Exit status: 0 where every key is served by the first of its secrets; 1 where one is not, or a replica did not
    answer; 2 where none did.
    """
    from gateway.cli.keys.replicas import BadAddress, ask_all
    from gateway.cli.keys.revocation import faults, gather, sightings

    try:
        answers = ask_all(addresses)
    except BadAddress as error:
        fail(str(error))
    seen: list[Sighting] = []
    replicas: list[str] = []
    silent: list[Answered] = []
    for answer in answers:
        if answer.status is None:
            silent.append(answer)
        else:
            seen += sightings(answer.replica, answer.status)
            replicas.append(answer.replica)
    if not replicas:
        fail("\n".join(f"{answer.replica}: {answer.fault}" for answer in silent))
    secrets = gather(seen, replicas, silent=len(silent), unused_for=unused_for)
    found = faults(secrets, replicas) + [f"{answer.replica} did not answer: {answer.fault}." for answer in silent]
    if as_json:
        print_json(_facts(secrets, replicas, silent, found))
    else:
        click.echo(_text(secrets, found))
    if found:
        raise SystemExit(REFUSED)


def _text(secrets: "Sequence[Secret]", found: Sequence[str]) -> str:
    from gateway.cli.keys.revocation import ago

    rows = [("key", "slot", "preview", "state", "workspace", "age", "last used", "last hour", "scopes")]
    rows += [
        (
            secret.key,
            secret.slot,
            secret.preview or "-",
            secret.state,
            secret.workspace or "?",
            ago(secret.age) if secret.preview else "-",
            "-" if secret.last_used is None else f"{ago(secret.last_used)} ago",
            str(secret.requests),
            listed(secret.scopes),
        )
        for secret in secrets
    ]
    said = (sentence for secret in secrets for sentence in (secret.fault, secret.advice))
    sentences = [*found, *filter(None, said)]
    return "\n".join([table(rows), *(["", *sentences] if sentences else [])])


def _facts(
    secrets: "Sequence[Secret]", replicas: Sequence[str], silent: "Sequence[Answered]", found: Sequence[str]
) -> dict[str, object]:
    return {
        "ok": not found,
        "replicas": replicas,
        "silent": [{"replica": answer.replica, "fault": answer.fault} for answer in silent],
        "secrets": [
            {
                "key": secret.key,
                "name": secret.name,
                "slot": secret.slot,
                "preview": secret.preview,
                "state": {one.replica: one.slot.state for one in secret.seen},
                "workspace": secret.workspace,
                "scopes": list(secret.scopes),
                "age_seconds": round(secret.age),
                "last_used_seconds": None if secret.last_used is None else round(secret.last_used),
                "requests_last_hour": secret.requests,
                "safe_to_revoke": secret.safe_to_revoke,
                "advice": secret.advice or None,
                "fault": secret.fault or None,
            }
            for secret in secrets
        ],
        "faults": list(found),
    }
