"""Run directories in buckets: ``gs://bucket/run`` and ``s3://bucket/run`` in place of a local path.

Objects in a bucket are written whole. They cannot be appended to, renamed or locked. Credentials and endpoints
are looked up as the stores' own tools do. Orbax supports ``gs://`` by itself. For ``s3://`` it lacks only the
location of its arrays. This module adds it, since tensorstore can write there.
"""

import contextlib
import functools
import glob
import importlib.util
import os
import pathlib
import re
import uuid
from collections.abc import Iterator
from typing import Any

from etils import epath

Path = pathlib.Path | epath.Path
"""A local path or a path in a bucket. Both have the same methods."""

_PACKAGES = {"gs://": "gcsfs", "s3://": "s3fs"}
"""Packages that read and write single files, by URL scheme. Arrays go through tensorstore and need no package."""

_URL = re.compile(r"[A-Za-z][\w+.-]*:/")  # any scheme; pathlib turns `//` into `/`
_BUCKET = re.compile(r"(gs|s3)://[^/]")


def path(name: str | os.PathLike) -> Path:
    """Returns the path of a local file or directory or of one in a bucket.

    Raises ValueError if the URL scheme is not supported or the package for it is not installed.
    """
    name = os.fspath(name)
    if _URL.match(name) and not _BUCKET.match(name):
        raise ValueError(
            f"{name!r} is not a supported path: give a local one, or gs://BUCKET/... or s3://BUCKET/..."
        )
    if not is_in_bucket(name):
        return pathlib.Path(name)
    package = _PACKAGES[name[:5]]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{name} needs the package {package}: `pip install {package}`, or give a local path")
    if name.startswith("s3://"):
        _support_s3_in_orbax()
    return epath.Path(name)


def absolute(name: str | os.PathLike) -> Path:
    """Returns a path without links and relative parts, for orbax. Paths in buckets have none.

    Raises ValueError if arrays cannot be stored there: tensorstore takes a backslash for a slash, and passes only
    names in UTF-8.
    """
    found = path(name)
    if not isinstance(found, pathlib.Path):
        return found
    found = found.resolve()
    if "\\" in str(found):
        elsewhere = str(found).replace("\\", "/")
        raise ValueError(
            f"{found} has a backslash, which tensorstore takes for a slash when it stores arrays: give a path"
            f" without (arrays that earlier versions stored for this one are in {elsewhere}: keep them)"
        )
    check_encoding(found)
    _take_names_literally_in_orbax()
    return found


def check_encoding(path: Path) -> None:
    """Raises ValueError if a path is not in UTF-8: libraries in C++ cannot open it."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{os.fspath(path)!r} is not in UTF-8: give a path that is, or rename it") from error


def is_in_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is in a bucket."""
    return os.fspath(path).startswith(tuple(_PACKAGES))


def check_writable(directory: Path) -> None:
    """Checks that files can be written to and deleted from a directory in a bucket. Of local paths, only the name.

    Raises ValueError if the bucket does not exist, cannot be reached or denies access, or as `absolute`.
    """
    if not is_in_bucket(directory):
        absolute(directory)
        return
    trial = directory / f".trial-{uuid.uuid4().hex}"
    try:
        trial.write_bytes(b"trial")
        trial.unlink()
    except Exception as error:  # the stores' packages raise many kinds
        raise ValueError(
            f"{directory} cannot be written to ({error!r:.200}): check that the bucket exists, and that the"
            " environment provides endpoint and credentials (docs/remote.md)"
        ) from error


def make_directory(path: Path) -> None:
    """Makes a local directory and its parents. Buckets have no directories, and are never created."""
    if not is_in_bucket(path):
        path.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a crash leaves either the old content or the new. Raises as `explain_write_errors`."""
    create(path, content.encode() if isinstance(content, str) else content).close()


def append_text(path: Path, text: str) -> None:
    """Appends to a file, or creates it. Raises as `explain_write_errors`."""
    with explain_write_errors(path):
        if is_in_bucket(path):
            path.write_text((path.read_text() if path.exists() else "") + text)
        else:
            with path.open("a") as file:
                file.write(text)


def create(path: Path, content: bytes) -> "AppendFile | BufferedObject":
    """Writes a file as `write_atomically` does and keeps it open for appending."""
    with explain_write_errors(path):
        return BufferedObject(path, content) if is_in_bucket(path) else AppendFile(pathlib.Path(path), content)


@contextlib.contextmanager
def explain_write_errors(path: Path, then: str = "run the same command again") -> Iterator[None]:
    """Turns errors of writing a file into a ValueError whose message ends with what to do `then`."""
    try:
        yield
    except Exception as error:  # the stores' packages raise many kinds
        if is_in_bucket(path):
            reason, remedy = f"{error!r:.200}", "check that the bucket can be reached and written to"
        elif isinstance(error, OSError):
            reason, remedy = error.strerror or error, "make room, or make it writable"
        else:
            raise
        text = f"{path} cannot be written ({reason}): {remedy}, and {then}"
        raise ValueError(text) from error


class AppendFile:
    """A local file open for appending."""

    def __init__(self, path: pathlib.Path, content: bytes):
        partial = path.with_suffix(".new")
        self._file = partial.open("wb")
        self.write(content)
        self.flush()
        partial.replace(path)  # the open file stays valid under the new name
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the new name is on disk as well
        finally:
            os.close(descriptor)

    def write(self, data: bytes) -> None:
        """Appends data."""
        self._file.write(data)

    def flush(self) -> None:
        """Blocks until everything is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def upload(self) -> None:
        """Does nothing: the file is local."""

    def close(self) -> None:
        """Flushes and closes the file."""
        self.flush()
        self._file.close()


class BufferedObject:
    """A growing object in a bucket. It is held in memory, and `upload` writes it whole."""

    def __init__(self, path: Path, content: bytes):
        self._path, self._content, self._changed = path, bytearray(content), True
        self.upload()

    def write(self, data: bytes) -> None:
        """Appends data in memory."""
        self._content += data
        self._changed = True

    def flush(self) -> None:
        """Does nothing: uploading the whole object every time would take too long."""

    def upload(self) -> None:
        """Blocks until everything is in the bucket."""
        if self._changed:
            self._path.write_bytes(bytes(self._content))
            self._changed = False

    close = upload


def atomicity_options(directory: Path) -> Any:
    """Returns orbax's options for marking a checkpoint as complete: a commit file in buckets, else its default."""
    if not is_in_bucket(directory):
        return None
    from orbax.checkpoint import options  # slow to import, and not needed for single files

    return options.AtomicityOptions(options.AtomicityMode.COMMIT_FILE)


def is_committed(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete. Local ones always are: they are renamed at the end."""
    return not is_in_bucket(checkpoint) or (checkpoint / "commit_success.txt").is_file()  # orbax writes it last


def kvstore_spec(directory: Path) -> dict[str, Any]:
    """Returns the tensorstore key-value store specification of a directory."""
    name = os.fspath(directory)
    if not is_in_bucket(name):
        return {"driver": "file", "path": f"{name}/"}
    bucket, _, folder = name[5:].partition("/")
    spec = {"driver": "gcs", "bucket": bucket, "path": f"{folder}/"}
    return _on_s3(spec) if name.startswith("s3://") else spec


@functools.cache
def _take_names_literally_in_orbax() -> None:
    """Wraps the listing of files of etils, which orbax uses, so that a pattern is one below a directory only.

    Etils takes brackets, stars and question marks in the directory's own name for a pattern as well. Orbax then
    finds no arrays when it completes a checkpoint, or those of another run, and reports success.
    """
    local = type(epath.Path(os.sep))
    list_files = local.glob

    @functools.wraps(list_files)
    def below(self: Any, pattern: str) -> Iterator[Any]:
        if is_in_bucket(self):
            return list_files(self, pattern)
        return map(epath.Path, glob.iglob(os.path.join(glob.escape(os.fspath(self)), pattern)))

    local.glob = below


@functools.cache
def _support_s3_in_orbax() -> None:
    """Wraps orbax's function for the location of arrays so that it accepts ``s3://``."""
    from orbax.checkpoint._src.serialization import tensorstore_utils  # private, so imported only when needed

    build = tensorstore_utils.build_kvstore_tspec

    @functools.wraps(build)
    def with_s3(directory: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        directory = os.fspath(directory)
        if not directory.startswith("s3://"):
            return build(directory, *args, **kwargs)
        return _on_s3(build(f"gs://{directory[5:]}", *args, **kwargs))

    tensorstore_utils.build_kvstore_tspec = with_s3


def _on_s3(spec: dict[str, Any]) -> dict[str, Any]:
    """Turns a specification for ``gs://`` into one for ``s3://``, nested base stores included.

    Tensorstore does not read the endpoint of stores other than Amazon's from the environment.
    """
    if "base" in spec:
        return spec | {"base": _on_s3(spec["base"])}
    if not (endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")):
        return spec | {"driver": "s3"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return spec | {"driver": "s3", "endpoint": endpoint, "aws_region": region}
