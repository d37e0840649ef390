"""How the commands speak: what a user can mend is one line on the terminal, not a traceback."""

import pathlib
import sys
import traceback
from collections.abc import Callable

from absl import app, flags, logging

USAGE_ERROR = 2

_PACKAGE = pathlib.Path(__file__).resolve().parent


def _ours(error: BaseException) -> bool:
    """Whether this project's own code raised an error by a `raise`, and so wrote it for the user."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = pathlib.Path(last.filename).resolve()
    return (last.line or "").startswith("raise") and (
        file.is_relative_to(_PACKAGE) or file.parent == _PACKAGE.parent
    )


def _parse_flags(arguments: list[str]) -> list[str]:
    """As absl does; a configuration that is missing, or a field that it does not have, is the user's mistake."""
    try:
        rest = app.parse_flags_with_usage(arguments)
        getattr(flags.FLAGS["config"].value, "to_dict")  # noqa: B009  (ml_collections tells only on first use)
        return rest
    except (OSError, AttributeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def start(main: Callable[[], int | None]) -> None:
    """Starts a program whose flags absl reads, and `run`s it."""
    app.run(lambda _: run(main), flags_parser=_parse_flags)


def run(main: Callable[[], int | None]) -> None:
    """Runs a command and ends the program: status 0, or 2 after printing a mistake the user can mend.

    A ValueError or OSError that this project raises is such a mistake, since that is how it reports bad input;
    anything else is a fault in the program and keeps its traceback.
    """
    logging.set_verbosity(logging.ERROR)  # orbax and grain tell at length what they are doing
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        if not _ours(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
