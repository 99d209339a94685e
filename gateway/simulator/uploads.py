"""``POST /files``: a file is counted and hashed as it comes, and not kept."""

import hashlib
from typing import Any, Final, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from gateway.simulator.arrivals import Body
from gateway.simulator.errors import invalid
from gateway.simulator.workspace import Workspace

# The vendor says 10 MB; whether it means 10^6 or 2^20 is undocumented, and so is the answer to a larger file: 400 here.
MAX_FILE: Final = 10 * 1024 * 1024
_CHUNK: Final = 65_536

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
ALLOWED: Final = frozenset(
    {
        "image/png", "image/jpeg", "image/gif", "image/webp",
        "application/pdf",
        "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint",
        f"{_OFFICE}wordprocessingml.document", f"{_OFFICE}spreadsheetml.sheet", f"{_OFFICE}presentationml.presentation",
        "text/csv", "text/plain",
    }
)  # fmt: skip


async def upload(headers: CIMultiDictProxy[str], body: Body, workspace: Workspace) -> dict[str, Any]:
    """Read ``multipart/form-data`` with one part ``file``. Raises `Failed` 400 for anything else.

    The answer's field names are not documented beyond a CDN URL; ``sha256`` is the simulator's own.
    """
    if not headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        raise invalid(("file", "Expected multipart/form-data."))
    try:
        reader = MultipartReader(headers, cast("StreamReader", body))
        stored = await _file(reader, workspace)
        while await body.read(_CHUNK):
            pass
    except (ValueError, HttpProcessingError) as error:
        raise invalid(("", "The multipart body is malformed.")) from error
    return stored


async def _file(reader: MultipartReader, workspace: Workspace) -> dict[str, Any]:
    stored: dict[str, Any] | None = None
    async for part in reader:
        if not isinstance(part, BodyPartReader) or part.name != "file" or stored is not None:
            raise invalid(("file", "Expected exactly one part, named file."))
        content_type = _allowed(part.headers.get("Content-Type", ""))
        digest, size = hashlib.sha256(), 0
        while chunk := await part.read_chunk(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > MAX_FILE:
                raise invalid(("file", "The file is larger than 10 MB."))
        about = {"file_name": part.filename or "file", "content_type": content_type, "size": size}
        row = workspace.stamp("file") | about | {"sha256": digest.hexdigest()}
        stored = row | {"url": f"https://cdn.simulator.example/{row['id']}"}
    if stored is None:
        raise invalid(("file", "Required."))
    return stored


def _allowed(content_type: str) -> str:
    plain_type = content_type.partition(";")[0].strip().lower()
    if plain_type not in ALLOWED:
        raise invalid(("file", f"Files of the type {plain_type or 'unknown'} are not allowed."))
    return plain_type
