"""Productlane's ten error codes, with their statuses and the envelope (its page on errors)."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.row_enum import RowEnum


class ErrorCode(RowEnum):
    """``error.code``, the part of an error that clients may rely on, with its ``status``."""

    def __init__(self, _: str, status: int) -> None:
        self.status: Final = status

    VALIDATION_FAILED = "validation_failed", 400
    UNAUTHENTICATED = "unauthenticated", 401
    SCOPE_REQUIRED = "scope_required", 403
    FORBIDDEN = "forbidden", 403
    NOT_FOUND = "not_found", 404
    CONFLICT = "conflict", 409
    UNSUPPORTED_KEY_VERSION = "unsupported_key_version", 410
    UNPROCESSABLE = "unprocessable", 422
    RATE_LIMITED = "rate_limited", 429
    INTERNAL_ERROR = "internal_error", 500


class Failed(Exception):
    """The simulator answers with an error. ``status`` differs from the code's own only if a fault demands it."""

    def __init__(
        self,
        code: ErrorCode | str,
        message: str,
        *,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.details: Final = details
        self.headers: Final = dict(headers or {})
        self.status: Final = status or (code.status if isinstance(code, ErrorCode) else 500)

    def envelope(self, request_id: str) -> dict[str, Any]:
        """``{"error": {"code", "message", "details"?, "request_id"}}``."""
        details = {} if self.details is None else {"details": self.details}
        return {"error": {"code": self.code, "message": self.message, **details, "request_id": request_id}}


def invalid(*problems: tuple[str, str]) -> Failed:
    """400 ``validation_failed`` with ``details`` of ``{path, message}``; a path is dotted, ``tags.0``."""
    details = [{"path": path, "message": message} for path, message in problems]
    return Failed(ErrorCode.VALIDATION_FAILED, "The request is not valid.", details=details)


def absent(what: str) -> Failed:
    """404 for what does not exist, or does no longer: Productlane says the same for both."""
    return Failed(ErrorCode.NOT_FOUND, f"{what} not found.")
