"""What an `FtpServer` is told: one frozen value, validated by whoever makes it.

It must not know where the values come from (a file, the demo, a test).
"""

from dataclasses import dataclass

__all__ = ["ServerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Listeners and limits of one server. Times are in seconds, ranges inclusive."""

    hosts: tuple[str, ...]
    """Addresses to listen on, IPv4 and IPv6 ("0.0.0.0", "::", "127.0.0.1"); "::" is IPv6 alone."""
    port: int
    """0 lets the kernel choose one, a different one per host."""
    passive_ports: tuple[int, int] = (60000, 65535)
    """Inclusive range for data listeners; (0, 0) lets the kernel choose."""
    masquerade_address: str | None = None
    """IPv4 address or host name that PASV tells instead of the local address (NAT)."""
    masquerade_ttl_seconds: float = 60.0
    """How long it is remembered what the host name stands for: dynamic names have such a TTL."""
    banner: str = "COS FTP Server ready."
    """Text of the 220 greeting, one line of printable characters."""

    max_connections: int = 512
    """Control connections at once; 0 = no limit."""
    max_logins: int = 100
    """Sessions logged in at once; 0 = no limit."""
    max_list_entries: int = 10_000
    """Entries that one LIST, NLST, MLSD or STAT shows."""
    max_login_failures: int = 3
    """Wrong passwords on one connection before it is closed with 421."""

    keep_interrupted: bool = False
    """Whether an upload that breaks off is stored as far as it came, to be resumed later."""

    login_failure_delay_seconds: float = 1.0
    """From a wrong PASS to its reply, at least."""
    login_timeout_seconds: float = 60.0
    """From connect to a completed login."""
    idle_timeout_seconds: float = 300.0
    """Between two commands; stands still while one is being served."""
    data_connect_timeout_seconds: float = 30.0
    """From a transfer command to an established data connection."""
    data_stall_timeout_seconds: float = 60.0
    """Without one byte moved by the client while it is the client's turn."""
    finalise_keepalive_seconds: float = 5.0
    """Between two continuation lines while a command takes long to finish. lftp, ncftp and ftplib
    give up after 20 s of silence in usual set-ups, tnftp after 60 s."""
    shutdown_grace_seconds: float = 30.0
    """For running commands and transfers when the server stops."""
