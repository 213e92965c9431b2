"""`python -m conflux` is `conflux`."""

import sys

from conflux.cli.main import main

sys.exit(main())
