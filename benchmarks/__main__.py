"""`python -m benchmarks`: measure the peers in turns and write the table."""

import sys

from benchmarks.run import main

sys.exit(main())
