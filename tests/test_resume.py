"""A run that is killed goes on as if it had not been: `killing.py` in short."""

import killing
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import synthetic

TINY = (
    "--config.image_size=(64,32)",
    "--config.model.width=4",
    "--config.model.stem=4",
    "--config.model.blocks=1",
    "--config.batch_size=4",
    "--config.eval.batch_size=4",
    "--config.epochs=2",
    "--config.log_every=2",
    "--config.eval_every=1",
    "--config.checkpoint_every=3",
    "--config.picture_every=4",
)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("made_up")
    synthetic.write(root / "photos", train_photos=12, val_photos=6, workers=1)
    prepare.prepare_coco(root / "photos", root / "records")
    return [*TINY, f"--config.data.dir={root / 'records'}"]


def test_a_run_killed_while_compiling_evaluating_and_saving_ends_with_the_same_bits(arguments, tmp_path):
    killing.finish(killing.start(arguments, tmp_path / "whole"))
    moments = [(moment, 0.0) for moment in killing.MOMENTS]
    kills = killing.torment(arguments, tmp_path / "killed", tmp_path / "whole", moments)
    assert [(kill.moment, kill.met) for kill in kills] == [(moment, True) for moment, _ in moments]
    assert killing.differences(tmp_path / "whole", tmp_path / "killed") == []
    steps = [line["step"] for line in killing.lines_of(tmp_path / "whole") if "loss" in line]
    assert steps == [2, 4, 6, 8, 10]
