"""A Secret out of the protobuf in which Helm sends it: `generated.proto` of k8s.io/api/core/v1 and apimachinery."""

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


def secret(body: bytes) -> dict[str, Any]:
    """The Secret in a body that begins with `MAGIC`. Raises `ValueError` if there is another kind in it."""
    envelope = dict(fields(body.removeprefix(MAGIC)))
    if b"Secret" != dict(fields(envelope[1]))[2]:
        raise ValueError("only Secrets are read from protobuf")
    made: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {}}
    for number, value in fields(envelope[2]):
        if number == 1:
            made["metadata"] = _metadata(value)
        elif number == 2:
            entry = dict(fields(value))
            made["data"][entry[1].decode()] = base64.b64encode(entry[2]).decode()
        elif number == 3:
            made["type"] = value.decode()
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
