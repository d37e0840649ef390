"""Examinations that all formats share: people, their photos and colours."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import areas, colours, coordinates, marks, people, pictures, sides
from hrnet_jax.doctor.findings import Examination, Finding, not_examined, topic
from hrnet_jax.doctor.pictures import Looks
from hrnet_jax.skeletons import Skeleton

FOLLOWING = ("boxes_outside", "boxes_without_size", "joints_outside", "areas_too_large")  # begin such kinds
RESIDUE = 0.1  # of the entries in another reading: so many more may be, but do not tell


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


def examine_annotations(
    part: Examination,
    file: pathlib.Path,
    table: AnnotatedPeople,
    skeleton: Skeleton,
    photos: Mapping[int, Photo],
    *,
    squares: bool,
) -> tuple[AnnotatedPeople, Mapping[int, Photo]]:
    """Examines people in a file without reading photos. `squares`: boxes are MPII's, made from centre and scale.

    Returns the people and photos as meant: people in the package's reading, photos as `marks.examine` says.
    """
    meant, of_photos, about = _examine_coordinates(table, skeleton, photos, squares=squares)
    meant, photos = meant or table, of_photos or photos
    mended = (meant.box != table.box).any(axis=1) | (meant.joints != table.joints).any(axis=(1, 2))
    table, limit = meant, RESIDUE * mended.sum()
    part.add(file, {}, about)
    if len(table) and (table.labelled.any() or not squares):
        facts, about = _examine_people(table, skeleton, photos, squares=squares)
        part.add(
            file, facts, (each for each in about if each.count > limit or not each.kind.startswith(FOLLOWING))
        )
    return table, photos


@topic("coordinates", None, None)
def _examine_coordinates(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], *, squares: bool
) -> tuple[AnnotatedPeople | None, Mapping[int, Photo] | None, list[Finding]]:
    """Examines flags, orientation marks, and what the numbers of boxes and joints mean.

    Returns the people as the other functions expect them, in the package's reading and without labels of joints
    that are nowhere: these would be taken for faces.
    """
    findings = people.flags(table) + people.lost(table)
    located = dataclasses.replace(table, flags=np.where(people.nowhere(table), 0, table.flags))
    photos, of_marks = marks.examine(located, skeleton, photos, squares=squares)
    size, stored = people.sizes(table.photo_id, photos), people.marks(table.photo_id, photos)
    mended, about = coordinates.examine(located, skeleton, size, stored, squares=squares)
    return mended, photos, of_marks + findings + about


@topic("people", {})
def _examine_people(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], *, squares: bool
) -> tuple[dict[str, str], list[Finding]]:
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
    """Examines the colours of faces on readable photos that are annotated as stored."""

    def read(photo_id: int) -> np.ndarray | None:
        if photo_id not in looks or looks[photo_id].problem or photos[photo_id].is_as_shown:
            return None
        return photo_records.decode(place.read(photos[photo_id].file_name), photo_id=photo_id)

    fact, findings = colours.examine(table, skeleton, read)
    return {"colour order": fact}, findings


def examine_photos(
    part: Examination, place: PhotoStore, photos: Mapping[int, Photo]
) -> tuple[Looks, dict[int, Photo], list[Finding]]:
    """Reads and examines all photos. Adds a fact and the names of whole photos to the examination.

    Returns the photos also as their files have them.
    """
    looks = pictures.look(place, photos, part.name)
    whole = {number: look.digest for number, look in looks.items() if not look.problem}
    part.facts["photos"] = f"{len(whole):,} of {len(photos):,} are whole"
    part.photo_names.update({digest: photos[number].file_name for number, digest in whole.items()})
    as_in_files = {number: look.photo for number, look in looks.items()}
    return looks, {**photos, **as_in_files}, pictures.examine(photos, looks)
