"""`python -m tests.teeth`: see `tests/teeth/runner.py`."""

import sys

from tests.teeth.runner import main

if __name__ == "__main__":
    sys.exit(main())
