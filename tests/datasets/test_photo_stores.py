import gzip
import json
import os
import re
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import cv2
import made_coco
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import coco, photo_stores, records
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.skeletons import COCO


def with_names(root, *names):
    """Annotations whose photos are called so, beside good photos under their usual names."""
    content = made_coco.content([10, 20, 30])
    made_coco.write(root, content)
    for image, name in zip(content["images"], names, strict=False):
        image["file_name"] = name
    path = root / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(content))
    return path


TRICKS = [
    *("../secret.jpg", "a/../../secret.jpg", "val2017/../../secret.jpg", "/etc/passwd", "..", ".", "", "a/.."),
    *("..\\secret.jpg", "a\\..\\..\\secret.jpg", "C:\\secret.jpg", "c:secret.jpg", "\\\\host\\share\\secret.jpg"),
    *("/dev/zero", "a\0.jpg", "a\n.jpg", "\ud800.jpg"),
]


@pytest.mark.parametrize("name", TRICKS)
def test_names_that_lead_out_of_the_photos_are_refused_with_file_entry_and_value(tmp_path, name):
    path = with_names(tmp_path / "root", "000000000010.jpg", name)
    with pytest.raises(ValueError, match=r"images\[1\]: `file_name` \(=.*must be a path inside .*correct the"):
        coco.load(path, COCO)
    with pytest.raises(ValueError, match=str(path)):
        prepare.prepare_coco(tmp_path / "root", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["..", ".", ""])
def test_splits_with_names_of_other_folders_are_refused(tmp_path, split):
    root = made_coco.write(tmp_path / "home" / "data", made_coco.content([10]), split)
    with pytest.raises(
        ValueError, match=rf"^'{split}' cannot be the name of a split .*: use one such as 'val2017'"
    ):
        prepare.prepare_coco(root, tmp_path / "out")
    _, (part,) = doctor.examine(root)
    assert "photos_unavailable" in {finding.kind for finding in part.findings} and "photos" not in part.facts
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prepared", [prepare.prepare_coco, prepare.prepare_mpii])
def test_given_splits_with_paths_are_refused(tmp_path, prepared):
    with pytest.raises(ValueError, match=r"^'../other' cannot be the name of a split"):
        prepared(tmp_path, tmp_path / "out", ["../other"])


def link_out(photo, outside):
    photo.symlink_to(outside)


def link_the_folder_out(photo, outside):
    (outside.parent / "outside").mkdir()
    outside.rename(outside.parent / "outside" / photo.name)
    photo.parent.joinpath("below").symlink_to(outside.parent / "outside")


@pytest.mark.parametrize(
    ("name", "link"), [("000000000020.jpg", link_out), ("below/000000000020.jpg", link_the_folder_out)]
)
def test_links_out_of_the_photos_are_refused(tmp_path, name, link):
    with_names(tmp_path / "root", "000000000010.jpg", name)
    photo = tmp_path / "root" / "images" / "val2017" / "000000000020.jpg"
    photo.rename(tmp_path / "secret.jpg")
    link(photo, tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match=rf"val2017/{name} is a link to .*, outside .*: put the photo itself"):
        prepare.prepare_coco(tmp_path / "root", tmp_path / "out")


def test_pipes_folders_circular_links_and_long_names_are_missing_photos(tmp_path):
    names = ["pipe.jpg", "folder", "circle.jpg", "x" * 5000, "000000000010.jpg"]
    photos = tmp_path / "photos"
    (photos / "folder").mkdir(parents=True)
    os.mkfifo(photos / "pipe.jpg")
    (photos / "circle.jpg").symlink_to("circle.jpg")
    folder = photo_stores.Folder(photos, photos)
    for name in names:
        assert folder.size(name) == 0
        assert photo_stores.read_checked(folder, photo_stores.Photo(1, name))[:3] == (b"", (0, 0), "missing")


def test_names_in_a_zip_file_cannot_leave_it(tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(made_coco.photo(1))
    with zipfile.ZipFile(tmp_path / "val2017.zip", "w") as file:
        for name in ("../secret.jpg", "/etc/passwd", "val2017/good.jpg"):
            file.writestr(name, made_coco.photo(2))
        link = zipfile.ZipInfo("val2017/link.jpg")
        link.external_attr = 0o120777 << 16
        file.writestr(link, str(secret))
    zipped = photo_stores.Zip(tmp_path / "val2017.zip")
    assert photo_stores.read_checked(zipped, photo_stores.Photo(1, "good.jpg"))[0] == made_coco.photo(2)
    assert "not a JPEG" in photo_stores.read_checked(zipped, photo_stores.Photo(1, "link.jpg"))[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.jpg", "val2017.zip"]


def test_a_zip_file_made_on_windows_holds_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "val.zip", "w") as file:
        file.writestr("val\\seq\\a.jpg", b"a")
    assert photo_stores.Zip(tmp_path / "val.zip").read("seq/a.jpg") == b"a"


def test_zip_entries_larger_than_the_limit_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_records, "MAX_BYTES", 10**6)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.jpg", bytes(10**6 + 1))
    problem = photo_stores.read_checked(photo_stores.Zip(tmp_path / "a.zip"), photo_stores.Photo(1, "a.jpg"))[2]
    assert problem == "1,000,001 bytes, but up to 1,000,000 are accepted"


def claim_size(path, size):
    """A zip file of one entry, with another size in its list of entries."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\1\2") + 24, size)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            zipfile.ZIP_BZIP2,
            r"cannot be read: 'a/a\.jpg' is packed by method 12 of zip: pack it by `deflate`, as `zip` does",
        ),
        (zipfile.ZIP_LZMA, r"cannot be read: 'a/a\.jpg' is packed by method 14 of zip: pack it by"),
        (zipfile.ZIP_DEFLATED, r"cannot be read: Bad CRC-32"),
    ],
)
def test_a_zip_file_unpacks_to_no_more_than_it_claims(tmp_path, method, said):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/a.jpg", bytes(2**26))
    claim_size(path, 5000)
    zipped = photo_stores.Zip(path)
    tracemalloc.start()
    problem = photo_stores.read_checked(zipped, photo_stores.Photo(1, "a.jpg"))[2]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert re.match(said, problem) and peak < 2**20


def claiming(encoded: bytes, width: int, height: int) -> bytes:
    """A JPEG or PNG file, with another size in its header."""
    content = bytearray(encoded)
    if encoded.startswith(b"\xff\xd8"):
        at = next(content.index(frame) for frame in (b"\xff\xc0", b"\xff\xc2") if frame in content)
        content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    else:
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize(("width", "height"), [(65_500, 65_500), (32_767, 1), (20_000, 20_000), (0, 48)])
def test_absurd_sizes_are_refused_before_decoding(monkeypatch, extension, width, height):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    bomb = claiming(made_coco.photo(1, extension), width, height)
    with pytest.raises(
        ValueError, match=rf"photo 7 .*\({width}x{height}, but 1 to 32,766 pixels .*make it smaller"
    ):
        photo_records.decode(bomb, photo_id=7)


def test_a_photo_of_another_size_is_not_decoded(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(made_coco.photo(1, ".png"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    problem = photo_stores.read_checked(
        photo_stores.Folder(tmp_path, tmp_path), photo_stores.Photo(1, "a.png", 640, 480)
    )[2]
    assert problem == "64x48, but 640x480 in the annotations"


@pytest.mark.parametrize("extension", [".webp", ".bmp", ".tiff", ".gif", ".jp2", ".ppm", ".hdr", ".avif"])
def test_other_formats_are_refused_before_decoding(monkeypatch, extension):
    encoded = made_coco.photo(1, extension)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"not a JPEG or PNG file(, but an? \w+ file)?: save it as one"):
        photo_records.decode(encoded, photo_id=7)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_with_too_many_scans_is_refused(progressive):
    pixels = np.zeros((48, 64, 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    encoded = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    assert photo_records.decode(encoded, photo_id=7).shape == (48, 64, 3)
    last = encoded.rindex(b"\xff\xda")
    bomb = encoded[:-2] + encoded[last : last + 10] * 1000 + encoded[-2:]
    if progressive:
        with pytest.raises(ValueError, match=r"1,0\d\d scans, but up to .* and 100 are accepted: save it again"):
            photo_records.decode(bomb, photo_id=7)
    else:
        assert photo_records.size(bomb) == (64, 48)  # one scan has all pixels: what follows is not looked at


@pytest.mark.parametrize("quality", [1, 95, 100])
@pytest.mark.parametrize("progressive", [0, 1])
def test_the_size_is_read_from_any_valid_file(quality, progressive):
    for height, width in ((1, 1), (48, 64), (7, 300)):
        pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
        for encoded in (cv2.imencode(".jpg", pixels, options)[1], cv2.imencode(".png", pixels)[1]):
            assert photo_records.size(encoded.tobytes()) == (width, height)


def test_real_photos_are_of_the_size_in_their_header(coco_data):
    split = records.open_split(coco_data / "val2017")
    for row in range(len(split.photos)):
        record = split.photos[row]
        assert photo_records.size(record["image"]) == (record["width"], record["height"])


def test_the_longest_side_is_the_limit_of_opencv():
    identity = np.eye(2, 3)
    cv2.warpAffine(np.zeros((1, photo_records.MAX_SIDE, 3), np.uint8), identity, (4, 4))
    with pytest.raises(cv2.error, match="SHRT_MAX"):
        cv2.warpAffine(np.zeros((1, photo_records.MAX_SIDE + 1, 3), np.uint8), identity, (4, 4))


@pytest.mark.parametrize("size", [0, -1, 10**9, 32_767, 2**70, 640.5, "wide", True])
def test_absurd_sizes_in_annotations_are_refused(tmp_path, size):
    content = made_coco.content([10])
    content["images"][0]["height"] = size
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a.json: images\[0\]: `(width|height)` .*must be"):
        coco.load(path, COCO)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty: copy or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: fetch the file itself"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC file: save it as one"),
        (gzip.compress(made_coco.photo(1), mtime=0), "packed by gzip: unpack it"),
    ],
)
def test_files_that_are_no_photos_are_named(tmp_path, content, what):
    (tmp_path / "a.jpg").write_bytes(content)
    store = photo_stores.Folder(tmp_path, tmp_path)
    problem = photo_stores.read_checked(store, photo_stores.Photo(1, "a.jpg", 64, 48))[2]
    assert problem.startswith(f"not a JPEG or PNG file, but {what}")


def test_a_missing_photo_is_told_where_one_of_its_name_is(tmp_path):
    (tmp_path / "a.jpg").write_bytes(made_coco.photo(1))
    store = photo_stores.Folder(tmp_path, tmp_path)
    for name, hint in (("7/a.jpg", ", but there is a.jpg: correct `file_name`"), ("7/b.jpg", ""), ("b.jpg", "")):
        problem = photo_stores.read_checked(store, photo_stores.Photo(1, name, 64, 48))[2]
        assert problem == f"missing{hint}"


def test_an_archive_that_is_no_zip_file_is_named(tmp_path):
    with tarfile.open(tmp_path / "val.zip", "w") as file:
        file.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(ValueError, match=r"val\.zip is not a complete zip file, but packed by tar: unpack it"):
        photo_stores.Zip(tmp_path / "val.zip")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"../../store/a b.jpg", "but the text of a link to ../../store/a b.jpg: put the photo itself there"),
        (b"../store/A.PNG\n", "but the text of a link to ../store/A.PNG: put"),
        (b"hello", "not a JPEG or PNG file: save it as one"),
        (b"a" * 2000 + b".jpg", "not a JPEG or PNG file: save it as one"),
    ],
)
def test_what_is_there_instead_of_a_photo_is_named(tmp_path, content, said):
    (tmp_path / "a.jpg").write_bytes(content)
    store = photo_stores.Folder(tmp_path, tmp_path)
    assert said in photo_stores.read_checked(store, photo_stores.Photo(1, "a.jpg"))[2]
    assert photo_stores.read_size(store, "a.jpg") == photo_stores.read_size(store, "none.jpg") == (0, 0)
