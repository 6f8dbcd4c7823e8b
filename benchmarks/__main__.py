"""`python -m benchmarks`: described in docs/reference/benchmarks.md."""

import sys

from benchmarks.cli import main

if __name__ == "__main__":
    sys.exit(main())
