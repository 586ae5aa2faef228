"""FTP on sockets: sessions, transfers and limits. Moves bytes between clients and a file system."""

from cos_ftp_server.server.config import ServerConfig
from cos_ftp_server.server.server import FtpServer

__all__ = ["FtpServer", "ServerConfig"]
