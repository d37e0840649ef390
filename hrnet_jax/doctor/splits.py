"""Examinations that all formats share: people, their photos and colours."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import areas, colours, coordinates, people, pictures, sides
from hrnet_jax.doctor.findings import Examination, Finding, not_examined, topic
from hrnet_jax.doctor.pictures import Looks
from hrnet_jax.skeletons import Skeleton


def examine_all(
    root: pathlib.Path, splits: Mapping[str, tuple[pathlib.Path, Callable[[Examination], None]]]
) -> list[Examination]:
    """Examines splits, each with its path and function, and the photos they share, if any.

    An unexpected error becomes the only finding of its split.
    """
    parts = []
    for split, (path, examine) in splits.items():
        part = Examination(split)
        try:
            examine(part)
        except Exception as error:
            part = Examination(split)
            part.add(path, {}, not_examined(split, error))
        parts.append(part)
    between = Examination("between splits")
    between.add(root, {}, pictures.shared({part.name: part.photo_names for part in parts}))
    return parts + [between] * bool(between.findings)


@topic("coordinates", None)
def examine_coordinates(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], *, squares: bool
) -> tuple[AnnotatedPeople | None, list[Finding]]:
    """Examines flags, and what the numbers of boxes and joints mean.

    Returns the people as the other functions expect them, in the package's reading and without labels of joints
    that are nowhere: these would be taken for faces. `squares`: boxes are MPII's, made from centre and scale.
    """
    findings = people.flags(table) + people.lost(table)
    located = dataclasses.replace(table, flags=np.where(people.nowhere(table), 0, table.flags))
    size = people.sizes(table.photo_id, photos)
    mended, about = coordinates.examine(located, skeleton, size, squares=squares)
    return mended, findings + about


@topic("people", {})
def examine_people(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], *, squares: bool
) -> tuple[dict[str, str], list[Finding]]:
    """Examines people without reading photos. `squares`: boxes are MPII's, made from centre and scale."""
    size = people.sizes(table.photo_id, photos)
    findings = people.joints(table, size, None if squares else table.box)
    if not squares:
        some = table.labelled.any(axis=1) | table.box.any(axis=1)  # nobody's joints need no box
        findings += people.boxes(table.annotation_id[some], table.box[some], size[some])
        findings += areas.examine(table, size)
    findings += people.twice(table, skeleton)
    fact, about_sides = sides.examine(table, skeleton)
    labelled = int(table.labelled.any(axis=1).sum())
    facts = {"people": f"{len(table):,}, {labelled:,} with labelled joints", "left and right": fact}
    return facts, findings + about_sides


@topic("colour order", {})
def examine_colours(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], place: PhotoStore, looks: Looks
) -> tuple[dict[str, str], list[Finding]]:
    """Examines the colours of faces on readable photos."""

    def read(photo_id: int) -> np.ndarray | None:
        if photo_id not in looks or looks[photo_id].problem:
            return None
        return photo_records.decode(place.read(photos[photo_id].file_name), photo_id=photo_id)

    fact, findings = colours.examine(table, skeleton, read)
    return {"colour order": fact}, findings


def examine_photos(
    part: Examination, place: PhotoStore, photos: Mapping[int, Photo]
) -> tuple[Looks, list[Finding]]:
    """Reads and examines all photos. Adds a fact and the names of whole photos to the examination."""
    looks = pictures.look(place, photos, part.name)
    whole = {number: look.digest for number, look in looks.items() if not look.problem}
    part.facts["photos"] = f"{len(whole):,} of {len(photos):,} are whole"
    part.photo_names.update({digest: photos[number].file_name for number, digest in whole.items()})
    return looks, pictures.examine(photos, looks)


def with_sizes(photos: Mapping[int, Photo], looks: Looks) -> dict[int, Photo]:
    """Takes sizes that the annotations lack or have wrong from the photos' files."""
    sized = dict(photos)
    for number, look in looks.items():
        is_wrong = look.problem.endswith(pictures.OTHER_SIZE)
        if is_wrong or (not look.problem and not photos[number].width):
            sized[number] = dataclasses.replace(photos[number], width=look.size[0], height=look.size[1])
    return sized
