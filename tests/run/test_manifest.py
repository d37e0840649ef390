import copy
import json
import os
import re
import shutil

import numpy as np
import pytest

from hrnet_jax.datasets import records
from hrnet_jax.run import manifest

ENTRY = {
    "time": "2026-01-01",
    "step": 0,
    "command": ["python", "train.py"],
    "host": "a",
    "config": {"seed": 0},
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


def test_every_start_adds_an_entry(tmp_path):
    assert manifest.add(tmp_path, entry()) == []
    assert manifest.add(tmp_path, entry(step=5, time="later", host="b", command=["python"])) == []
    assert [start["step"] for start in manifest.read(tmp_path)] == [0, 5]
    assert json.loads((tmp_path / "manifest.json").read_text())["starts"][0] == ENTRY


def test_differences_from_the_first_start_are_reported(tmp_path):
    manifest.add(tmp_path, entry())
    manifest.add(tmp_path, entry(devices__count=4))
    assert manifest.add(tmp_path, entry(versions__jax="0.12.0", environment__JAX_ENABLE_X64="1")) == [
        "environment.JAX_ENABLE_X64 was None and is 1",
        "versions.jax was 0.10.2 and is 0.12.0",
    ]


def test_other_data_are_refused_and_the_manifest_is_unchanged(tmp_path):
    manifest.add(tmp_path, entry())
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(
        ValueError, match=r"was started with other data \(data\.val2017 was bb and is cc\): give those"
    ):
        manifest.add(tmp_path, entry(data__val2017="cc"))
    assert (tmp_path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"starts": 3}',
        *(
            f'{{"starts": [{start}]}}'
            for start in (
                "3",
                '{"data": [1]}',
                '{"step": 1e400}',
                '{"step": "7"}',
                '{"config": 3}',
            )
        ),
    ],
)
def test_a_damaged_manifest_is_reported_with_its_path(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged .*: delete it"):
        manifest.add(tmp_path, entry())


def skeleton_unpaired(split):
    content = json.loads((split / "skeleton.json").read_text())
    (split / "skeleton.json").write_text(json.dumps(content | {"flip_pairs": []}))


def area_changed(split):
    content = json.loads((split / "annotations.json").read_text())
    content["annotations"][0]["area"] *= 2
    (split / "annotations.json").write_text(json.dumps(content))


def box_moved(split):
    table = dict(np.load(split / "people.npz"))
    table["box"][0] += 1
    np.savez(split / "people.npz", **table)


def photo_changed(split):
    (path,) = (split / "photos/1.0.0").glob("*.array_record*")
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(OSError, match=r"manifest\.json cannot be read: it is no regular file"):
        manifest.read(tmp_path)


def test_states_are_compared_between_starts_at_the_same_step():
    start = entry(state="0a")
    assert manifest.compare(start, entry(state="0b")) == ["state was 0a and is 0b"]
    assert manifest.compare(start, entry(state="0b", step=5)) == []


def test_secrets_in_the_environment_are_not_written():
    kept = {"XLA_FLAGS": "--a", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2", "OMP_NUM_THREADS": "1"}
    secret = {"TF_TOKEN_x": "1", "TF_VAR_db_password": "2", "JAX_API_KEY": "3", "AWS_SECRET": "4", "HOME": "/root"}
    assert manifest.environment(kept | secret) == kept


@pytest.mark.parametrize("change", [skeleton_unpaired, area_changed, box_moved, photo_changed])
def test_changed_data_have_another_digest(made_up_records, tmp_path, change):
    split = tmp_path / "val2017"
    shutil.copytree(made_up_records / "val2017", split)
    before = records.digest(records.open_split(split))
    assert records.digest(records.open_split(made_up_records / "val2017")) == before
    opened = records.open_split(split)
    change(split)
    after = opened if change is photo_changed else records.open_split(split)
    assert records.digest(after) != before


def test_every_requirement_has_a_version():
    lines = (manifest.ROOT / "requirements.txt").read_text().splitlines()
    required = {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in lines if line[:1].isalpha()}
    assert len(required) > 10 and required | {"jaxlib"} <= manifest._versions().keys()
