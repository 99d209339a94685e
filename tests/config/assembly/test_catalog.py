"""The catalog that the package ships, and overlays on it."""

from pathlib import Path

import pytest

from gateway.config.assembly.catalog import load_catalog
from gateway.config.reading.problem import ConfigError
from gateway.core.catalog import Endpoint, Lane
from tests.support.plain_catalog import plain_catalog

CONFIGS = Path(__file__).parents[2] / "support" / "configs" / "catalog"


def test_the_package_holds_the_whole_api() -> None:
    """The checked reader returns what the package's file contains; `tests/core` checks that content."""
    catalog, plain = load_catalog(), plain_catalog()

    assert (plain.endpoints, plain.scopes) == (catalog.endpoints, catalog.scopes)


def test_an_overlay_adds_and_overrides() -> None:
    """Endpoints and scopes that are newer than the gateway come from a file, whatever placeholders are called."""
    catalog = load_catalog([CONFIGS / "whole.good.yaml"])
    both = frozenset({"digests:read", "threads:read"})
    sends = Endpoint("POST", "/digests/send", frozenset({"threads:write"}), Lane.UPLOAD, True)

    assert 101 == len(catalog.endpoints)
    assert "read digests" == catalog.scopes["digests:read"]
    assert Endpoint("GET", "/digests", both, Lane.READ) == catalog.named("GET /digests")
    assert sends == catalog.named("POST /digests/send")
    assert Endpoint("GET", "/threads/{any}", frozenset(), Lane.READ) == catalog.named("GET /threads/{id}")
    assert Endpoint("POST", "/webhooks", frozenset({"admin"}), Lane.WRITE) == catalog.named("POST /webhooks")


def test_the_last_overlay_wins(tmp_path: Path) -> None:
    """Overlays are laid on in the order in which they are named."""
    entry = "endpoints: [{{method: GET, path: /digests, scopes: [{}:read]}}]\n"
    for name in ("tags", "docs"):
        (tmp_path / name).write_text(entry.format(name))
    endpoint = load_catalog([tmp_path / "tags", tmp_path / "docs"]).named("GET /digests")

    assert endpoint is not None
    assert {"docs:read"} == endpoint.scopes


def test_a_missing_overlay_is_a_problem(tmp_path: Path) -> None:
    """An unreadable overlay is a problem of the load."""
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_catalog([tmp_path / "none.yaml"])


def test_an_override_does_not_open_what_is_guarded(tmp_path: Path) -> None:
    """A new entry for a guarded endpoint keeps it guarded unless it sets `guarded: false`."""
    overlay = tmp_path / "extra.yaml"
    overlay.write_text("endpoints: [{method: POST, path: /webhooks, scopes: [admin]}]\n")

    with pytest.raises(ConfigError, match="`POST /webhooks` is guarded; say `guarded: true` or `false`"):
        load_catalog([overlay])
