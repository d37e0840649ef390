"""The page of a tracked video: a player with skeletons and ids over the frames, and the timeline of the tracks.

The page shows the video, or the photos of the folder, where they are, by a relative address. The people of up to
`FRAMES_PER_FILE` frames are in the page itself. Those of more are beside it, in files that the page loads as
scripts when it shows them, since browsers forbid pages on the disk to fetch files::

    OUT/tracks/NAME.html
    OUT/tracks/NAME/people_00000.js     people of frames 0 to 499, and so on
"""

import pathlib
import urllib.parse
from typing import Any

from hrnet_jax import buckets, html_page, visualize
from hrnet_jax.predict import page_data, poses
from hrnet_jax.predict.sequences import Sequence
from hrnet_jax.predict.track_truth import Comparison
from hrnet_jax.skeletons import Skeleton

FRAMES_PER_FILE = 500

_TEMPLATE = pathlib.Path(__file__).with_name("template")
_STYLES = ("page.css", "tracks.css")
_SCRIPTS = ("tracks.js", "drawing.js", "player.js", "timeline.js")  # each needs those before it


class Writer:
    """Writes the page of a video frame by frame.

    It holds the people of at most `FRAMES_PER_FILE` frames, and of all frames only their times and the runs of
    tracks.

    Args:
      folder: of the pages.
      sequence: the video or folder.
      skeleton: of all people.
      joint_score: 0 to 1; joints below are hidden until the page's slider is moved.
      truth: compares the frames with ground truth; None without any.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        sequence: Sequence,
        skeleton: Skeleton,
        *,
        joint_score: float = 0.2,
        truth: Comparison | None = None,
    ):
        self._path, self._sequence, self._skeleton = folder / f"{sequence.name}.html", sequence, skeleton
        self._run: dict[str, Any] = {"title": sequence.name, "joint_score": joint_score}
        self._truth = truth
        self._frames: list[list] = []  # [number, seconds, width, height, address of the photo]
        self._runs: dict[int, list[list[int]]] = {}
        self._pending: list[list[dict[str, Any]]] = []
        self._files = 0
        for stale in self._parts.glob("people_*.js"):
            stale.unlink()

    @property
    def _parts(self) -> pathlib.Path:
        return self._path.with_suffix("")

    def add(self, line: dict[str, Any]) -> None:
        """Adds a frame, see `Poses.to_json`. Raises ValueError as `track_truth.Comparison` does."""
        if len(self._pending) == FRAMES_PER_FILE:
            self._write_pending()
        place = len(self._frames)
        photo = None if self._sequence.is_video else self._address(line["source"])
        self._frames.append([line["frame"], round(line["time"], 4), line["width"], line["height"], photo])
        self._pending.append([_person(person) for person in line["people"]])
        for person in line["people"]:
            runs = self._runs.setdefault(person["id"], [])
            if runs and runs[-1][1] == place - 1:
                runs[-1][1] = place
            else:
                runs.append([place, place])
        if self._truth:
            self._truth.add(place, line)

    def close(self) -> None:
        """Writes the page."""
        if self._files:
            self._write_pending()
        run = self._run | {
            "video": self._address(self._sequence.source) if self._sequence.is_video else None,
            "frames": self._frames,
            "frames_per_file": FRAMES_PER_FILE,
            "folder": urllib.parse.quote(self._parts.name),
            "tracks": [
                {"id": track_id, "color": visualize.track_color(track_id), "runs": runs}
                for track_id, runs in sorted(self._runs.items())
            ],
            "truth": self._truth.to_json() if self._truth else None,
            "skeleton": page_data.skeleton_data(self._skeleton),
        }
        slots = {
            "style": "\n".join((_TEMPLATE / name).read_text("utf-8") for name in _STYLES),
            "script": "\n".join((_TEMPLATE / name).read_text("utf-8") for name in _SCRIPTS),
            "people": "" if self._files else f"<script>{self._script()}</script>",
            "run": page_data.to_json(run),
        }
        self._write(self._path, html_page.render(_TEMPLATE / "tracks.html", self._run["title"], slots))

    def _script(self) -> str:
        """Returns the statement that hands the pending people to the page."""
        return f"received.set({self._files}, {page_data.to_json(self._pending)});\n"

    def _write_pending(self) -> None:
        self._write(self._parts / f"people_{self._files:05d}.js", self._script())
        self._files, self._pending = self._files + 1, []

    def _write(self, path: pathlib.Path, content: str) -> None:
        with buckets.explain_write_errors(path, "continue with --resume"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")

    def _address(self, source: str) -> str | None:
        """Returns the address of a photo or video relative to the page, None if there is no such file."""
        return page_data.relative_url(source, self._path.parent)


def _person(person: dict[str, Any]) -> dict[str, Any]:
    """Returns what the page draws of a person: the id, and the joints as one list [x, y, score, x, ...]."""
    flat = [
        page_data.rounded(value, digits)
        for joint in poses.shown_joints(person)
        for value, digits in zip(joint, (1, 1, 2), strict=True)
    ]
    return {"id": person["id"], "joints": flat}
