"""COS FTP Server: an FTP server whose disk is Tencent COS (Cloud Object Storage)."""

import logging

# Whoever sets up no logging, such as `check`, gets none: no warnings of ours on stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())
