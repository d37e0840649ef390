import gzip
import json
import os
import pathlib
import re
import zipfile

import numpy as np
import pytest

from hrnet_jax import validation


def write(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10**6, r"recursion"),
        ("[" * 10**5 + "]" * 10**5, r"recursion"),
        ('{"a": ' * 10**5, r"recursion"),
        ("1" * 5000, r"4300 digits"),
        ('{"a": {"id": 1, "b": 2, "id": 3}}', r"the key 'id' is used twice in {'b': 2, 'id': 3}"),
        (b"\xff\xfe\xfd", r"can't decode"),
        ("", r"Expecting value"),
    ],
)
def test_invalid_and_ambiguous_json_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"a\.json is not valid JSON: .*{message}.*; download or write it again"):
        validation.read_json(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'a': 1}".encode("utf-16")[:-1], r"again, in UTF-8$"),
        ('{"a": 1}\n{"a": 2}\n', r"again, as one value: each line is one \(JSON Lines\)$"),
        (gzip.compress(b"{}", mtime=0), r"a\.json is not valid JSON, but packed by gzip: unpack it$"),
        ("<html></html>", r"a\.json is not valid JSON, but a web page: download the file itself"),
    ],
)
def test_text_that_is_not_json_is_named_with_the_way_out(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        validation.read_json(write(tmp_path, text))


def test_nan_is_allowed_in_lists_of_one_name_only(tmp_path):
    text = '{"joints": [1, NaN, [NaN, Infinity]], "box": [NaN], "size": NaN}'
    _, places = validation.read_json_leniently(write(tmp_path, text), may_be_nan="joints")
    assert [*places] == ["it['size'] is nan", "it['joints'][2][1] is inf", "it['box'][0] is nan"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"unused": NaN}', r"it\['unused'\] is nan"),
        ('{"info": [1, {"unused": -Infinity}]}', r"it\['info'\]\[1\]\['unused'\] is -inf"),
        ("[-1E+400]", r"it\[0\] is -inf"),
        ("1" + "0" * 400 + ".0", r"it is inf"),
        ('{"a": 1e400}'.encode("utf-16"), r"it\['a'\] is inf"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_with_their_location(tmp_path, text, place):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=rf"a\.json: {place}, not a finite number: correct it, or leave the"):
        validation.read_json(path)
    _, odd = validation.read_json_leniently(path)
    assert re.fullmatch(place, *odd)


def test_all_numbers_that_are_not_finite_are_located_in_broad_and_deep_files(tmp_path):
    broad = "[" + "0," * 100_000 + "NaN, 1, Infinity]"
    _, odd = validation.read_json_leniently(
        write(tmp_path, f'{{"a": -1e400, "b": {{"c": 3, "d": [{broad}]}}, "e": NaN}}')
    )
    assert list(odd) == [
        "it['a'] is -inf",
        "it['e'] is nan",
        "it['b']['d'][0][100000] is nan",
        "it['b']['d'][0][100002] is inf",
    ]


def test_numbers_that_are_not_finite_are_refused_at_any_depth(tmp_path):
    for depth in range(100, 5000, 100):
        with pytest.raises(ValueError, match=r"a\.json"):
            validation.read_json(write(tmp_path, "[" * depth + "NaN" + "]" * depth))


def test_errors_name_files_that_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", pathlib.Path("/dev/zero")):
        with pytest.raises(OSError, match=rf"{path} cannot be read: it is no regular file; put the file itself"):
            validation.read_json(path)
        with pytest.raises(ValueError, match=rf"{path} is damaged \({path} cannot be read: it is no regular file"):
            validation.read_arrays(path, dict, COLUMNS)
    with pytest.raises(FileNotFoundError, match=r"b\.json does not exist"):
        validation.read_json(tmp_path / "b.json")


def test_finite_numbers_are_unchanged(tmp_path):
    assert validation.read_json(write(tmp_path, "[1.5e308, -1e-400, 0.1, 9]")) == [1.5e308, 0.0, 0.1, 9]


def test_a_duplicate_key_among_many_is_found_quickly(tmp_path):
    names = ",".join(f'"{number}": 1' for number in range(100_000))
    with pytest.raises(ValueError, match=r"the key '7' is used twice in"):
        validation.read_json(write(tmp_path, f'{{{names}, "7": 2}}'))


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400, "1e10", "true", '"1"']
)
def test_numbers_are_finite_and_bounded(number):
    value = json.loads(f"[1.5, {number}]")
    with pytest.raises(ValueError, match=r"^entry 3: `bbox` must be 2 finite numbers up to 1e\+09, but is 2: "):
        validation.numbers(value, 2, "entry 3: `bbox`")
    assert validation.numbers([1.5, -2], 2, "x") == [1.5, -2]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "9223372036854775808", "1" * 400])
def test_fields_are_finite_and_fit_in_64_bits(number):
    entry = json.loads(f'{{"id": {number}, "last": 9223372036854775807}}')
    with pytest.raises(ValueError, match=r"^entry 3: `id` \(=.*\) must be finite and fit in 64 bits"):
        validation.require(entry, "id", (int, float), "entry 3")
    assert validation.require(entry, "last", int, "entry 3") == 2**63 - 1


@pytest.mark.parametrize("kind", [int, (int, float)])
def test_true_is_not_a_number(kind):
    with pytest.raises(ValueError, match=r"entry 3: `id` \(=True\) must be .*, not bool"):
        validation.require({"id": True}, "id", kind, "entry 3")


def test_messages_about_deep_and_long_values_are_short(tmp_path):
    deep = json.loads("[" * 900 + "]" * 900)
    for value in (deep, list(range(10**6)), "x" * 10**6, {str(n): deep for n in range(10**4)}, 10**4000):
        with pytest.raises(ValueError, match="must be") as caught:
            validation.require({"name": value}, "name", int, "it")
        assert len(str(caught.value)) < 500


class Malicious:
    def __reduce__(self):
        return open, ("it ran", "w")


def malicious() -> np.ndarray:
    return np.array([Malicious()], object)


COLUMNS = {"id": (np.int64, ()), "box": (np.float64, (4,))}
GOOD = {"id": np.arange(3), "box": np.ones((3, 4))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": malicious()}, r"Object arrays cannot be loaded"),
        ({"id": np.arange(3.0)}, r"`id` is float64 \(3,\), not int64 \(3,\)"),
        ({"box": np.ones((2, 4))}, r"`box` is float64 \(2, 4\), not float64 \(3, 4\)"),
        ({"box": np.ones((3, 5))}, r"`box` is float64 \(3, 5\)"),
        ({"id": np.int64(3)}, r"len\(\) of unsized object"),
        ({"id": malicious()}, r"Object arrays cannot be loaded"),
        ({"more": malicious()}, r"it holds id, box, more instead of id, box"),
        ({"more": np.ones(1)}, r"it holds id, box, more instead of id, box"),
    ],
)
def test_arrays_of_another_shape_or_of_objects_are_refused(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    np.savez("good.npz", **GOOD)
    assert validation.read_arrays(tmp_path / "good.npz", dict, COLUMNS)["id"].tolist() == [0, 1, 2]
    np.savez("a.npz", **GOOD | changes)
    with pytest.raises(
        ValueError, match=rf"a\.npz is damaged \(.*{message}.*prepare the split again, with --force"
    ):
        validation.read_arrays(tmp_path / "a.npz", dict, COLUMNS)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("kind", ["pickle", "npy"])
def test_pickles_are_refused_and_not_run(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    if kind == "pickle":
        malicious().dump("a.npz")
    else:
        with open("a.npz", "wb") as file:
            np.save(file, malicious())
    with pytest.raises(ValueError, match=r"a\.npz is damaged"):
        validation.read_arrays(tmp_path / "a.npz", dict, COLUMNS)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_packed_by_other_methods_are_not_unpacked(tmp_path, monkeypatch, method):
    np.savez(tmp_path / "good.npz", **GOOD)
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "a.npz", "w", method) as bad:
        for name in good.namelist():
            bad.writestr(name, good.read(name))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(
        ValueError, match=r"a\.npz is damaged \('id\.npy' is packed by method 1[24] of zip: pack it by"
    ):
        validation.read_arrays(tmp_path / "a.npz", dict, COLUMNS)


def test_arrays_with_a_false_size_are_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "b.npz", **GOOD)
    with zipfile.ZipFile(tmp_path / "b.npz") as file:
        unpacked = next(entry for entry in file.infolist() if entry.filename == "box.npy").file_size
    content = (tmp_path / "b.npz").read_bytes()
    directory = content.rindex(b"PK\x01\x02")  # of its last entry
    claimed = content[directory:].replace(unpacked.to_bytes(4, "little"), (10**8).to_bytes(4, "little"), 1)
    (tmp_path / "b.npz").write_bytes(content[:directory] + claimed)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(ValueError, match=r"it is 100,000,\d+ bytes unpacked, but up to"):
        validation.read_arrays(tmp_path / "b.npz", dict, COLUMNS)


def test_errors_of_other_libraries_become_one_line():
    assert validation.one_line(ValueError("it is\n  damaged")) == "it is damaged"
    assert validation.one_line(MemoryError()) == "MemoryError"


def test_arrays_larger_than_the_limit_are_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "b.npz", id=np.zeros(10**6, int), box=np.zeros((10**6, 4)))
    assert len(validation.read_arrays(tmp_path / "b.npz", dict, COLUMNS)["id"]) == 10**6
    monkeypatch.setattr(validation, "MAX_UNPACKED", 10**7)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(
        ValueError, match=r"b\.npz is damaged \(it is 40,000,\d+ bytes unpacked, but up to 10,000,000"
    ):
        validation.read_arrays(tmp_path / "b.npz", dict, COLUMNS)


def test_differences_are_described_in_the_order_of_their_keys():
    there, here = {"b": 1, "a": "x", "c": 2.0, "n": float("nan")}, {"a": "y", "c": 2.0, "n": float("nan")}
    assert validation.differences(there, here) == {
        "a": "`a` is 'x' there and 'y' here",
        "b": "`b` is 1 there and None here",
    }
    assert validation.differences({3: "p"}, {3: "q"}, "{:03} was {} and is {}") == {3: "003 was p and is q"}
    assert validation.differences({"n": float("nan")}, {"n": 0.5}) == {"n": "`n` is nan there and 0.5 here"}


def test_errors_are_raised_or_collected():
    with pytest.raises(ValueError, match=r"^a\.json: entry 3 is wrong$"):
        validation.raise_error(pathlib.Path("a.json"))("kind", 3, "entry 3 is wrong")
    errors = validation.ErrorCollector()
    for number in (3, 5):
        errors("kind", number, f"entry {number} is wrong")
    assert errors.entries == {"kind": [3, 5]} and errors.first == {"kind": "entry 3 is wrong"}
