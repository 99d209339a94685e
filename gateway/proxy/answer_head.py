"""The heads of the upstream's answer as they arrive, up to the final one."""

from typing import Final

from gateway.core.field_rules import Rules
from gateway.core.message import MAX_HEAD, Head, Malformed, check_beginning, read_head

_MAX_INTERIM: Final = 16


class AnswerHead:
    """``head`` is the final head, once it has arrived; interim ones are dropped."""

    __slots__ = ("_buffer", "_interim", "_method", "_rules", "head")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.expect("")

    def expect(self, method: str) -> None:
        """Another answer is to be read, to a request of this method."""
        self._method = method
        self._buffer = b""
        self._interim = 0
        self.head: Head | None = None

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived; returns what follows the final head. Raises `Malformed`."""
        data = self._buffer + data if self._buffer else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            if end > MAX_HEAD:
                break
            head = read_head(data[:end], self._method, self._rules)
            data = data[end + 4 :]
            if head.status >= 200:
                self._buffer = b""
                self.head = head
                return data
            self._interim += 1
            if head.status == 101 or self._interim > _MAX_INTERIM:
                raise Malformed("an interim answer that was not asked for")
        if len(data) > MAX_HEAD:
            raise Malformed(f"the head is longer than {MAX_HEAD} bytes")
        check_beginning(data)
        self._buffer = data
        return b""
