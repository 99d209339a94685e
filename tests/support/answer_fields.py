"""An answer's fields as the gateway reads them from a head: values by names in lower case."""

from collections.abc import Mapping


def answer_fields(fields: Mapping[str, str]) -> dict[bytes, list[bytes]]:
    """The fields of a head, each with one value."""
    return {name.lower().encode(): [value.encode()] for name, value in fields.items()}
