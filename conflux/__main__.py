"""Where the command line begins: `python -m conflux`, and the `conflux` that pip installs.

Python takes a tenth of a second to load the rest. Ctrl-C within that time is a person's change of mind and no bug:
it ends the process, with nothing said. So it is again once the command is over.

Rule 1: nothing is imported before the handler stands that Python has not loaded by then anyway.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130


def main() -> int:
    """Run the command line; gives the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script: Ctrl-C means others
        from conflux.cli.main import main as run

        return run()
    signal.signal(signal.SIGINT, _end)
    try:
        from conflux.cli.main import main as run

        return run()
    finally:
        signal.signal(signal.SIGINT, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
