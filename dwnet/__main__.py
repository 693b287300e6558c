"""`python -m dwnet`: the command `dwnet`."""

import sys

from dwnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
