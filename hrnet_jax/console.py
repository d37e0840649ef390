"""How the commands start and speak: what a user can mend is one line on the terminal, not a traceback."""

import contextlib
import ctypes
import functools
import os
import pathlib
import platform
import sys
import traceback
import zlib
from collections.abc import Callable

import jax
from absl import app, flags, logging

USAGE_ERROR = 2
"""Exit status after a mistake of the user's."""

UNFINISHED = 75
"""Exit status of a run that was stopped; the same command resumes it (EX_TEMPFAIL of sysexits.h)."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h

_PACKAGE = pathlib.Path(__file__).resolve().parent


def is_for_user(error: BaseException) -> bool:
    """Whether this project's own code raised an error by a `raise`, and so wrote it for the user."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = pathlib.Path(last.filename).resolve()
    return (last.line or "").startswith("raise") and (
        file.is_relative_to(_PACKAGE) or file.parent == _PACKAGE.parent
    )


def _parse_flags(arguments: list[str]) -> list[str]:
    """As absl does; a configuration that is missing, or a field that it does not have, is the user's mistake."""
    try:
        rest = _parse_or_help(arguments)
        if (config := flags.FLAGS["config"].value) is not None:
            getattr(config, "to_dict")  # noqa: B009  (ml_collections tells only on first use)
        return rest
    except (OSError, AttributeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def _parse_or_help(arguments: list[str]) -> list[str]:
    """Parses flags. ``--help`` exits with status 0; absl's own exits with 1."""
    try:
        return app.parse_flags_with_usage(arguments)
    except SystemExit:
        sys.exit(0 if {"--help", "-help", "--helpfull", "-h"} & {*arguments} else USAGE_ERROR)


def start(main: Callable[..., int | None], takes_arguments: bool = False) -> None:
    """Starts a program whose flags absl reads, and `run`s it.

    Args:
      main: the program; of one that `takes_arguments` besides flags, a function of their list.
      takes_arguments: otherwise there must be none.
    """

    def begin(arguments: list[str]) -> None:
        if arguments[1:] and not takes_arguments:
            print(f"error: {arguments[1]!r} is not understood: flags begin with --", file=sys.stderr)
            sys.exit(USAGE_ERROR)
        _keep_compiled_programs()
        _keep_memory()
        _choose_kernels()
        run(functools.partial(main, arguments[1:]) if takes_arguments else main)

    app.run(begin, flags_parser=_parse_flags)


def _keep_compiled_programs() -> None:
    """Lets JAX keep what it compiles, so that the next start need not; unless the user said where, or not to."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        with contextlib.suppress(RuntimeError):  # a user without a home
            jax.config.update("jax_compilation_cache_dir", os.fspath(compilation_cache()))


def _keep_memory() -> None:
    """Lets this process keep large blocks of memory that it frees, as glibc does not by itself.

    A step on a CPU takes gigabytes and frees them at its end; to get them anew, page by page, is a quarter of its
    time. What threads other than the first free is not kept, so the CPU, if it is the run's only device, is to
    work in the first, which waits for it: all cores are busy with a step anyway.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def _choose_kernels() -> None:
    """Turns XLA's newest CPU kernels off where they are slower than those before; the user's flags come last."""
    if jax.__version_info__ < (0, 11):
        os.environ["XLA_FLAGS"] = f"--xla_cpu_experimental_ynn_fusion_type= {os.environ.get('XLA_FLAGS', '')}"


def compilation_cache() -> pathlib.Path:
    """Returns where compiled programs are kept: in the user's cache, apart for each kind of processor.

    Programs for CPUs use what the processor has, and homes are shared between machines.
    """
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return home / "hrnet_jax" / kind_of_processor()


def kind_of_processor() -> str:
    """Returns a name for this machine's processor by what it is able to, such as ``x86_64-0123abcd``."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else [platform.processor()]
    abilities = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    return f"{platform.machine()}-{zlib.crc32(abilities.encode()):08x}"


def run(main: Callable[[], int | None]) -> None:
    """Runs a command and ends the program: status 0, or 2 after printing a mistake the user can mend.

    A ValueError or OSError that this project raises is such a mistake, since that is how it reports bad input;
    anything else is a fault in the program and keeps its traceback.
    """
    logging.set_verbosity(logging.ERROR)  # orbax and grain tell at length what they are doing
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        if not is_for_user(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
