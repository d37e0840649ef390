"""The files of a whole run, made from its JSON lines: poses.json, results.json, poses.csv, index.html."""

import contextlib
import csv
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from hrnet_jax import buckets, skeletons
from hrnet_jax.predict import ahead, box_files, photos, poses, shards, sources
from hrnet_jax.skeletons import Skeleton

FORMAT, VERSION = "hrnet_jax poses", 1
MOST_IN_JSON = 10_000  # photos and frames in poses.json: more stay in shards, which can be read line by line
MOST_IN_PAGE = 50_000
SECONDS_BETWEEN = 1.0  # frames of a video in the page

Lines = Callable[[], Iterator[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Report:
    """What the files of a run are made from.

    Attributes:
      out: the folder of the run.
      skeleton: of all people.
      paths: the photos and videos of all processes, in order.
      joint_score: joints below are shown as uncertain.
      every: of the frames of a video that were read.
      images: a COCO annotation file with the ids of photos; see `image_ids`.
      threads: that read photos for the page.
      max_pixels: of these photos.
      tracked: whether people have the ids of tracks.
    """

    out: pathlib.Path
    skeleton: Skeleton
    paths: Sequence[str]
    joint_score: float
    every: int
    images: str | None
    threads: int
    max_pixels: int
    tracked: bool = False

    @functools.cached_property
    def count(self) -> int:
        """Number of photos and frames."""
        return sum(1 for _ in shards.read(self.out))

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yields the photos, in the order of their paths unless there are very many."""
        if self.count > MOST_IN_JSON:
            return shards.read(self.out)
        places = {path: place for place, path in enumerate(self.paths)}
        last = len(places)
        return iter(sorted(shards.read(self.out), key=lambda photo: places.get(photo["source"], last)))


def write_json(report: Report) -> str:
    """Writes poses.json, and returns a line about it."""
    if report.count > MOST_IN_JSON:
        return f"{report.out / shards.FOLDER}: {report.count:,} photos as JSON lines, too many for one file"
    header = {"format": FORMAT, "version": VERSION, "skeleton": skeletons.to_json(report.skeleton)}
    path = report.out / "poses.json"
    with _writing(path) as file:
        file.write(json.dumps(header)[:-1] + ', "photos": [')
        for i, photo in enumerate(report.lines()):
            file.write(("," if i else "") + "\n" + json.dumps(photo))
        file.write("\n]}\n")
    return str(path)


def write_coco(report: Report) -> str:
    """Writes the people in photos as results.json, a COCO result file. Each also names its photo."""
    ids, path = image_ids(report.paths, report.images), report.out / "results.json"
    with _writing(path) as file:
        file.write("[")
        separator = "\n"
        for photo in report.lines():
            if not sources.is_video(photo["source"]) and photo["source"] in ids:
                found = poses.from_json(photo, report.skeleton).to_coco(ids[photo["source"]])
                for person in found:
                    file.write(separator + json.dumps({**person, "file_name": photo["source"]}))
                    separator = ",\n"
        file.write("\n]\n")
    return str(path)


def image_ids(paths: Sequence[str], images: str | None) -> dict[str, int | str]:
    """Returns ids of photos in COCO results: those of an annotation file, of COCO's file names, or 1, 2, 3, ...

    Photos that the annotation file does not name have none.
    """
    if images:
        numbers = {name: number for number, name in box_files.read_image_names(images).items()}
        matches = {path: box_files.longest_name(path, numbers) for path in paths}
        return {path: numbers[name] for path, name in matches.items() if name is not None}
    numbers = [box_files.image_number(path) for path in paths]
    if None in numbers:
        numbers = range(1, len(paths) + 1)
    return {path: int(number) for path, number in zip(paths, numbers, strict=True)}  # pyright: ignore


def write_csv(report: Report) -> str:
    """Writes poses.csv, a joint in each row."""
    path = report.out / "poses.csv"
    with _writing(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        columns = ["source", "frame", "time", "person", "person_score", "joint", "x", "y", "score"]
        rows.writerow([*columns, *["id"] * report.tracked])
        for photo in report.lines():
            where = [photo["source"], photo["frame"], photo["time"]]
            for i, person in enumerate(photo["people"]):
                joints = zip(report.skeleton.joints, poses.shown_joints(person), strict=True)
                track = [person["id"]] if report.tracked else []
                rows.writerows([*where, i, person["score"], name, *joint, *track] for name, joint in joints)
    return str(path)


def write_html(report: Report) -> str:
    """Writes index.html, the gallery, and returns a line about it. Of a video it shows a frame for each second."""
    from hrnet_jax.predict import page

    if report.count > MOST_IN_PAGE:
        return f"no page: {report.count:,} photos are too many for one"
    read = functools.partial(_with_picture, max_pixels=report.max_pixels)
    pairs = ahead.map_ahead(read, _shown(report), threads=report.threads, depth=2 * report.threads)
    with page.Writer(report.out, report.skeleton, joint_score=report.joint_score) as gallery:
        for photo, picture in pairs:
            if isinstance(picture, photos.PhotoError):
                gallery.skip(photo["source"], str(picture))
            else:
                gallery.add(photo, picture)
        for source, reason in shards.skipped(report.out):
            gallery.skip(source, reason)
    return str(report.out / "index.html")


WRITERS: Mapping[str, Callable[[Report], str]] = {
    "json": write_json,
    "coco": write_coco,
    "csv": write_csv,
    "html": write_html,
}
"""Writes one kind of output of a run and returns a line about it."""

_Shown = tuple[dict[str, Any], np.ndarray | None]


def _shown(report: Report) -> Iterator[_Shown]:
    """Yields what the page shows: photos, which are still to be read, and frames."""
    of_video: list[dict[str, Any]] = []
    for photo in report.lines():
        if of_video and photo["source"] != of_video[0]["source"]:
            yield from _frames(of_video, report.every)
            of_video = []
        if not sources.is_video(photo["source"]):
            yield photo, None
        elif not of_video or photo["time"] - of_video[-1]["time"] >= SECONDS_BETWEEN:
            of_video.append(photo)
    yield from _frames(of_video, report.every)


def _frames(shown: Sequence[dict[str, Any]], every: int) -> Iterator[_Shown]:
    """Yields frames of one video with their pixels."""
    if not shown:
        return
    from hrnet_jax.predict import video

    wanted = {frame["frame"]: frame for frame in shown}
    with contextlib.suppress(video.VideoError, FileNotFoundError):  # reported when it was predicted, or gone since
        for index, _, pixels in video.read_frames(shown[0]["source"], every):
            if index in wanted:
                yield wanted[index], pixels


def _with_picture(shown: _Shown, max_pixels: int) -> tuple[dict[str, Any], "np.ndarray | photos.PhotoError"]:
    photo, pixels = shown
    if pixels is not None:
        return photo, pixels
    try:
        return photo, photos.read_photo(photo["source"], max_pixels)[0]
    except photos.PhotoError as error:
        return photo, error


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[IO[str]]:
    """Opens a file that is complete or unchanged at the end. Raises ValueError if it cannot be written."""
    partial = shards.atomic_path(path)
    try:
        with buckets.explain_write_errors(path):
            with open(partial, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                yield file
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
