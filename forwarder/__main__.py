"""`python -m forwarder`: the command line, for a tree that was not installed."""

import sys

from forwarder.cli import main

if __name__ == "__main__":
    sys.exit(main())
