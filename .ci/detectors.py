"""What a credential of this project looks like, for detect-secrets: nothing of the kind belongs into the tree."""

import re
from typing import Final

from detect_secrets.plugins.base import RegexBasedDetector


class ProductlaneKeyDetector(RegexBasedDetector):
    """A key of Productlane or a caller's token as they are issued; the stand-ins of tests and documents are shorter."""

    secret_type = "Productlane key"  # noqa: S105 - its name
    denylist: Final = (
        re.compile(r"pl_v[12]_[A-Za-z0-9]{24,}"),
        re.compile(r"plgw_[A-Za-z0-9_-]{43}"),
    )
