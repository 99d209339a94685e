"""Productlane's ten error codes, with their statuses and the envelope (its page on errors)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final


class ErrorCode(StrEnum):
    """``error.code``: the part of an error that clients may rely on."""

    VALIDATION_FAILED = "validation_failed"
    UNAUTHENTICATED = "unauthenticated"
    SCOPE_REQUIRED = "scope_required"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNSUPPORTED_KEY_VERSION = "unsupported_key_version"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"


STATUSES: Final[dict[ErrorCode, int]] = {
    ErrorCode.VALIDATION_FAILED: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.SCOPE_REQUIRED: 403,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.UNSUPPORTED_KEY_VERSION: 410,
    ErrorCode.UNPROCESSABLE: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL_ERROR: 500,
}


class Failed(Exception):
    """The simulator answers with an error. ``status`` differs from the code's own only where a fault asks for it."""

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
        self.code: Final = str(code)
        self.message: Final = message
        self.details: Final = details
        self.headers: Final = dict(headers or {})
        self.status: Final = status if status is not None else STATUSES[ErrorCode(code)]

    def envelope(self, request_id: str) -> dict[str, Any]:
        """``{"error": {"code", "message", "details"?, "request_id"}}``."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        error["request_id"] = request_id
        return {"error": error}


def invalid(*problems: tuple[str, str]) -> Failed:
    """400 ``validation_failed`` with ``details`` of ``{path, message}``; a path is dotted, ``tags.0``."""
    details = [{"path": path, "message": message} for path, message in problems]
    return Failed(ErrorCode.VALIDATION_FAILED, "The request is not valid.", details=details)


def absent(what: str) -> Failed:
    """404 for what does not exist, or does no longer: Productlane says the same for both."""
    return Failed(ErrorCode.NOT_FOUND, f"{what} not found.")
