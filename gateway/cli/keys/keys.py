"""The command that shows the secrets of running gateways, and says which of them may be revoked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import REFUSED, fail, json_option, print_json
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.cli.keys.replicas import Asked
    from gateway.cli.keys.revocation import Secret


def _seconds(_: click.Context, __: click.Parameter, text: str) -> float:
    from gateway.config.reading.scalar import seconds

    try:
        return seconds(text)
    except ValueError:
        raise click.BadParameter("expected a duration such as 30m or 1h") from None


def _count(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    path = text.removeprefix("file:")
    try:
        number = int(Path(path).read_text("utf-8") if path != text else text)
    except (OSError, ValueError):
        number = 0
    if number < 1:
        raise click.BadParameter("expected a number from 1, or file:/path of a file with one")
    return number


@click.command()
@click.option(
    "--admin",
    "addresses",
    metavar="URL",
    multiple=True,
    default=("http://127.0.0.1:9090",),
    show_default=True,
    envvar="PRODUCTLANE_GATEWAY_KEYS_ADMIN",
    help="Admin listener to ask; a name stands for every address that it resolves to. May be given more than once.",
)
@click.option(
    "--replicas",
    metavar="N",
    envvar="PRODUCTLANE_GATEWAY_REPLICAS",
    callback=_count,
    help="How many gateways there are, or file:/path of a file that says it.",
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
def keys(addresses: tuple[str, ...], replicas: int | None, unused_for: float, as_json: bool) -> None:
    """Show the secrets of running gateways: state, age and use, and which may be revoked.

    Productlane has no call to rotate a key and cannot tell when an old one is out of use; the gateway can. A secret is
    safe to revoke where every replica answered, has another secret of the key active, and has not used this one for
    --unused-for. Use is counted in memory, so a replica that has just started has to run that long first.

    Every replica is known where --admin names a headless Service that resolves to several addresses, or where
    --replicas says how many there are. Other hosts need the gateways' `status_token`, from the variable
    PRODUCTLANE_GATEWAY_STATUS_TOKEN: file:/path or env:NAME.

    \b
        productlane-gateway keys --replicas 1
        productlane-gateway keys --admin http://gateway-headless:9090 --unused-for 30m

    Exit status: 0 where every key is served by the first of its secrets; 1 where one is not, a secret's file is gone
    or unusable, a replica did not answer, or a secret could be revoked if it were known that every replica was asked;
    2 where none answered.
    """
    from gateway.cli.keys.replicas import BadAddress, ask_all, nobody_answered, status_token
    from gateway.cli.keys.revocation import faults, gather, sightings

    try:
        asked = ask_all(addresses, token=status_token(), replicas=replicas)
    except BadAddress as error:
        fail(str(error))
    if not asked.replicas:
        fail(nobody_answered(asked))
    seen = [one for answer in asked.answers if answer.status for one in sightings(answer.replica, answer.status)]
    secrets = gather(seen, asked.replicas, doubt=asked.doubt, unused_for=unused_for)
    found = faults(secrets, asked.replicas)
    found += [f"{answer.replica} did not answer: {answer.fault}." for answer in asked.silent]
    if as_json:
        print_json(_facts(secrets, asked, found))
    else:
        click.echo(_text(secrets, asked, found))
    if found or any(secret.uncertain for secret in secrets):
        raise SystemExit(REFUSED)


def _text(secrets: "Sequence[Secret]", asked: "Asked", found: Sequence[str]) -> str:
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
    if len(asked.replicas) > 1:
        sentences.append(f"Asked {len(asked.replicas)} replicas: {', '.join(asked.replicas)}.")
    return "\n".join([table(rows), *(["", *sentences] if sentences else [])])


def _facts(secrets: "Sequence[Secret]", asked: "Asked", found: Sequence[str]) -> dict[str, object]:
    return {
        "ok": not found and not any(secret.uncertain for secret in secrets),
        "replicas": list(asked.replicas),
        "expected": asked.expected,
        "silent": [{"replica": answer.replica, "fault": answer.fault} for answer in asked.silent],
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
