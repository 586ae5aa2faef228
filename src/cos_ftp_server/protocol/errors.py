"""The one way in which this layer says no: an exception that is already a reply."""

from cos_ftp_server.errors import GatewayError
from cos_ftp_server.protocol.replies import Reply

__all__ = ["ProtocolError"]


class ProtocolError(GatewayError):
    """The client asked for something that the protocol or this server refuses with `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply

    def __str__(self) -> str:
        return f"{self.reply.code} {self.reply.text}"
