import copy
import json

import pytest

from hrnet_jax.running import manifest

ENTRY = {
    "time": "2026-01-01",
    "step": 0,
    "command": ["python", "train.py"],
    "host": "a",
    "devices": {"kind": "cpu", "count": 1, "processes": 1},
    "versions": {"jax": "0.10.2", "numpy": "2.4"},
    "code": {"sources": "0123", "commit": ""},
    "data": {"train2017": "aa", "val2017": "bb"},
    "environment": {"XLA_FLAGS": "--a"},
}


def entry(**changes):
    other = copy.deepcopy(ENTRY)
    for name, value in changes.items():
        group, _, field = name.partition("__")
        if field:
            other[group][field] = value
        else:
            other[group] = value
    return other


def test_every_start_is_an_entry(tmp_path):
    assert manifest.add(tmp_path, entry()) == []
    assert manifest.add(tmp_path, entry(step=5, time="later", host="b", command=["python"])) == []
    assert [start["step"] for start in manifest.read(tmp_path)] == [0, 5]
    assert json.loads((tmp_path / "manifest.json").read_text())["starts"][0] == ENTRY


def test_what_can_change_a_result_is_told_against_the_first_start(tmp_path):
    manifest.add(tmp_path, entry())
    manifest.add(tmp_path, entry(devices__count=4))
    assert manifest.add(tmp_path, entry(versions__jax="0.12.0", environment__JAX_ENABLE_X64="1")) == [
        "environment.JAX_ENABLE_X64 was not there and is 1",
        "versions.jax was 0.10.2 and is 0.12.0",
    ]


def test_other_data_are_refused_and_leave_the_manifest_as_it_was(tmp_path):
    manifest.add(tmp_path, entry())
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match=r"data are not those .* \(data\.val2017 was bb and is cc\): give those"):
        manifest.add(tmp_path, entry(data__val2017="cc"))
    assert (tmp_path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "content", ["", "[]", '{"starts": 3}', '{"starts": [3]}', '{"starts": [{"data": [1]}]}', "{}", "[" * 100_000]
)
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged .*: delete it"):
        manifest.add(tmp_path, entry())
