"""A reverse auth proxy for the Productlane v2 API.

Rooms from the top floor down; an import goes down, never up or in a circle:
``cli`` > ``server`` > ``reload``, ``legs`` > ``proxy``, ``admin`` > ``callers``, ``keys`` > ``config``, ``simulator``
> ``core``, ``telemetry``.
"""

__version__ = "0.2.0"
