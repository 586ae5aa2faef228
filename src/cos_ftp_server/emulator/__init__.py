"""A COS endpoint on a local directory: the product's embedded store and the store of its tests.

Owns the server side of the COS XML API (requests, signatures, objects, multipart uploads,
listings, faults on demand). It must not know FTP, nor the client in `cos`: the two sides of the
protocol are written apart, so that neither can hide a mistake of the other.
"""

from cos_ftp_server.emulator.config import EmulatorBucket, EmulatorConfig
from cos_ftp_server.emulator.faults import Fault, Faults, Rule, parse_faults
from cos_ftp_server.emulator.recorder import RequestLog, RequestRecord
from cos_ftp_server.emulator.server import Emulator

__all__ = [
    "Emulator",
    "EmulatorBucket",
    "EmulatorConfig",
    "Fault",
    "Faults",
    "RequestLog",
    "RequestRecord",
    "Rule",
    "parse_faults",
]
