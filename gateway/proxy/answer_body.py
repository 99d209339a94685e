"""The body of the upstream's answer as it arrives: its framing taken off, and held until it is taken."""

from gateway.core.message import Chunked, Framing, Head


class AnswerBody:
    """``done`` tells that the body is whole, ``held`` how many bytes of it wait to be taken. ``surplus`` tells that
    more came than belongs to it, ``until_close`` that it ends with its connection.
    """

    __slots__ = ("_chunked", "_left", "_pieces", "done", "held", "surplus", "until_close")

    def __init__(self, head: Head) -> None:
        framing = head.framing
        self._chunked = Chunked() if framing is _CHUNKED else None
        self._left = (head.length or 0) if framing is _LENGTH else 0
        self._pieces: list[bytes] = []
        self.held = 0
        self.surplus = False
        self.until_close = framing is _CLOSE
        self.done = not (self._left or self.until_close or self._chunked)

    def feed(self, data: bytes) -> None:
        """Take bytes that have arrived. Raises `Malformed`."""
        size = len(data)
        if size == self._left:
            # The rest in one piece, as most bodies come.
            self._pieces.append(data)
            self.held += size
            self._left, self.done = 0, True
            return
        if self._chunked is not None:
            if not self.done:
                for piece in self._chunked.feed(data):
                    self._pieces.append(piece)
                    self.held += len(piece)
                self.surplus, self.done = bool(self._chunked.rest), self._chunked.done
            return
        if not self.until_close:
            if size >= self._left:
                self.done, self.surplus = True, size > self._left
                data = data[: self._left] if self.surplus else data
                size = self._left
            self._left -= size
        if size:
            self._pieces.append(data)
            self.held += size

    def take(self) -> bytes:
        """All bytes that are held."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.held = 0
        return data


# An attribute of an enumeration is looked up far more slowly than a global.
_CHUNKED, _CLOSE, _LENGTH = Framing.CHUNKED, Framing.CLOSE, Framing.LENGTH
