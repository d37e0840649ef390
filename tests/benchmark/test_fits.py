import json
import pathlib
import time
import types

import pytest

from configs import default
from hrnet_jax import rows
from hrnet_jax.benchmark import __main__ as benchmark
from hrnet_jax.benchmark import fits


@pytest.fixture
def config():
    return default.get_config()


@pytest.mark.parametrize(
    ("group", "counts"),
    [(32, [128, 64, 32, 16, 8, 4, 2, 1]), (24, [120, 48, 24, 16, 8, 4, 2, 1]), (0, [128, 64, 32, 16, 8, 4, 2, 1])],
)
def test_people_are_halved_and_groups_stay_whole(config, group, counts):
    config.model.norm_group_size = group
    assert list(fits._counts(config, 128)) == counts


@pytest.mark.parametrize(
    ("has", "people", "needs"), [(100, 128, 100), (99, 64, 50), (6, 4, 3.125), (0.5, 0, 0.78125)]
)
def test_the_most_people_that_fit_are_found(monkeypatch, config, has, people, needs):
    def assign(config, topology, count, chips, slices):
        assert (topology, chips, slices) == ("v5e:2x2", 1, 2)
        return {"needs": count / 128 * 100, "has": has}

    monkeypatch.setattr(fits, "_assign", assign)
    found = fits.measure(config, "v5e:2x2", 128, 1, 2)
    assert found == {"people": people, "needs": needs, "has": has}


def test_rows_share_a_program_if_only_weights_data_or_schedule_differ():
    coco, posetrack = rows.load("coco"), rows.load("posetrack")
    program = fits.same_program(coco["hrnet_w32_256x192"].config())
    assert program == fits.same_program(coco["hrnet_w32_256x192_scratch"].config())
    assert program == fits.same_program(posetrack["hrnet_w32_256x192"].config())
    others = ("hrnet_w48_256x192", "hrnet_w32_384x288", "hrnet_w32_256x192_udp_offset")
    assert program not in {fits.same_program(coco[name].config()) for name in others}
    assert program != fits.same_program(rows.load("mpii")["hrnet_w32_256x256"].config())


REPORT = """Memory Space: default (color=0)
Total bytes: 7982023168 (7.43GiB)
  cumulative_size;       size;

Memory Space: vmem (color=1)
Total bytes: 100663296 (96.00MiB)
"""
PROGRAM = """ENTRY %main {
  %gradient = f32[1000] add(%a, %b), metadata={op_name="transpose(jvp(HRNet))/add"}
  %sum = f32[1000] all-reduce(%gradient), to_apply=%add
}
"""


@pytest.fixture
def dumped(tmp_path):
    """What a compiler that has assigned memory leaves."""
    (tmp_path / "sizes.json").write_text(json.dumps({"kept": 228_000_000, "has": 16_000_000_000}))
    (tmp_path / "module_1.jit_gradients.after_optimizations-memory-usage-report.txt").write_text(REPORT)
    (tmp_path / "module_1.jit_gradients.after_optimizations.txt").write_text(PROGRAM)
    return tmp_path


def test_needs_are_what_the_compiler_assigned_in_hbm_and_the_moments(dumped):
    found = fits._read(dumped, "a row")
    assert (found["needs"], found["has"]) == (7_982_023_168 + 228_000_000, 16_000_000_000)
    assert found["sent"] == {"gradients": {"all-reduce": {"operations": 1, "arrays": 1, "bytes": 4000}}}


def test_a_program_that_is_too_large_has_needs_too(dumped):
    (dumped / "error.txt").write_text("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")
    (dumped / "sizes.json").write_text(json.dumps({"kept": 228_000_000, "has": 8_000_000_000}))
    assert fits._read(dumped, "a row")["needs"] > 8e9


def test_a_program_that_is_refused_though_it_fits_does_not_count_as_fitting(dumped):
    (dumped / "error.txt").write_text("RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem")
    with pytest.raises(ValueError, match=r"a row cannot be compiled: RESOURCE_EXHAUSTED: .* vmem"):
        fits._read(dumped, "a row")


def test_another_error_of_the_compiler_is_said(dumped):
    (dumped / "error.txt").write_text("INTERNAL: no such layout\nmore")
    with pytest.raises(ValueError, match=r"^a row cannot be compiled: INTERNAL: no such layout$"):
        fits._read(dumped, "a row")


def _assign_and_go_on(folder: pathlib.Path) -> None:
    (folder / "step_after_buffer_assignment.txt").touch()
    time.sleep(20)
    (folder / "code").touch()


def test_the_compiler_is_ended_once_memory_is_assigned(tmp_path):
    fits._run_until_assigned(tmp_path, _assign_and_go_on)
    assert [path.name for path in tmp_path.iterdir()] == ["step_after_buffer_assignment.txt"]


def test_a_compiler_that_died_is_not_waited_for(tmp_path):
    fits._run_until_assigned(tmp_path, print)
    with pytest.raises(ValueError, match="a row cannot be compiled: the compiler ended"):
        fits._read(tmp_path, "a row")


def test_what_a_step_keeps_is_part_of_the_program():
    config = rows.load("coco")["hrnet_w32_256x192"].config()
    program = fits.same_program(config)
    for changes in ({"optimizer": "sgd"}, {"fsdp": True}, {"average_decay": 0.99}, {"model.remat": True}):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict(changes)
        assert fits.same_program(other) != program, changes


def test_cells_tell_people_and_memory():
    assert fits.cell({"people": 64, "needs": 12_340_000_000}) == "64: 12.34 GB"
    assert fits.cell({"people": 0, "needs": 99_000_000_000}) == "none: 99.00 GB"


def test_topologies_are_compiled_side_by_side_and_keep_their_order(monkeypatch, config):
    monkeypatch.setattr(fits, "measure", lambda _, *arguments: arguments)
    found = fits.measure_all(config, ["v5e:2x2", "v4:2x2x1"], 64, 2, 1)
    assert [*found.items()] == [("v5e:2x2", ("v5e:2x2", 64, 2, 1)), ("v4:2x2x1", ("v4:2x2x1", 64, 2, 1))]


class Options(types.SimpleNamespace):
    """Flags that are read as attributes and by name."""

    def __getitem__(self, name):
        return getattr(self, name)


@pytest.fixture
def two_rows(monkeypatch):
    """Flags that ask for two rows, in a precision given beside them."""
    monkeypatch.setattr(benchmark.tpu, "mesh_of", lambda *_: None)
    monkeypatch.setattr(benchmark.config_flags, "get_override_values", lambda _: {"model.dtype": "bfloat16"})
    names = ["coco:hrnet_w32_256x192", "coco:resnet50_256x192"]
    return Options(config=None, rows=names, topology=["v5e:2x2"], chips=0, slices=1, batch=0)


def test_rows_are_told_one_by_one_although_one_fails(monkeypatch, config, two_rows):
    def measure(row, topologies, *_):
        if row.model.name == "simple_baseline":
            raise ValueError("no such layout")
        return {topology: {"people": 128, "needs": 8_000_000_000} for topology in topologies}

    monkeypatch.setattr(fits, "measure_all", measure)
    lines = [text for _, text in benchmark.measure_fits(config, two_rows)]
    assert [" ".join(line.split()) for line in lines] == [
        "coco:hrnet_w32_256x192 128: 8.00 GB",
        "coco:resnet50_256x192 no such layout",
    ]
    two_rows.rows = two_rows.rows[1:]
    with pytest.raises(ValueError, match="no such layout"):  # a row that is alone
        list(benchmark.measure_fits(config, two_rows))


def test_rows_with_the_same_program_are_compiled_once(monkeypatch, config, two_rows):
    compiled = []
    monkeypatch.setattr(fits, "measure_all", lambda row, *_: compiled.append(row) or {})
    two_rows.rows = ["coco:hrnet_w32_256x192", "coco:hrnet_w32_256x192_scratch"]
    measured = [measured for measured, _ in benchmark.measure_fits(config, two_rows)][-1]
    assert [*measured] == two_rows.rows and len(compiled) == 1 and compiled[0].model.dtype == "bfloat16"
