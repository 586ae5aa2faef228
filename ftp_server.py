"""Start the FTP server with `conf/vsftpd.conf` beside this file: `python ftp_server.py`.

The same as `cos-ftp-server serve`; it runs from a checkout after `pip install .`.
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent


def main() -> int:
    """Run `serve`, or say what has to be installed first."""
    try:
        from cos_ftp_server.cli import main as run
    except ModuleNotFoundError as error:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(
            f"ftp_server.py: error: {sys.executable} (Python {version}) has no {error.name}; "
            f"install COS FTP Server for Python 3.11 or later with: "
            f"{sys.executable} -m pip install {CHECKOUT}\n"
        )
        return 1
    return run(["serve", "--config", str(CHECKOUT / "conf" / "vsftpd.conf"), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
