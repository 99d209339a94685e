"""Secrets and Namespaces out of the protobuf in which Helm and kubectl send them.

The numbers are those of `generated.proto` of k8s.io/api/core/v1 and apimachinery.
"""

import base64
from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message: an integer, or bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            length = varint()
            at += length
            yield tag >> 3, data[at - length : at]
        else:
            raise ValueError(f"wire type {tag & 7}")


def read(body: bytes) -> dict[str, Any]:
    """The Secret or Namespace in a body that begins with `MAGIC`. Raises `ValueError` for another kind."""
    envelope = dict(fields(body.removeprefix(MAGIC)))
    kind = dict(fields(envelope[1]))[2].decode()
    made: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {}}
    for number, value in fields(envelope[2]):
        if number == 1:
            made["metadata"] = _metadata(value)
        elif kind == "Secret" and number == 2:
            entry = dict(fields(value))
            made.setdefault("data", {})[entry[1].decode()] = base64.b64encode(entry[2]).decode()
        elif kind == "Secret" and number == 3:
            made["type"] = value.decode()
        elif kind != "Namespace":
            raise ValueError(f"field {number} of {kind} is not read from protobuf")
    return made


def _metadata(data: bytes) -> dict[str, Any]:
    made: dict[str, Any] = {"labels": {}}
    for number, value in fields(data):
        if number == 1:
            made["name"] = value.decode()
        elif number == 11:
            entry = dict(fields(value))
            made["labels"][entry[1].decode()] = entry[2].decode()
    return made
