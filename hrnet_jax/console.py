"""How the commands speak: what a user can mend is one line on the terminal, not a traceback."""

import pathlib
import sys
import traceback
from collections.abc import Callable

from absl import app, logging

USAGE_ERROR = 2

_PACKAGE = pathlib.Path(__file__).resolve().parent


def _ours(error: BaseException) -> bool:
    """Whether an error was raised by this project's own code, and so was written for the user."""
    raised_in = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    return raised_in.is_relative_to(_PACKAGE) or raised_in.parent == _PACKAGE.parent


def start(main: Callable[[], int | None]) -> None:
    """Starts a program whose flags absl reads; a configuration that cannot be read has no traceback either."""
    logging.set_verbosity(logging.ERROR)  # orbax and grain tell at length what they are doing
    try:
        app.run(lambda _: run(main))
    except OSError as error:  # of ml_collections, while reading the flags
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def run(main: Callable[[], int | None]) -> None:
    """Runs a command and ends the program: status 0, or 2 after printing a mistake the user can mend.

    A ValueError or OSError that this project raised is such a mistake, since that is how it reports bad input;
    anything else is a fault in the program and keeps its traceback.
    """
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        if not _ours(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
