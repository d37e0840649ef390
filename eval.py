"""Evaluates a network: a run directory or a checkpoint in, the table of AP or PCKh, errors and pictures out.

    python eval.py --config configs/coco_hrnet_w32_256x192.py --workdir runs/w32

evaluates ``config.data.val_split`` on ground-truth boxes and, where the split has a detector's boxes, on those
too: COCO's AP, or for a split of MPII its PCKh. Another split: ``--config.data.val_split=test-dev2017``. Into
``OUT`` (``WORKDIR/eval``) it writes

    metrics.json              flat: {"val2017/gt_boxes/AP": 0.76, ...}
    per_joint_SPLIT.json      errors of each joint, on ground-truth boxes
    results_SPLIT_BOXES.json  COCO result files; for a split without annotations under the server's own name
    SPLIT/pred.mat            MPII's predictions, as its server takes them
    pictures/                 the best and the worst people
"""

import json
import pathlib
from typing import Any

import jax
from absl import flags
from flax import linen as nn
from ml_collections import ConfigDict, config_flags

from hrnet_jax import buckets, checkpoint, console, distributed, models, sharding, training, visualize
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols, report
from hrnet_jax.run import directory
from hrnet_jax.torch_interop import loading, state_dict  # fmt: skip

distributed.define_flags()
_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration the network was trained with.")
_WORKDIR = flags.DEFINE_string("workdir", None, "A run directory; its best checkpoint is evaluated.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A checkpoint, instead of a run directory.")
_OUT = flags.DEFINE_string("out", None, "Where the figures go. Default: `eval` in the run directory.")
flags.mark_flag_as_required("config")
flags.mark_flags_as_mutual_exclusive(["workdir", "checkpoint"], required=True)


def _decides(name: str) -> bool:
    """Whether the configuration given must agree with the run's in a field."""
    network = name.startswith("model.") and name.removeprefix("model.") not in models.TRAINING_FIELDS
    return network or name in ("skeleton", "image_size")


def run() -> None:
    """Evaluates as the command line says."""
    distributed.initialize()
    if _WORKDIR.value is None and _OUT.value is None:
        raise ValueError("`--checkpoint` needs `--out`, the directory where the figures go")
    config = _CONFIG.value
    source = buckets.path(_WORKDIR.value or _CHECKPOINT.value or "")
    if buckets.is_in_bucket(out := _OUT.value or source / "eval"):
        raise ValueError(f"the figures cannot be written to {out}: give `--out`, a local directory")
    out = pathlib.Path(out)
    split = records.open_split(pathlib.Path(config.data.dir) / config.data.val_split)
    if _WORKDIR.value and (source / "config.json").is_file():
        directory.check(source, config, _decides)
    found = source if state_dict.is_torch_file(source) else checkpoint.find(source)
    if out.exists() and not out.is_dir():
        raise ValueError(f"`--out` (={out}) is a file: give a directory")
    if distributed.is_primary():
        print(f"{found}\n-> {split.name}: {_boxes(split)}, on {jax.device_count()} devices", flush=True)

    outcomes = predict(config, found, split)
    if distributed.is_primary():
        write(outcomes, split, out)


def _boxes(split: records.Split) -> str:
    counts = {source: len(people) for source, people in evaluate.box_sources(split).items()}
    return ", ".join(f"{count} {source}" for source, count in counts.items())


def predict(config: ConfigDict, source: buckets.Path, split: records.Split) -> list[evaluate.Outcome]:
    """Restores the weights and evaluates them on every source of boxes that the split has."""
    mesh = sharding.make_mesh()
    sharding.check_batch_size("eval.batch_size", config.eval.batch_size, 1, mesh)
    model = models.build(config)
    return evaluate.evaluate(
        evaluate.build_step(model, config),
        sharding.place_state(load_weights(config, model, source), mesh),
        split,
        config,
        lambda batch: sharding.place_batch(batch, mesh),
        progress=distributed.is_primary(),
    )


def load_weights(config: ConfigDict, model: nn.Module, source: buckets.Path) -> dict[str, Any]:
    """Returns the weights of one of our checkpoints, or of a PyTorch one, with all that the network has."""
    variables = training.init_variables(model, tuple(config.image_size), config.seed)
    variables, loaded = loading.initialize(variables, loading.read(source), checkpoint.describe(config))
    if distributed.is_primary():
        print(loaded, flush=True)
    return variables


def write(outcomes: list[evaluate.Outcome], split: records.Split, out: pathlib.Path) -> None:
    """Writes all files and prints what stands in them."""
    out.mkdir(parents=True, exist_ok=True)
    written = [evaluate.write_results(split, outcome, out) for outcome in outcomes]
    if metrics := evaluate.metrics(outcomes):
        path = out / "metrics.json"  # figures of other splits stay
        written.append(_save(path, (json.loads(path.read_text()) if path.is_file() else {}) | metrics))
        print("\n" + report.figure_table(outcomes, protocols.of_split(split).columns))
    for outcome in outcomes:
        if outcome.source == evaluate.GT_BOXES and outcome.people.visible.any():
            written += _write_errors(outcome, split, out)
    print("\n" + "\n".join(map(str, written)))


def _write_errors(outcome: evaluate.Outcome, split: records.Split, out: pathlib.Path) -> list[pathlib.Path]:
    """Writes and prints the joints' errors, and draws the best and the worst people."""
    review = protocols.of_split(split).review(split, outcome)
    written = [_save(out / f"per_joint_{split.name}.json", review.per_joint)]
    print("\n" + report.joint_table(review.per_joint))
    pictures = report.best_and_worst(split, outcome, review)
    (out / "pictures").mkdir(exist_ok=True)
    for name, picture in pictures.items():
        written.append(out / "pictures" / f"{split.name}_{name}.jpg")
        written[-1].write_bytes(visualize.encode_jpeg(picture))
    return written


def _save(path: pathlib.Path, content: Any) -> pathlib.Path:
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


if __name__ == "__main__":
    console.start(distributed.abort_together()(run))
