"""Starts the commands. Mistakes of the user are reported in one line on the terminal instead of a traceback."""

import argparse
import contextlib
import ctypes
import errno
import functools
import io
import os
import pathlib
import platform
import re
import sys
import traceback
import zlib
from collections.abc import Callable

import jax
from absl import app, flags, logging

USAGE_ERROR = 2
"""Exit status after a mistake of the user."""

UNFINISHED = 75
"""Exit status of a stopped run. The same command resumes it. (EX_TEMPFAIL of sysexits.h)"""

_OF_THE_MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # the disk is full
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG),
)
"""Reasons why a path cannot be read or written that are no bugs, whichever library meets them."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h

_HOME = re.compile(r"^(--[\w.]+=)?~(?=/|$)")  # shells expand it in words of their own only, not after `=`
_PACKAGE = pathlib.Path(__file__).resolve().parent


def is_user_error(error: BaseException) -> bool:
    """Whether a `raise` statement in this project's own code raised an error, with a message for the user."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = pathlib.Path(last.filename).resolve()
    programs = (_PACKAGE.parent, _PACKAGE.parent / "examples")
    return (last.line or "").startswith("raise") and (file.is_relative_to(_PACKAGE) or file.parent in programs)


def _parse_flags(arguments: list[str]) -> list[str]:
    """Parses absl's flags. A missing configuration or an unknown field of it is a mistake of the user."""
    _find_modules_beside_config(arguments)
    try:
        rest = flags.FLAGS(arguments)
        if "config" in flags.FLAGS and (config := flags.FLAGS["config"].value) is not None:
            getattr(config, "to_dict")  # noqa: B009  (ml_collections raises only on first use)
        return rest
    except SystemExit:  # absl exits with 1 after --help
        sys.exit(0)
    except AttributeError as error:
        cause = error.args[0]  # ml_collections wraps a KeyError, whose text is quoted
        field = " ".join(str(cause.args[0] if isinstance(cause, KeyError) else cause).split())
        print(f"error: the configuration has no field {field}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except (OSError, flags.Error) as error:
        reason = str(error).strip().splitlines()[-1].strip()  # an error in a configuration comes as a traceback
        hint = "; `hrnet rows` lists configurations" if "configs/" in reason or "get_config" in reason else ""
        print(f"error: {reason.removeprefix('ValueError: ')}{hint}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def _find_modules_beside_config(arguments: list[str]) -> None:
    """Lets a configuration name ``module:name`` in its own directory. It does so while flags are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", default="")
    with contextlib.suppress(argparse.ArgumentError):  # absl reports it
        if config := parser.parse_known_args(arguments[1:])[0].config:
            sys.path.append(os.path.dirname(os.path.abspath(config)))


def start(main: Callable[..., int | None], takes_arguments: bool = False) -> None:
    """Parses absl's flags, configures JAX and memory, and calls `run`.

    `main` is called with the list of positional arguments if it `takes_arguments`. Otherwise none are allowed.
    """

    def begin(arguments: list[str]) -> None:
        if arguments[1:] and not takes_arguments:
            print(f"error: unexpected argument {arguments[1]!r}: flags begin with --", file=sys.stderr)
            sys.exit(USAGE_ERROR)
        enable_compilation_cache()
        _keep_freed_memory()
        _disable_slow_kernels()
        run(functools.partial(main, arguments[1:]) if takes_arguments else main)

    _use_utf8()
    _expand_home()
    app.run(begin, flags_parser=_parse_flags)


def _use_utf8() -> None:
    """Makes names of files and text UTF-8, as they are in data sets, and lets no output fail.

    Where the locale has another encoding, Python is started again in its UTF-8 mode. The output keeps the
    encoding of the terminal, and what that lacks is escaped.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.encoding != "utf-8":
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")


def _expand_home() -> None:
    """Expands ``~`` at the beginning of arguments and after ``--flag=``."""
    home = os.path.expanduser("~")
    sys.argv[1:] = [_HOME.sub(lambda found: f"{found[1] or ''}{home}", text) for text in sys.argv[1:]]


def enable_compilation_cache() -> None:
    """Lets JAX keep compiled programs between starts, unless the user configured its cache."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        with contextlib.suppress(RuntimeError):  # a user without a home directory
            jax.config.update("jax_compilation_cache_dir", os.fspath(compilation_cache_dir()))


def _keep_freed_memory() -> None:
    """Makes glibc keep large freed blocks of memory instead of returning them to the system.

    A step on a CPU allocates and frees gigabytes. Page faults on fresh memory would take a quarter of its time.
    Blocks freed outside the main thread are not kept, so CPU computations run in the main thread. It would wait
    for them anyway, since a step keeps all cores busy.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def _disable_slow_kernels() -> None:
    """Disables XLA's newest CPU kernels where older ones are faster. Flags of the user take precedence."""
    if jax.__version_info__ < (0, 11):
        os.environ["XLA_FLAGS"] = f"--xla_cpu_experimental_ynn_fusion_type= {os.environ.get('XLA_FLAGS', '')}"


def compilation_cache_dir() -> pathlib.Path:
    """Returns the directory for compiled programs in the user's cache, one for each kind of processor.

    Programs for CPUs depend on the features of the processor, and home directories are shared between machines.
    """
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return home / "hrnet_jax" / processor_kind()


def processor_kind() -> str:
    """Returns a name for the features of this machine's processor, such as ``x86_64-0123abcd``."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    return f"{platform.machine()}-{zlib.crc32(features.encode()):08x}"


def run(main: Callable[[], int | None]) -> None:
    """Runs a command and ends the program with its status, or with 2 after printing a mistake of the user.

    A ValueError or OSError raised by this project is such a mistake, and so is a path that cannot be read or
    written for a reason of `_OF_THE_MACHINE`. Any other error is a bug and keeps its traceback.
    """
    _use_utf8()
    _expand_home()
    logging.set_verbosity(logging.ERROR)  # orbax and grain log at length
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        if not is_user_error(error) and getattr(error, "errno", None) not in _OF_THE_MACHINE:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
