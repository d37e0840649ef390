"""Run directories in buckets: ``gs://bucket/run`` and ``s3://bucket/run`` in the place of a local path.

A bucket holds whole files: each appears at once, nothing is appended to or renamed, and nothing can be locked.
Credentials and endpoints come from where the stores' own tools look for them. Orbax writes to ``gs://`` by itself;
for ``s3://`` only the place of its arrays is missing, which tensorstore could write; that is added here.
"""

import contextlib
import functools
import importlib.util
import os
import pathlib
import re
import uuid
from collections.abc import Iterator
from typing import Any

from etils import epath
from orbax.checkpoint import options

Path = pathlib.Path | epath.Path
"""A local path, or one in a bucket: they have the same methods."""

_PACKAGES = {"gs://": "gcsfs", "s3://": "s3fs"}
"""What reads and writes single files, by the beginning of a path; for arrays tensorstore needs no package."""

_URL = re.compile(r"[A-Za-z][\w+.-]*:/")  # of any kind, or what a local path makes of one
_BUCKET = re.compile(r"(gs|s3)://[^/]")

_COMMITTED = "commit_success.txt"  # orbax writes it last


def path(name: str | os.PathLike) -> Path:
    """Returns the path of a directory or file, local or in a bucket.

    Raises:
      ValueError: it is in a bucket, and a package for it is missing; or it is in a store of another kind.
    """
    name = os.fspath(name)
    if _URL.match(name) and not _BUCKET.match(name):
        raise ValueError(f"{name!r} is no path here: give a local one, or gs://BUCKET/... or s3://BUCKET/...")
    if not is_in_bucket(name):
        return pathlib.Path(name)
    package = _PACKAGES[name[:5]]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{name} needs the package {package}: `pip install {package}`, or give a local path")
    if name.startswith("s3://"):
        _place_arrays_on_s3()
    return epath.Path(name)


def absolute(name: str | os.PathLike) -> Path:
    """Returns the same without links and relative parts; in a bucket there are none."""
    found = path(name)
    return found.resolve() if isinstance(found, pathlib.Path) else found


def is_in_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is one of a bucket."""
    return os.fspath(path).startswith(tuple(_PACKAGES))


def check_writable(directory: Path) -> None:
    """Makes sure that files can be written to a directory and deleted, if it is in a bucket.

    Raises:
      ValueError: they cannot: there is no such bucket, or no right to it, or no way to it.
    """
    if not is_in_bucket(directory):
        return
    trial = directory / f".trial-{uuid.uuid4().hex}"
    try:
        trial.write_bytes(b"trial")
        trial.unlink()
    except Exception as error:  # the stores' packages raise many kinds
        raise ValueError(
            f"{directory} cannot be written to ({error!r:.200}): see that the bucket exists, and that the"
            " environment says where it is and who you are (docs/remote.md)"
        ) from error


def make_directory(path: Path) -> None:
    """Makes a directory and those above it; in a bucket there are none to make, and no bucket is made."""
    if not is_in_bucket(path):
        path.mkdir(parents=True, exist_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Writes a file so that a crash leaves either the old one or the new.

    Raises:
      ValueError: it cannot be written.
    """
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically: after a crash it is either the old one or the new.

    Raises:
      ValueError: it cannot be written.
    """
    begin(path, content).close()


def append_text(path: Path, text: str) -> None:
    """Adds to a file, or begins it.

    Raises:
      ValueError: it cannot be written.
    """
    with writing(path):
        if is_in_bucket(path):
            path.write_text((path.read_text() if path.exists() else "") + text)
        else:
            with path.open("a") as file:
                file.write(text)


def begin(path: Path, content: bytes) -> "AppendFile | BufferedObject":
    """Writes a file so that a crash leaves either the old one or the new, and keeps it open to add to.

    Raises:
      ValueError: it cannot be written.
    """
    with writing(path):
        return BufferedObject(path, content) if is_in_bucket(path) else AppendFile(pathlib.Path(path), content)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is written into what to tell the user.

    Raises:
      ValueError: it cannot be written.
    """
    try:
        yield
    except Exception as error:  # the stores' packages raise many kinds
        if is_in_bucket(path):
            reason, remedy = f"{error!r:.200}", "see that the bucket can be reached and written to"
        elif isinstance(error, OSError):
            reason, remedy = error.strerror or error, "make room, or make it writable"
        else:
            raise
        raise ValueError(
            f"{path} cannot be written ({reason}): {remedy}, then run the same command again"
        ) from error


class AppendFile:
    """A local file that grows."""

    def __init__(self, path: pathlib.Path, content: bytes):
        partial = path.with_suffix(".new")
        self._file = partial.open("wb")
        self.write(content)
        self.flush()
        partial.replace(path)  # the open file keeps its place under the new name
        _sync_directory(path.parent)

    def write(self, more: bytes) -> None:
        """Adds something."""
        self._file.write(more)

    def flush(self) -> None:
        """Returns when everything is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def upload(self) -> None:
        """Does nothing: what is on disk is kept."""

    def close(self) -> None:
        """Writes out everything and closes the file."""
        self.flush()
        self._file.close()


def _sync_directory(directory: pathlib.Path) -> None:
    """Returns when the names in a directory are on disk, too."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class BufferedObject:
    """A file in a bucket that grows: held in memory, as nothing can be appended, and written whole by `upload`."""

    def __init__(self, path: Path, content: bytes):
        self._path, self._content, self._changed = path, bytearray(content), True
        self.upload()

    def write(self, more: bytes) -> None:
        """Adds something."""
        self._content += more
        self._changed = True

    def flush(self) -> None:
        """Does nothing: writing the whole file each time would take too long."""

    def upload(self) -> None:
        """Returns when everything is in the bucket."""
        if self._changed:
            self._path.write_bytes(bytes(self._content))
            self._changed = False

    close = upload


def atomicity(directory: Path) -> options.AtomicityOptions | None:
    """Returns how orbax marks a checkpoint as whole: by a file in buckets, else as it likes."""
    commit_file = options.AtomicityOptions(options.AtomicityMode.COMMIT_FILE)
    return commit_file if is_in_bucket(directory) else None


def is_committed(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end; only in buckets does it have its name before."""
    return not is_in_bucket(checkpoint) or (checkpoint / _COMMITTED).is_file()


def store(directory: Path) -> dict[str, Any]:
    """Returns tensorstore's description of a directory's files."""
    name = os.fspath(directory)
    if not is_in_bucket(name):
        return {"driver": "file", "path": f"{name}/"}
    bucket, _, folder = name[5:].partition("/")
    return {"driver": "gcs", "bucket": bucket, "path": f"{folder}/"} | (_s3() if name.startswith("s3://") else {})


def _s3() -> dict[str, Any]:
    """Returns what tensorstore does not read from the environment itself, for stores that are not Amazon's."""
    if not (endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")):
        return {"driver": "s3"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {"driver": "s3", "endpoint": endpoint, "aws_region": region}


@functools.cache
def _place_arrays_on_s3() -> None:
    """Adds ``s3://`` to orbax's function that says where arrays go."""
    from orbax.checkpoint._src.serialization import tensorstore_utils  # not public, so only where it is needed

    build = tensorstore_utils.build_kvstore_tspec

    @functools.wraps(build)
    def with_s3(directory: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        directory = os.fspath(directory)
        if not directory.startswith("s3://"):
            return build(directory, *args, **kwargs)
        return _on_s3(build(f"gs://{directory[5:]}", *args, **kwargs))

    tensorstore_utils.build_kvstore_tspec = with_s3


def _on_s3(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a description of files on ``gs://`` as one of files on ``s3://``, layers above them included."""
    return spec | ({"base": _on_s3(spec["base"])} if "base" in spec else _s3())
