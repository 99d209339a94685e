"""The body of the upstream's answer: its framing taken off, and held until it is taken."""

from typing import Final

from gateway.core.message import Chunked, Framing, Head

# Chunks read in one turn of the event loop, as of callers: an upstream of tiny ones slows nobody else down.
CHUNKS_A_TURN: Final = 64


class WholeBody:
    """A body of a known length that came in one piece with its head, as most do. It reads like an `AnswerBody`."""

    __slots__ = ("_data", "held")

    done: Final = True
    behind: Final = 0

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.held = len(data)

    def take(self) -> bytes:
        """All bytes that are held."""
        data, self._data, self.held = self._data, b"", 0
        return data


class AnswerBody:
    """A body as it arrives. ``done`` tells that it is whole, ``held`` how many bytes of it wait to be taken,
    ``surplus`` that more came than belongs to it, ``until_close`` that it ends with its connection, ``behind`` how many
    bytes of chunks `read_on` is to read.
    """

    __slots__ = ("_chunked", "_left", "_pieces", "behind", "done", "held", "surplus", "until_close")

    def __init__(self, head: Head) -> None:
        framing = head.framing
        self._chunked = Chunked(most=CHUNKS_A_TURN) if framing is _CHUNKED else None
        self._left = (head.length or 0) if framing is _LENGTH else 0
        self._pieces: list[bytes] = []
        self.held = 0
        self.behind = 0
        self.surplus = False
        self.until_close = framing is _CLOSE
        self.done = not (self._left or self.until_close or self._chunked)

    def feed(self, data: bytes) -> bool:
        """Take bytes that have arrived. Raises `Malformed`. Returns whether the caller is to `read_on` in another turn,
        while something is ``behind``.
        """
        size = len(data)
        if size == self._left:
            # The rest in one piece, as most bodies come.
            self._pieces.append(data)
            self.held += size
            self._left, self.done = 0, True
            return False
        if self._chunked is not None:
            return self._feed_chunks(self._chunked, data)
        if not self.until_close:
            if size >= self._left:
                self.done, self.surplus = True, size > self._left
                data = data[: self._left] if self.surplus else data
                size = self._left
            self._left -= size
        if size:
            self._pieces.append(data)
            self.held += size
        return False

    def read_on(self) -> None:
        """Read what is ``behind``, as far as one turn of the event loop goes. Raises `Malformed`."""
        if self._chunked is not None and self.behind:
            self.behind = 0
            self._feed_chunks(self._chunked, b"")

    def _feed_chunks(self, chunked: Chunked, data: bytes) -> bool:
        if self.behind:
            chunked.keep(data)
            self.behind = chunked.kept
            return False
        if not self.done:
            pieces = chunked.feed(data)
            if pieces:
                self._pieces.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                self.held += len(self._pieces[-1])
            self.behind = chunked.kept if chunked.held else 0
            self.surplus, self.done = bool(chunked.rest), chunked.done
        return self.behind > 0

    def take(self) -> bytes:
        """All bytes that are held."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.held = 0
        return data


# An attribute of an enumeration is looked up far more slowly than a global.
_CHUNKED, _CLOSE, _LENGTH = Framing.CHUNKED, Framing.CLOSE, Framing.LENGTH
