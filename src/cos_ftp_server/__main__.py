"""`python -m cos_ftp_server`: the installed command by another name."""

import sys

from cos_ftp_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
