"""COS FTP Server: an FTP server whose disk is Tencent COS (Cloud Object Storage)."""
