"""The Grafana dashboard, as code: writes ``monitoring/dashboard.json``.

    python -m monitoring.dashboard           writes it
    python -m monitoring.dashboard --check   writes nothing, and fails where it would change

Two series come from `rules.yaml`; all others from the gateways themselves. `tests/deploy/test_monitoring.py` runs each
query against a real Prometheus, where it has to return something.
"""

import json
import sys
from itertools import count
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableRefresh

from monitoring.panels import SOURCE, Panel, graph, rates, stat, table, timeline, words
from monitoring.queries import CHOSEN, metric, ours, process, quantile, rate, recorded, selector

FILE: Final = Path(__file__).with_name("dashboard.json")


def now() -> list[Panel]:
    """What is looked at first."""
    states = {"0": ("closed", "green"), "1": ("OPEN", "red")}
    loads = {"0": ("BROKEN", "red"), "1": ("good", "green")}
    firing = recorded("ALERTS", alertname="ProductlaneGateway.*", alertstate="firing")
    every = rate("requests_total")
    failed, refused = rate("requests_total", status="5.."), rate("auth_responses_total")
    waits = f"({rate('pacing_wait_seconds_count')} or vector(0))"
    limited = f"({rate('requests_total', source='gateway', status='429')} or vector(0))"
    failed_text = "Share of answers with 5xx, of the gateway and of Productlane."
    refused_text = "Share of answers with 401, 403 or 410, of the gateway and of Productlane."
    waits_text = "Requests a second that a spent budget or a limit held up or refused."
    circuit_text = "Open where Productlane has stopped answering some gateway."
    loads_text = "Whether the last change of it could be used everywhere."
    return [
        stat("Gateways", "Those that answer Prometheus.", f"sum({metric('build_info')})", bad=None),
        stat("Alerts", "Firing now, of those in monitoring/rules.yaml.", f"count({firing}) or vector(0)"),
        stat("Requests", "Answered a second.", every, unit=units.RequestsPerSecond, bad=None),
        stat("Failed", failed_text, f"({failed} or vector(0)) / {every}", unit=units.PercentUnit, bad=0.05),
        stat("Refused", refused_text, f"({refused} or vector(0)) / {every}", unit=units.PercentUnit, bad=0.2),
        stat("Waits and 429", waits_text, f"{waits} + {limited}", unit=units.RequestsPerSecond),
        stat("Circuit", circuit_text, f"max({metric('circuit_state')})").mappings(words(states)),
        stat("Configuration", loads_text, f"min({metric('config_last_reload_successful')})", bad=None).mappings(
            words(loads)
        ),
    ]


def traffic() -> list[Panel]:
    """Who asks for what, and what comes of it."""
    return [
        rates("Requests by caller", "`-` is nobody that is known.", "requests_total", "caller"),
        rates("Answers by status", "And by whose they are.", "requests_total", "status", "source"),
        rates("Endpoints", "The ten that are asked for most.", "requests_total", "endpoint", top=10),
        graph(
            "In flight",
            "Being served, and waiting for budget.",
            {
                "being served": f"sum({metric('in_flight_requests')})",
                "waiting, {{key}} {{lane}}": f"sum by (key, lane) ({metric('pacing_queue_length')})",
            },
        ),
        rates(
            "Sent once more",
            "For want of a connection (connect), since one closed (closed), or with another secret (key).",
            "upstream_retries_total",
            "reason",
        ),
        graph(
            "Kept back here",
            "Request fields that do not cross to Productlane, by kind, and connections refused at the admin listener.",
            {
                "field, {{kind}}": rate("request_fields_refused_total", "kind"),
                "admin connection, {{scope}}": rate("admin_connections_refused_total", "scope"),
            },
            unit=units.RequestsPerSecond,
        ),
        rates(
            "Limits reached",
            "Callers that were refused, closed or cut, by the limit that docs/limits.md names.",
            "limits_reached_total",
            "limit",
        ),
        rates(
            "TLS handshakes that failed",
            "By reason; the log has the address. `not_accepted` is a caller that does not trust the gateway.",
            "tls_handshake_failures_total",
            "reason",
        ),
        rates(
            "No answer",
            "Requests that Productlane gave none, by the error that `Proxy-Status` names.",
            "upstream_failures_total",
            "error",
        ),
        rates(
            "Questions to the resolver",
            "For the names of Productlane and of the tokens' issuer; an hour without answers is bridged.",
            "name_lookups_total",
            "use",
            "result",
        ),
        graph(
            "Keys of issuers",
            "Age of the public keys of issuers of callers' tokens, in seconds, and fetches that failed.",
            {
                "{{issuer}} age": f"max by (issuer) ({metric('issuer_keys_age_seconds')})",
                "{{issuer}} failed fetches": rate("issuer_faults_total", "issuer"),
            },
        ),
        rates(
            "Callers with a key of their own",
            "Never used, but a way past the gateway.",
            "caller_supplied_keys_total",
            "caller",
            "version",
        ),
    ]


def refusals() -> list[Panel]:
    """401, 403 and 410: whose, why, and whether it is more than usual."""
    usual = "namespace_job_caller:productlane_gateway_policy_refusals:rate5m"
    return [
        rates("401, 403, 410", "By code and by who said it.", "auth_responses_total", "status", "code", "source"),
        rates("By caller", "All three together.", "auth_responses_total", "caller"),
        rates(
            "By endpoint",
            "The ten with most of them; `other` is outside the catalog, or not looked at.",
            "auth_responses_total",
            "endpoint",
            top=10,
        ),
        rates(
            "Decisions by policy",
            "would_deny is what enforcing a trial would refuse.",
            "policy_decisions_total",
            "decision",
            "reason",
        ),
        graph(
            "403 by the gateway",
            "What ProductlaneGatewayPolicyRefusals compares with the day before. Needs monitoring/rules.yaml.",
            {"{{caller}}": f"sum by (caller) ({recorded(usual)})"},
            unit=units.RequestsPerSecond,
        ),
        rates(
            "By Productlane",
            "Refusals of Productlane's, by the key they were for.",
            "auth_responses_total",
            "key",
            "status",
            "code",
            source="upstream",
        ),
    ]


def keys() -> list[Panel]:
    """The secrets and what they may do."""
    place = "namespace, job, instance, key, slot"
    joined = f"({metric('key_state')} == 1) * on ({place}) group_left (preview, workspace) {metric('key_info')}"
    columns = ("key", "slot", "state", "preview", "workspace")
    return [
        table(
            "Secrets",
            "State of each on some gateway. The preview is the four characters that Productlane shows too.",
            f"max by ({', '.join(columns)}) ({joined})",
            columns,
        ),
        timeline(
            "Which secret serves",
            "The active one of each key, by slot.",
            f"max by (key, slot) ({metric('key_state', state='active')})",
            "{{key}} {{slot}}",
            {"0": ("-", "text"), "1": ("serves", "green")},
        ),
        graph(
            "Unused for",
            "Since a secret was last sent by any gateway; what is unused long enough is safe to revoke.",
            {"{{key}} {{slot}}": f"time() - max by (key, slot) ({metric('key_last_used_timestamp_seconds')})"},
            unit=units.Seconds,
        ),
        graph(
            "Scopes out of step",
            "Granted, on no key: missing. For nobody: excess. In no catalog: unknown. More than a caller needs: wide.",
            {
                "{{key}} {{what}}": " or ".join(
                    f'label_replace(max by (key) ({metric(name)}), "what", "{what}", "", "")'
                    for name, what in (
                        ("key_scopes_missing", "missing"),
                        ("key_scopes_excess", "excess"),
                        ("key_scopes_unknown", "unknown"),
                        ("key_wide", "wide"),
                    )
                )
            },
        ),
        rates(
            "Look-ups of identity",
            "miss: Productlane was asked. stale: it did not answer, its last answer was used. error: there was none.",
            "identity_lookups_total",
            "result",
        ),
        table(
            "Catalog misses",
            "Productlane asked for a scope that the catalog does not have for the endpoint. Since the start.",
            f"sum by (endpoint) ({metric('catalog_misses_total')})",
            ("endpoint",),
            value="misses",
        ),
        table(
            "Versions",
            "What is running.",
            f"count by (version, python, aiohttp) ({metric('build_info')})",
            ("version", "python", "aiohttp"),
            value="gateways",
        ),
    ]


def budgets() -> list[Panel]:
    """What Productlane grants a minute, and who waits for it."""
    return [
        graph(
            "Lowest share left",
            "Of this minute and the last, by key and lane; at zero requests wait.",
            {"{{key}} {{lane}}": f"min by (key, lane) ({metric('budget_lowest')} / {metric('budget_limit')})"},
            unit=units.PercentUnit,
        ),
        graph(
            "Left now",
            "As the gateways last read it.",
            {"{{key}} {{lane}}": f"min by (key, lane) ({metric('budget_remaining')})"},
        ),
        graph(
            "Sent this minute, by caller",
            "Of each key and lane; all replicas together.",
            {
                "{{caller}}, {{key}} {{lane}}": f"sum by (key, lane, caller) ({metric('budget_caller_used')})",
                "waiting: {{caller}}, {{key}} {{lane}}": (
                    f"sum by (key, lane, caller) ({metric('budget_caller_waiting')})"
                ),
                "share: {{caller}}, {{key}} {{lane}}": f"max by (key, lane, caller) ({metric('budget_caller_share')})",
            },
        ),
        graph(
            "To be expected until the reset",
            "At the present rate; more than are left means that they run out.",
            {"{{key}} {{lane}}": f"sum by (key, lane) ({metric('budget_expected')})"},
        ),
        graph(
            "Until the reset",
            "Seconds left of the minute that Productlane's last answer named; below zero it is over.",
            {"{{key}} {{lane}}": f"max by (key, lane) ({metric('budget_reset_timestamp_seconds')}) - time()"},
            unit=units.Seconds,
        ),
        graph(
            "Waits",
            "How long those waited that had to; half of them, and nineteen in twenty.",
            {
                "p50 {{lane}}": quantile(0.5, "pacing_wait_seconds", "lane"),
                "p95 {{lane}}": quantile(0.95, "pacing_wait_seconds", "lane"),
            },
            unit=units.Seconds,
        ),
        rates(
            "429 by the gateway",
            "Over a policy's own limit, or no budget in time.",
            "requests_total",
            "caller",
            source="gateway",
            status="429",
        ),
    ]


def times() -> list[Panel]:
    """How long things take, and whose time it is."""
    return [
        graph(
            "Requests that Productlane answered",
            "From the head of the request to the last byte of the answer.",
            {
                f"p{share} {{{{lane}}}}": quantile(share / 100, "request_duration_seconds", "lane", source="upstream")
                for share in (50, 95, 99)
            },
            unit=units.Seconds,
        ),
        graph(
            "Productlane's share",
            "Until the head of its answer.",
            {
                f"p{share} {{{{lane}}}}": quantile(share / 100, "upstream_duration_seconds", "lane", source="upstream")
                for share in (50, 95, 99)
            },
            unit=units.Seconds,
        ),
        graph(
            "The gateway's share",
            "Mean of what is neither Productlane's nor a wait for budget. Needs monitoring/rules.yaml.",
            {"{{lane}}": recorded("namespace_job_lane:productlane_gateway_added_seconds:mean5m")},
            unit=units.Seconds,
        ),
        graph(
            "What the gateway answers itself",
            "Refusals, /me, and failures, which may have waited long.",
            {f"p{share}": quantile(share / 100, "request_duration_seconds", source="gateway") for share in (50, 95)},
            unit=units.Seconds,
        ),
    ]


def processes() -> list[Panel]:
    """The processes, and what they depend on beside Productlane."""
    return [
        graph(
            "CPU",
            "Cores in use. One is all that a gateway can use.",
            {"{{instance}}": ours(f"rate({process('process_cpu_seconds_total')}[$__rate_interval])")},
        ),
        graph(
            "Memory", "Resident.", {"{{instance}}": ours(process("process_resident_memory_bytes"))}, unit=units.BytesIEC
        ),
        graph(
            "File descriptors",
            "Share of those allowed; each connection takes one.",
            {"{{instance}}": ours(f"{process('process_open_fds')} / {process('process_max_fds')}")},
            unit=units.PercentUnit,
        ),
        graph(
            "Loads of the configuration",
            "The first of each gateway included.",
            {"{{outcome}}": f"sum by (outcome) (increase({metric('config_reloads_total')}[$__rate_interval]))"},
        ),
        graph(
            "Age of the configuration",
            "Since a gateway last took up a change; one that is far behind the others has not seen theirs.",
            {"{{instance}}": f"time() - {metric('config_last_reload_success_timestamp_seconds')}"},
            unit=units.Seconds,
        ),
        graph(
            "Store",
            "1 while it can be used, and its faults a second.",
            {
                "{{kind}} {{use}}": f"min by (kind, use) ({metric('store_up')})",
                "faults, {{use}}": rate("store_faults_total", "use"),
            },
        ),
        graph("Log lines lost", "A second; nobody took them in time.", {"lines": rate("log_lines_dropped_total")}),
    ]


def build() -> str:
    """The dashboard as JSON."""
    made = Dashboard("Productlane gateway").uid("productlane-gateway").tags(["productlane-gateway"]).readonly()
    made.description("What goes through the gateways, what they refuse, and how their keys are.")
    made.refresh("1m").time("now-3h", "now").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    made.with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    above: dict[str, str] = {}
    for name, chosen in CHOSEN.items():
        # `.*` holds where Prometheus knows no namespace, too.
        made.with_variable(
            QueryVariable(name)
            .label(name.capitalize())
            .datasource(SOURCE)
            .query(f"label_values({selector('productlane_gateway_build_info', above)}, {name})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
        above[name] = chosen
    rows = {
        "Now": now(),
        "Traffic": traffic(),
        "401, 403 and 410": refusals(),
        "Keys": keys(),
        "Budgets": [panel.span(6) for panel in budgets()],
        "Times": [panel.span(6) for panel in times()],
        "Processes": processes(),
    }
    number = count(1)
    for title, panels in rows.items():
        made.with_row(Row(title).id(next(number)))
        for panel in panels:
            made.with_panel(panel.id(next(number)))
    return json.dumps(json.loads(JSONEncoder().encode(made.build())), indent=2, sort_keys=True) + "\n"


def main() -> int:
    """Write the file; with ``--check`` return 1 where it would change."""
    text = build()
    stale = not FILE.exists() or FILE.read_text("utf-8") != text
    if "--check" in sys.argv[1:]:
        sys.stdout.write("dashboard.json: stale; run `make chart`\n" if stale else "")
        return int(stale)
    if stale:
        FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
