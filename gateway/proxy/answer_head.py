"""The heads of the upstream's answer as they arrive, up to the final one."""

from typing import Final

from gateway.core.field_rules import Rules
from gateway.core.message import MAX_HEAD, Head, Malformed, check_beginning, read_head

_END: Final = b"\r\n\r\n"
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
        self._buffer = bytearray()
        self._interim = 0
        self.head: Head | None = None

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived; returns what follows the final head. Raises `Malformed`."""
        begun, seen = self._buffer, len(self._buffer)
        if begun:
            begun += data
            # Nothing is looked through twice, so that a head of 60 kB may come byte by byte.
            if begun.find(_END, max(seen - len(_END) + 1, 0)) < 0:
                return self._keep(begun, seen)
            data = bytes(begun)
        while 0 <= (end := data.find(_END)) <= MAX_HEAD:
            head = read_head(data[:end], self._method, self._rules)
            data = data[end + len(_END) :]
            if head.status >= 200:
                begun.clear()
                self.head = head
                return data
            self._interim += 1
            if head.status == 101 or self._interim > _MAX_INTERIM:
                raise Malformed("an interim answer that was not asked for")
        return self._keep(bytearray(data), 0)

    def _keep(self, begun: bytearray, seen: int) -> bytes:
        """Keep the beginning of a head, whose bytes from ``seen`` on are new. Raises `Malformed`."""
        if len(begun) > MAX_HEAD:
            raise Malformed(f"the head is longer than {MAX_HEAD} bytes")
        check_beginning(begun, seen)
        self._buffer = begun
        return b""
