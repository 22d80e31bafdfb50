"""`python -m xpnet`."""

import sys

from xpnet.cli import main

if __name__ == "__main__":  # worker processes import the main program's module
    sys.exit(main())
