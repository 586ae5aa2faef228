"""TYPE A: lines end with CRLF on the wire and with LF in storage (RFC 959 section 3.1.1.1).

Incremental: how the data is cut into chunks never changes what comes out.
"""

__all__ = ["AsciiDecoder", "AsciiEncoder"]


class AsciiDecoder:
    """CRLF → LF, for what a client sends; a CR that no LF follows is data."""

    def __init__(self) -> None:
        self._held = b""  # a CR at the end of a chunk: the LF may come with the next one

    def convert(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return the next converted bytes, none perhaps."""
        chunk = self._held + bytes(data)
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        return chunk.removesuffix(b"\r").replace(b"\r\n", b"\n")

    def finish(self) -> bytes:
        """Return what was held back; call it once, after the last chunk."""
        held, self._held = self._held, b""
        return held


class AsciiEncoder:
    """LF → CRLF, for what a client receives; a CRLF that is there already is not doubled."""

    def __init__(self) -> None:
        self._ended_with_cr = False

    def convert(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return the converted bytes; nothing is ever held back."""
        chunk = bytes(data)
        converted = chunk.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if self._ended_with_cr and chunk.startswith(b"\n"):
            converted = converted[1:]
        if chunk:
            self._ended_with_cr = chunk.endswith(b"\r")
        return converted
