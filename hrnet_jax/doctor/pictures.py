"""Finds missing, damaged, resized and duplicate photos."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Mapping

import tqdm

from hrnet_jax.datasets import photo_stores
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.doctor.findings import Finding, found

SUFFIXES = {".jpg", ".jpeg", ".png"}
UNIONS = {"trainval": {"train", "valid"}}  # splits that share photos with their parts: MPII
OTHER_SIZE = "in the annotations"  # end of the problem that `photo_stores.read_checked` returns for such photos


@dataclasses.dataclass(frozen=True)
class Looks:
    """Problems, sizes (width, height) and digests of photo files, by photo id."""

    problems: dict[int, str]
    sizes: dict[int, tuple[int, int]]
    digests: dict[int, str]


def look(place: PhotoStore, photos: Mapping[int, Photo], title: str) -> Looks:
    """Reads and decodes all photos with a progress bar."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(functools.partial(_look, place), photos.values())
        bar = tqdm.tqdm(results, title, len(photos), unit=" photos", leave=False, disable=None)
        looks = dict(zip(photos, bar, strict=True))
    whole = {number: look for number, look in looks.items() if not look[0]}
    return Looks(
        problems={number: problem for number, (problem, _, _) in looks.items() if problem},
        sizes={number: size for number, (_, size, _) in whole.items()},
        digests={number: digest for number, (_, _, digest) in whole.items()},
    )


def _look(place: PhotoStore, photo: Photo) -> tuple[str, tuple[int, int], str]:
    try:
        image, size, problem = photo_stores.read_checked(place, photo)
    except ValueError as error:  # a link out of the data set
        return str(error), (0, 0), ""
    return problem, size, hashlib.blake2b(image, digest_size=16).hexdigest()


def examine(photos: Mapping[int, Photo], looks: Looks) -> list[Finding]:
    """Returns the findings in a split's photos."""
    first: dict[str, str] = {}
    duplicates = [
        f"{photos[number].file_name} as {first[digest]}"
        for number, digest in looks.digests.items()
        if first.setdefault(digest, photos[number].file_name) != photos[number].file_name
    ]
    what = "{count} of {of} photos have the same content as another file"
    remedy = "remove one of each with its people, or merge their people"
    findings = _listed_twice(photos) + _unusable(photos, looks.problems)
    return findings + found("photos_twice", "warning", duplicates, what, remedy, of=len(photos))


def _unusable(photos: Mapping[int, Photo], problems: Mapping[int, str]) -> list[Finding]:
    missing = [photos[number].file_name for number, problem in problems.items() if problem == "missing"]
    sizes = {number: problem for number, problem in problems.items() if problem.endswith(OTHER_SIZE)}
    damaged = [
        f"{photos[number].file_name}: {problem}"
        for number, problem in problems.items()
        if problem != "missing" and number not in sizes
    ]
    of, left_out = len(photos), "; `prepare` leaves out these photos and their people"
    what, remedy = "{count} of {of} photos are missing", f"copy or download them{left_out}"
    findings = found("photos_missing", "error", missing, what, remedy, of=of)
    what, remedy = "{count} of {of} photos cannot be read", f"copy or download them again{left_out}"
    findings += found("photos_damaged", "error", damaged, what, remedy, of=of)
    what = "{count} of {of} photos have another size than in the annotations"
    remedy = f"use the annotated photos, not resized or rotated ones, or correct width and height{left_out}"
    named = [f"{photos[number].file_name}: {problem}" for number, problem in sizes.items()]
    return findings + found("photo_sizes", "error", named, what, remedy, of=of)


def _listed_twice(photos: Mapping[int, Photo]) -> list[Finding]:
    first: dict[str, int] = {}
    repeated = [
        f"{photo.id} as {first[photo.file_name]}"
        for photo in photos.values()
        if first.setdefault(photo.file_name, photo.id) != photo.id
    ]
    what = "{count} of {of} photos name the file of another photo"
    return found("photos_listed_twice", "error", repeated, what, "give each photo its own file", of=len(photos))


def unlisted(place: PhotoStore, photos: Mapping[int, Photo]) -> list[Finding]:
    """Finds photos in the folder that the annotations do not list."""
    if not place.path.is_dir():
        return []
    known = {photo.file_name.removeprefix(f"{place.path.name}/") for photo in photos.values()}
    files = (path for path in place.path.rglob("*") if path.suffix.lower() in SUFFIXES)
    others = sorted(name for path in files if (name := path.relative_to(place.path).as_posix()) not in known)
    what = "{count} files in the folder of photos are not in the annotations"
    remedy = "annotate their people; files without people do no harm"
    return found("photos_unlisted", "note", others, what, remedy)


def shared(named: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Finds photos in more than one split. `named` has each split's file names by digest."""
    findings: list[Finding] = []
    for one, other in itertools.combinations(named, 2):
        if one in UNIONS.get(other, ()) or other in UNIONS.get(one, ()):
            continue
        both = [name for digest, name in named[one].items() if digest in named[other]]
        what = f"{{count}} photos of {one} are also in {other}: metrics on training data mean nothing"
        findings += found("photos_in_two_splits", "warning", both, what, "remove them from one of the splits")
    return findings
