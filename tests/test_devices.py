import pytest

from hrnet_jax import devices


def test_peaks_are_those_of_dense_bfloat16():
    """In T operations a second, as the makers state them without sparsity."""
    peaks = {name: chip.operations / 1e12 for name, chip in devices.CHIPS.items()}
    assert peaks == {"TPU v4": 275, "TPU v5e": 197, "TPU v5p": 459, "TPU v6e": 918, "H100, H200": 989}


def test_tpus_are_found_by_the_kind_of_their_devices():
    name, chip = devices.find("TPU v5 lite")
    assert name == "TPU v5e" and chip.memory == 16 * 2**30
    assert [devices.find(kind)[0] for kind in ("TPU v4", "TPU v5", "TPU v6 lite")] == [
        "TPU v4", "TPU v5p", "TPU v6e"
    ]  # fmt: skip


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"devices of the kind 'cpu'; known are TPU v4, TPU v5 lite"):
        devices.find("cpu")


@pytest.mark.parametrize(
    ("kind", "people", "hints"),
    [
        ("TPU v5 lite", 32, True),
        ("TPU v4", 192, True),
        ("TPU v4", 128, False),
        ("TPU v5", 512, False),
        ("cpu", 8, False),
    ],
)
def test_people_that_do_not_fill_the_lanes_of_a_tpu_are_said(kind, people, hints):
    hint = devices.lanes_hint(kind, people)
    assert (f"{people} people at a time" in hint and "a multiple of 128" in hint) == hints == bool(hint)
