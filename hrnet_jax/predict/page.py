"""The gallery of a prediction run: ``index.html``, to be opened from the disk or from a server.

Up to `PHOTOS_PER_FILE` photos are in the page itself. More are beside it, in files that the page loads as scripts
when it shows them, since browsers forbid pages on the disk to fetch files::

    index.html
    page/photos.js             name, number of people and size of every photo
    page/poses_00000.js        poses of photos 0 to 99, and so on
    thumbnails/000000.jpg      photo 0, and so on

Names of photos never become part of a file name, a script or markup. The browser keeps a row of about 100 bytes of
every photo, so a run of a million photos should become several pages.
"""

import os
import pathlib
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import numpy as np

from hrnet_jax import buckets, html_page
from hrnet_jax.predict import page_data
from hrnet_jax.skeletons import Skeleton

PHOTOS_PER_FILE = 100
MOST_SKIPPED = 1000  # skipped photos that are listed; all are counted

_TEMPLATE = pathlib.Path(__file__).with_name("template")
_STYLES = ("page.css", "grid.css", "viewer.css")
_SCRIPTS = ("photos.js", "drawing.js", "grid.js", "viewer.js")  # each needs those before it
_OUTPUTS = ("index.html", "page/photos.js", "page/poses_*.js", "thumbnails/[0-9]*.jpg")


class Writer:
    """Writes a gallery photo by photo, and holds at most `PHOTOS_PER_FILE` photos in memory.

    As a context manager it also finishes the page after an error, with all photos until then::

        with page.Writer("out", skeleton) as gallery:
            for poses, photo in ...:
                gallery.add(poses.to_json(), photo)
    """

    def __init__(
        self,
        out_dir: str | os.PathLike,
        skeleton: Skeleton,
        *,
        title: str = "Poses",
        joint_score: float = 0.2,
    ):
        """Begins a gallery and removes an earlier one.

        Args:
          out_dir: directory; made if missing.
          skeleton: of all people.
          title: plain text.
          joint_score: 0 to 1; joints below are hidden until the page's slider is moved.
        """
        self._out_dir = pathlib.Path(out_dir)
        self._skeleton = skeleton
        self._run = {"title": title, "joint_score": joint_score, "photos_per_file": PHOTOS_PER_FILE}
        self._totals = {"photos": 0, "people": 0, "without_people": 0, "skipped": 0}
        self._skipped: list[tuple[str, str]] = []
        self._pending: list[page_data.Photo] = []
        self._files = 0
        self._out_dir.mkdir(parents=True, exist_ok=True)
        for stale in [path for pattern in _OUTPUTS for path in self._out_dir.glob(pattern)]:
            stale.unlink()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, photo: dict[str, Any], picture: np.ndarray) -> None:
        """Adds a photo.

        Args:
          photo: its poses as JSON: source, frame, time, height, width and people, each with box, box_score, score
            and joints ``[K, 3]``. Numbers that are not finite count as missing.
          picture: ``[h, w, 3]`` uint8 RGB, the photo in any size. It is shrunk to `page_data.THUMBNAIL_SIZE`.

        Raises:
          ValueError: a person has another number of joints than the skeleton.
        """
        entry = page_data.make_photo(photo, picture, self._skeleton, self._out_dir)
        if len(self._pending) == PHOTOS_PER_FILE:
            self._write_pending()
        self._pending.append(entry)
        people = len(photo["people"])
        self._totals["photos"] += 1
        self._totals["people"] += people
        self._totals["without_people"] += not people

    def skip(self, source: str, reason: str) -> None:
        """Counts a photo that could not be read, for a reason in one line."""
        self._totals["skipped"] += 1
        if len(self._skipped) < MOST_SKIPPED:
            self._skipped.append((source, reason))

    def close(self) -> None:
        """Writes ``index.html``."""
        if self._files:
            self._write_pending()
        skeleton = page_data.skeleton_data(self._skeleton)
        run = self._run | {"totals": self._totals, "skipped": self._skipped, "skeleton": skeleton}
        slots = {
            "style": _read(_STYLES),
            "script": _read(_SCRIPTS),
            "run": page_data.to_json(run),
            "photos": '<script src="page/photos.js"></script>' if self._files else self._inline_photos(),
        }
        page = html_page.render(_TEMPLATE / "page.html", self._run["title"], slots)
        self._write("index.html", page.encode())

    def _write_pending(self) -> None:
        """Writes the next file of poses, with thumbnails and names."""
        first = self._files * PHOTOS_PER_FILE
        urls = [f"thumbnails/{first + i:06d}.jpg" for i in range(len(self._pending))]
        for photo, url in zip(self._pending, urls, strict=True):
            self._write(url, photo.jpeg)
        poses = page_data.poses_script(self._files, self._pending, urls)
        self._write(f"page/poses_{self._files:05d}.js", poses.encode())
        self._write("page/photos.js", page_data.rows_script(self._pending).encode(), "ab")
        self._files += 1
        self._pending = []

    def _write(self, name: str, content: bytes, mode: str = "wb") -> None:
        path = self._out_dir / name
        with buckets.explain_write_errors(path, "continue with --resume"):
            path.parent.mkdir(exist_ok=True)
            with path.open(mode) as file:
                file.write(content)

    def _inline_photos(self) -> str:
        urls = [f"data:image/jpeg;base64,{b64encode(photo.jpeg).decode()}" for photo in self._pending]
        rows, poses = page_data.rows_script(self._pending), page_data.poses_script(0, self._pending, urls)
        return f"<script>\n{rows}{poses}</script>"


def _read(names: Iterable[str]) -> str:
    return "\n".join((_TEMPLATE / name).read_text(encoding="utf-8") for name in names)
