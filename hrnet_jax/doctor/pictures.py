"""What is wrong with photos: files that are missing, damaged or of another size, photos that stand there twice."""

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
UNIONS = {"trainval": {"train", "valid"}}  # MPII's authors made one split of two
OTHER_SIZE = "in the annotations"  # how `places.read_checked` ends what it says of such a photo


@dataclasses.dataclass(frozen=True)
class Looks:
    """What came of reading photos, by photo id: what is wrong with it, its width and height, its file's digest."""

    problems: dict[int, str]
    sizes: dict[int, tuple[int, int]]
    digests: dict[int, str]


def look(place: PhotoStore, photos: Mapping[int, Photo], title: str) -> Looks:
    """Reads and decodes all photos, with a progress bar."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        seen = pool.map(functools.partial(_look, place), photos.values())
        bar = tqdm.tqdm(seen, title, len(photos), unit=" photos", leave=False, disable=None)
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
    except ValueError as error:  # a link that leads elsewhere
        return str(error), (0, 0), ""
    return problem, size, hashlib.blake2b(image, digest_size=16).hexdigest()


def examine(photos: Mapping[int, Photo], looks: Looks) -> list[Finding]:
    """Looks at what came of reading a split's photos."""
    first: dict[str, str] = {}
    again = [
        f"{photos[number].file_name} as {first[digest]}"
        for number, digest in looks.digests.items()
        if first.setdefault(digest, photos[number].file_name) != photos[number].file_name
    ]
    what = "{count} of {of} photos are the same file as another one, under another name"
    remedy = "remove one of each with its people, or join their people"
    findings = _listed_twice(photos) + _broken(photos, looks.problems)
    return findings + found("photos_twice", "warning", again, what, remedy, of=len(photos))


def _broken(photos: Mapping[int, Photo], problems: Mapping[int, str]) -> list[Finding]:
    missing = [photos[number].file_name for number, problem in problems.items() if problem == "missing"]
    sizes = {number: problem for number, problem in problems.items() if problem.endswith(OTHER_SIZE)}
    rest = [
        f"{photos[number].file_name}: {problem}"
        for number, problem in problems.items()
        if problem != "missing" and number not in sizes
    ]
    of, left_out = len(photos), "; `prepare` leaves them out with their people"
    what, remedy = "{count} of {of} photos are missing", f"copy or download them{left_out}"
    findings = found("photos_missing", "error", missing, what, remedy, of=of)
    what, remedy = "{count} of {of} photos cannot be read", f"copy or download them again{left_out}"
    findings += found("photos_damaged", "error", rest, what, remedy, of=of)
    what = "{count} of {of} photos have another size than the annotations say"
    remedy = f"use the photos that were annotated, not resized or turned ones, or mend width and height{left_out}"
    named = [f"{photos[number].file_name}: {problem}" for number, problem in sizes.items()]
    return findings + found("photo_sizes", "error", named, what, remedy, of=of)


def _listed_twice(photos: Mapping[int, Photo]) -> list[Finding]:
    first: dict[str, int] = {}
    again = [
        f"{photo.id} as {first[photo.file_name]}"
        for photo in photos.values()
        if first.setdefault(photo.file_name, photo.id) != photo.id
    ]
    what = "{count} of {of} photos name a file that another one names, too"
    return found("photos_listed_twice", "error", again, what, "give each photo its own file", of=len(photos))


def unlisted(place: PhotoStore, photos: Mapping[int, Photo]) -> list[Finding]:
    """Counts the files in a folder that the annotations do not name."""
    if not place.path.is_dir():
        return []
    known = {photo.file_name.removeprefix(f"{place.path.name}/") for photo in photos.values()}
    files = (path for path in place.path.rglob("*") if path.suffix.lower() in SUFFIXES)
    others = sorted(name for path in files if (name := path.relative_to(place.path).as_posix()) not in known)
    what = "{count} files in the folder of photos are not in the annotations"
    remedy = "if they have people, annotate them; else they do no harm"
    return found("photos_unlisted", "note", others, what, remedy)


def shared(named: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Looks for photos that stand in several splits, given each split's file names by the files' digests."""
    findings: list[Finding] = []
    for one, other in itertools.combinations(named, 2):
        if one in UNIONS.get(other, ()) or other in UNIONS.get(one, ()):
            continue
        both = [name for digest, name in named[one].items() if digest in named[other]]
        what = f"{{count}} photos of {one} are in {other}, too: figures on people seen in training tell nothing"
        findings += found("photos_in_two_splits", "warning", both, what, "remove them from one of the splits")
    return findings
