"""Names under which a photo may lie in a folder or zip file, other than the one in the annotations."""

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence

SUFFIXES = {".jpg", ".jpeg", ".png"}
FOLDERS = {"images", "image", "imgs", "img", "photos", "jpegimages", "data", "."}
"""Folders that tools write before a photo's name, though the photo lies in the folder that is searched."""


def shorter(name: str, folders: Collection[str]) -> Iterator[str]:
    """Yields the name without its first folders, as long as they are of `FOLDERS` or of these."""
    head, slash, rest = name.partition("/")
    while slash and (head.lower() in FOLDERS or head in folders):
        yield rest
        head, slash, rest = rest.partition("/")


def common_folders(names: Sequence[str]) -> str:
    """Returns the folders that hold all files of these names, with a slash after each."""
    folders = sorted(name.split("/")[:-1] for name in names) or [[]]
    pairs = zip(folders[0], folders[-1], strict=False)
    common = itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
    return "".join(f"{folder}/" for folder, _ in common)


def by_key(names: Iterable[str]) -> dict[str, list[str]]:
    """Groups names by `key`, photos' also by that of the name without suffix."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in SUFFIXES:
            groups.setdefault(key(stem), []).append(name)
    return groups


def key(name: str) -> str:
    """Returns what names share that differ only in the composition of accents, the suffix's case, or .jpeg."""
    stem, _, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return f"{stem}.{'jpg' if suffix.lower() == 'jpeg' else suffix.lower()}"
