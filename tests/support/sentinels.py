"""Keys, tokens and scopes that tests use: recognisable wherever they turn up."""

from typing import Final

KEY: Final = "pl_v2_Kone-sentinel-0123456789"
OTHER_KEY: Final = "pl_v2_Ktwo-sentinel-0123456789"
TOKEN: Final = "plgw_token-of-app-0123456789"
# The variables of a gateway whose configuration names them.
SECRETS: Final = {"MAIN_KEY": KEY, "SECOND_KEY": OTHER_KEY}

_OF = ("threads", "contacts", "companies", "projects", "issues", "tags", "snippets", "changelogs", "docs")
ALL_SCOPES: Final = (
    *(f"{name}:{right}" for name in _OF for right in ("read", "write")),
    *("messages:write", "comments:write", "portal:read", "files:write", "admin"),
)
