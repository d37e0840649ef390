"""Plants faults in copies of the project, one at a time, and checks that the tests find each of them.

    python tests/mutants.py [NUMBER | PART_OF_A_PATH ...] [--without_reference] [--jobs=N]

takes the faults of ``mutants.txt``, all or those selected, and prints the test that killed each. Without a fault
the tests concerned must pass. The exit status is 1 if they do not, or if a fault survives or cannot be planted.

Tools such as mutmut and cosmic-ray change every operator and constant there is, which takes days of tests and does
mostly no harm; ``mutants.txt`` has faults that would hurt silently, each with the few tests to find it. There
``== FILE`` stands before the faults of a file, and ``:: TEST ...`` before those that these tests should find. A
fault is a text that occurs once in the file, in lines after ``- ``, and the wrong text, in lines after ``+ ``.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIST = pathlib.Path(__file__).with_name("mutants.txt")
TIMEOUT = 300  # seconds for the tests of a fault: some faults make them wait forever
KILLED, SLOW, SURVIVED = "killed", "killed by time", "SURVIVED"
BROKEN, NOT_PLANTED = "BROKEN", "could NOT be planted"
PASSED, FAILED, INTERRUPTED, NO_TESTS = 0, 1, 2, 5
"""pytest's exit statuses. It stops where a module cannot be imported."""
VERDICTS = {
    PASSED: SURVIVED,
    NO_TESTS: SURVIVED,
    FAILED: KILLED,
    INTERRUPTED: KILLED,
    -signal.SIGKILL: SLOW,
}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A fault: a text of a file that occurs once, the wrong text, and the tests that should find it."""

    number: int
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.number:>4}  {self.file}: {old} -> {new or 'nothing'}"

    def plant(self, project: pathlib.Path) -> bool:
        """Changes the file of a copy. Returns False if the text does not occur exactly once."""
        path = project / self.file
        text = path.read_text() if path.is_file() else ""
        if text.count(self.old) != 1:
            return False
        path.write_text(text.replace(self.old, self.new))
        return True


def load() -> list[Mutant]:
    """Returns all faults, numbered from 1 in the order of the list."""
    mutants, file, tests = [], "", ()
    for block in LIST.read_text().strip().split("\n\n"):
        old, new = [], []
        for line in block.splitlines():
            mark, content = line[:2], line[2:]
            if mark == "==":
                file = content.strip()
            elif mark == "::":
                tests = tuple(f"tests/{test}" for test in content.split())
            else:
                {"- ": old, "+ ": new}[mark].append(content)
        mutants.append(Mutant(len(mutants) + 1, file, "\n".join(old), "\n".join(new), tests))
    return mutants


def select(mutants: Sequence[Mutant], words: Sequence[str]) -> list[Mutant]:
    """Returns the faults with one of the numbers, or in a file whose path has one of the parts."""

    def matches(mutant: Mutant, word: str) -> bool:
        return word == str(mutant.number) if word.isdigit() else word in mutant.file

    return [mutant for mutant in mutants if not words or any(matches(mutant, word) for word in words)]


def copy(folder: pathlib.Path, with_reference: bool) -> pathlib.Path:
    """Copies the project into a folder, with the reference data beside it or not."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "__pycache__", "data", "runs"))
    if with_reference:
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    (folder / "tmp").mkdir()
    return project


def run_tests(
    project: pathlib.Path, cache: pathlib.Path, *arguments: str, timeout: float | None = None
) -> tuple[int, str]:
    """Runs pytest in a copy and ends what it leaves running. Returns the exit status and the output.

    Programs that JAX compiled before are taken from the cache, by a hash of their code.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", *arguments]
    settings = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    settings |= {"TMPDIR": project.parent / "tmp"}
    environment = os.environ | {name: os.fspath(value) for name, value in settings.items()}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    process = subprocess.Popen(command, cwd=project, env=environment, start_new_session=True, **streams)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, f"FAILED it took more than {timeout:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def attempt(mutant: Mutant, cache: pathlib.Path, with_reference: bool) -> str:
    """Plants a fault in a copy of its own, runs the tests concerned and prints the result."""
    started, found_by = time.monotonic(), ""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        project = copy(pathlib.Path(folder), with_reference)
        verdict = NOT_PLANTED
        if mutant.plant(project):
            status, output = run_tests(project, cache, "-x", *mutant.tests, timeout=TIMEOUT)
            verdict = VERDICTS.get(
                status, BROKEN if 0 <= status < 128 else KILLED
            )  # others: a signal ended the tests
            found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output, re.MULTILINE)
            found_by = found[1].replace("tests/", "") if found else output.strip()[-100:]
    seconds = time.monotonic() - started
    print(
        f"{mutant}\n      {verdict}, {seconds:.1f} s{f', {found_by}' if verdict != SURVIVED else ''}", flush=True
    )
    return verdict


def exists(test: str) -> bool:
    """Whether there is a test file, or a function in it: ``tests/test_x.py::test_y[parameter]``."""
    path, _, function = test.partition("::")
    text = (ROOT / path).read_text() if (ROOT / path).is_file() else ""
    return bool(text) and (not function or f"def {function.partition('[')[0]}(" in text)


def check_unchanged(mutants: Sequence[Mutant], cache: pathlib.Path, with_reference: bool, jobs: int) -> bool:
    """Runs the tests of all faults without a fault, prints those that fail, and returns whether there are none."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    if unknown := [test for test in tests if not exists(test)]:
        print(f"there is no {', '.join(unknown)}")
        return False
    whole = {test for test in tests if "::" not in test}
    needed = [test for test in tests if test in whole or test.partition("::")[0] not in whole]
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        project = copy(pathlib.Path(folder), with_reference)
        status, output = run_tests(project, cache, f"--numprocesses={jobs}", "--dist=loadfile", *needed)
    if status not in (PASSED, NO_TESTS):
        print(f"these tests fail without a fault:\n{output[-3000:]}")
    return status in (PASSED, NO_TESTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "selected", nargs="*", help="numbers of faults, or parts of the paths of files; default: all"
    )
    parser.add_argument(
        "--without_reference", action="store_true", help="as in a checkout without the reference data"
    )
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time; default: %(default)s")
    options = parser.parse_args()
    mutants, started = select(load(), options.selected), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-cache-") as folder:
        cache, with_reference = pathlib.Path(folder), not options.without_reference
        if not check_unchanged(mutants, cache, with_reference, options.jobs):
            return 1
        print(f"the tests concerned pass without a fault, {time.monotonic() - started:.0f} s", flush=True)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            tried = functools.partial(attempt, cache=cache, with_reference=with_reference)
            verdicts = list(pool.map(tried, mutants))
    counts = {verdict: verdicts.count(verdict) for verdict in (KILLED, SLOW, SURVIVED, BROKEN, NOT_PLANTED)}
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    data = "with" if with_reference else "without"
    print(f"{len(mutants)} faults, {data} the reference data: {listed}; {time.monotonic() - started:.0f} s")
    for mutant, verdict in zip(mutants, verdicts, strict=True):
        if verdict not in (KILLED, SLOW):
            print(f"{mutant}: {verdict}")
    return int(counts[KILLED] + counts[SLOW] < len(mutants))


if __name__ == "__main__":
    sys.exit(main())
