"""The FTP language, pure: bytes and text in, values out, no I/O and no knowledge of storage."""
