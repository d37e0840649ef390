"""Finds missing, damaged, resized and duplicate photos."""

import concurrent.futures
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import tqdm

from hrnet_jax.datasets import odd_photos, photo_stores
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.doctor.findings import Finding, found

UNIONS = {"trainval": {"train", "valid"}}  # splits that share photos with their parts: MPII
OTHER_SIZE = "in the annotations"  # end of the problem that `photo_stores.read_checked` returns for such photos

Item = TypeVar("Item")
Result = TypeVar("Result")


class Look(NamedTuple):
    """What a photo's file is: its problem, "" for a whole one, and its content's digest."""

    problem: str
    digest: str
    photo: Photo  # as its file has it
    odd: str = ""  # what is odd about it, see `odd_photos`
    found: str = ""  # the name of the file that is read


Looks = Mapping[int, Look]  # by photo id


def look(place: PhotoStore, photos: Mapping[int, Photo], title: str) -> Looks:
    """Reads and decodes all photos with a progress bar."""
    looks = in_threads(functools.partial(_look, place), list(photos.values()), title)
    return dict(zip(photos, looks, strict=True))


def in_threads(function: Callable[[Item], Result], photos: Sequence[Item], title: str) -> list[Result]:
    """Calls a function for each photo, in as many threads as there are CPUs and with a progress bar."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(function, photos)
        return list(tqdm.tqdm(results, title, len(photos), unit=" photos", leave=False, disable=None))


def _look(place: PhotoStore, photo: Photo) -> Look:
    try:
        image, _, problem, found = photo_stores.read_checked(place, photo)
    except ValueError as error:  # a link out of the data set
        return Look(str(error), "", photo)
    digest = hashlib.blake2b(image, digest_size=16).hexdigest()
    odd = "" if problem else odd_photos.kind(image)
    return Look(problem, digest, found, odd, place.find(photo.file_name))


def examine(photos: Mapping[int, Photo], looks: Looks) -> list[Finding]:
    """Returns the findings in a split's photos."""
    of, left_out = len(photos), "; `prepare` leaves out these photos and their people"
    findings = listed_twice(
        ((number, look.found or photos[number].file_name) for number, look in looks.items()), of
    )
    known = (look for look in looks.values() if look.problem and not look.photo.is_as_shown)  # see `marks`
    problems = [(look.photo.file_name, look.problem) for look in known]
    missing = [
        name + problem.removeprefix(photo_stores.MISSING)
        for name, problem in problems
        if problem.startswith(photo_stores.MISSING)
    ]
    what, remedy = "{count} of {of} photos are missing", f"copy or download them, or correct `file_name`{left_out}"
    findings += found("photos_missing", "error", missing, what, remedy, of=of)
    unusable = [f"{name}: {problem}" for name, problem in problems if not problem.startswith(photo_stores.MISSING)]
    resized = [problem for problem in unusable if problem.endswith(OTHER_SIZE)]
    linked = [name for name, problem in problems if photo_records.LINK in problem]
    what, remedy = "{count} of {of} photos are links, which are not followed", "put the photos themselves there"
    remedy += f" (`cp -L` copies them), or follow links that lead to photos with --follow-links{left_out}"
    findings += found("photos_linked", "error", linked, what, remedy, of=of)
    other = {*resized, *(f"{name}: {problem}" for name, problem in problems if name in linked)}
    damaged = [problem for problem in unusable if problem not in other]
    what = "{count} of {of} photos cannot be read"
    remedy = f"copy or download them again, or do what is said of each{left_out}"
    findings += found("photos_damaged", "error", damaged, what, remedy, of=of)
    what = "{count} of {of} photos have another size than in the annotations"
    remedy = f"use the annotated photos, not resized or rotated ones, or correct width and height{left_out}"
    findings += found("photo_sizes", "error", resized, what, remedy, of=of)
    whole = ((photos[number].file_name, look.digest) for number, look in looks.items() if not look.problem)
    what = "{count} of {of} photos have the same content as another file"
    remedy = "remove one of each with its people, or merge their people"
    findings += found("photos_twice", "warning", _repeated(whole), what, remedy, of=of)
    strange: dict[str, list[str]] = {}
    for number, look in looks.items():
        strange.setdefault(look.odd, []).append(photos[number].file_name)
    return findings + odd(strange, of)


def odd(names: Mapping[str, Sequence[str]], of: int) -> list[Finding]:
    """Returns the findings in odd photos, given their names by kind, see `odd_photos`."""
    texts = {
        odd_photos.DARK: (
            "{count} of {of} photos have 16 bits, of which the upper 8 are read, and are nearly black then",
            "save them with 8 bits, brightened to use all of them",
        ),
        odd_photos.TRANSPARENT: (
            "{count} of {of} photos are partly transparent: what is hidden there is seen by the network",
            "save them without transparency, on the background they are shown on",
        ),
    }
    return [
        finding
        for kind, (what, remedy) in texts.items()
        for finding in found(kind, "warning", names.get(kind, ()), what, remedy, of=of)
    ]


def listed_twice(named: Iterable[tuple[object, str]], of: int) -> list[Finding]:
    """Finds photos that are read from the file of another, given the id and the file of each."""
    what, remedy = "{count} of {of} photos name the file of another photo", "give each photo its own file"
    repeated = _repeated((number, file) for number, file in named if file)
    return found("photos_listed_twice", "error", repeated, what, remedy, of=of)


def _repeated(named: Iterable[tuple[object, str]]) -> list[str]:
    """Returns "name as first name" for each (name, content) whose content had another name before."""
    first: dict[str, object] = {}
    return [f"{name} as {first[content]}" for name, content in named if first.setdefault(content, name) != name]


def unlisted(place: PhotoStore, photos: Mapping[int, Photo]) -> list[Finding]:
    """Finds photos in the folder that the annotations do not list."""
    if not place.path.is_dir():
        return []
    known = {place.find(photo.file_name) for photo in photos.values()}
    shown = (path for path in place.path.rglob("*") if not path.name.startswith("."))  # macOS's ._ files are none
    files = (path for path in shown if path.suffix.lower() in photo_stores.SUFFIXES)
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
