"""Evaluates a network: a run directory or a checkpoint in; metrics, errors and pictures out.

    python eval.py --config configs/coco.py:hrnet_w32_256x192 --workdir runs/w32
    python eval.py --config configs/coco.py:hrnet_w32_256x192 --checkpoint runs/a --checkpoint runs/b --out both

evaluates the split ``config.data.val_split`` on ground-truth boxes and, if the split has them, on a detector's
boxes: AP for COCO, PCKh for MPII. Another split: ``--config.data.val_split=test-dev2017``. The output directory,
``WORKDIR/eval`` by default, then holds

    report.html               what the errors are and what they cost, to look at; ``--against RUN`` compares
    metrics.json              flat: {"val2017/gt_boxes/AP": 0.76, ...}, with all numbers of the report
    per_joint_SPLIT.json      errors of each joint, on ground-truth boxes
    results_SPLIT_BOXES.json  COCO result files; for a split without annotations under the server's own name
    SPLIT/pred.mat            predictions for MPII's server
    pictures/                 the best and the worst people

Several checkpoints are an ensemble, whose heatmaps are averaged. ``--config.eval.scales=0.9,1.0,1.1`` and
``--config.eval.rotations=-15.0,0.0,15.0`` average those of several crops of each person.
"""

import pathlib
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

from hrnet_jax import buckets, checkpoint_files, console, distributed, sharding, tasks
from hrnet_jax.evaluation import report
from hrnet_jax.run import directory
from hrnet_jax.torch_interop import loading, state_dict

distributed.define_flags()
CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration the network was trained with.")
WORKDIR = flags.DEFINE_string("workdir", None, "A run directory; its best checkpoint is evaluated.")
CHECKPOINT = flags.DEFINE_multi_string(
    "checkpoint", None, "A checkpoint, instead of a run directory. Repeated: an ensemble."
)
AGAINST = flags.DEFINE_string("against", None, "Another evaluated run, to compare with in the report.")
OUT = flags.DEFINE_string("out", None, "Output directory. Default: `eval` in the run directory.")
flags.mark_flag_as_required("config")
flags.mark_flags_as_mutual_exclusive(["workdir", "checkpoint"], required=True)


def main() -> None:
    """Runs the command line."""
    distributed.initialize()
    sources = [buckets.path(source) for source in CHECKPOINT.value or [WORKDIR.value or ""]]
    out, task = output_directory(sources[0]), tasks.build(CONFIG.value)  # pyright: ignore[reportArgumentType]
    evaluation = task.evaluation(trained=False)
    for source in sources:
        if (WORKDIR.value or len(sources) > 1) and (source / "config.json").is_file():
            directory.check(source, CONFIG.value, lambda field: field.network)  # pyright: ignore
    found = [source if state_dict.is_torch_file(source) else checkpoint_files.find(source) for source in sources]
    against = report.read_run(buckets.path(AGAINST.value), evaluation.name) if AGAINST.value else None
    what = f"{evaluation.name}: {evaluation.summary()}, on {jax.device_count()} devices"
    distributed.log_once("\n".join([*map(str, found), f"-> {what}"]))
    mesh = sharding.make_mesh()
    sharding.check_batch_size("eval.batch_size", CONFIG.value.eval.batch_size, 1, mesh)  # pyright: ignore
    members = tuple(restore(task, source) for source in found)
    variables = members if len(members) > 1 else members[0]  # pyright: ignore[reportGeneralTypeIssues]
    predictions = evaluation.predict(
        sharding.place_state(variables, mesh),
        lambda batch: sharding.place_batch(batch, mesh),
        progress=distributed.is_primary(),
    )
    if distributed.is_primary():
        evaluation.write(predictions, variables, out, against)


def output_directory(source: buckets.Path) -> pathlib.Path:
    """Returns the output directory. Raises ValueError if it is missing, a file, or in a bucket."""
    if WORKDIR.value is None and OUT.value is None:
        raise ValueError("`--checkpoint` needs `--out`, the output directory")
    if buckets.is_in_bucket(out := OUT.value or source / "eval"):
        raise ValueError(f"results cannot be written to {out}: give `--out`, a local directory")
    out = pathlib.Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"`--out` (={out}) is a file: give a directory")
    return out


def restore(task: tasks.Task, source: buckets.Path) -> dict[str, Any]:
    """Returns the variables of a checkpoint, on the host."""
    weights = loading.read(source, CONFIG.value.eval.averaged)  # pyright: ignore[reportOptionalMemberAccess]
    variables, loaded = loading.initialize(task.init(), weights, task.describe())
    distributed.log_once(str(loaded))
    return variables


if __name__ == "__main__":
    console.start(distributed.abort_together()(main))
