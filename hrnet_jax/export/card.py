"""Model cards: a ``README.md`` beside exported weights, from the manifest and the metrics of their run."""

import os
import pathlib
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import hrnet_jax
from hrnet_jax import codecs, configuration, models, validation
from hrnet_jax.export.trained import Trained
from hrnet_jax.run import manifest
from hrnet_jax.torch_interop import state_dict

_TRAINING = ("epochs", "batch_size", "accumulation", "optimizer", "learning_rate", "schedule", "loss",
             "heatmap.target", "heatmap.sigma", "heatmap.unbiased", "seed", "model.norm_group_size")  # fmt: skip
"""Fields of a run's configuration in its card, besides those that differ from the default."""

_METRIC = re.compile(r"[^/]+/[^/]+/((AP|AR)[^/]*|t?PCKh?@[^/]*/Mean)")  # SPLIT/BOXES/METRIC

_PRIVATE = ("data.dir", "init_from", "skeleton")  # paths of the author's machine

_CITATION = """@inproceedings{sun2019hrnet,
  title     = {Deep High-Resolution Representation Learning for Human Pose Estimation},
  author    = {Sun, Ke and Xiao, Bin and Liu, Dong and Wang, Jingdong},
  booktitle = {CVPR},
  year      = {2019}
}"""


def render(trained: Trained, file: str) -> str:
    """Returns the card of weights in a file of this name: Markdown with front matter for the Hugging Face Hub."""
    parts = [_head(trained), _use(trained, file), _training(trained), _metrics(trained, file), _end()]
    return "\n\n".join(parts) + "\n"


def _head(trained: Trained) -> str:
    title, settings = models.title(trained.network), trained.settings
    height, width = settings.image_size
    parameters = models.count_parameters(trained.model, settings.image_size)
    found, maps, decoding = _outputs(trained)
    return f"""---
license: unknown  # fill in: the licence of these weights
library_name: hrnet_jax
pipeline_tag: keypoint-detection
tags: [human-pose-estimation, jax, safetensors]
---

# {title}, {settings.skeleton.name}, {height}x{width}

Finds the joints of {found}. {parameters:,} parameters. Reads images of {height}x{width} pixels
(height x width), {trained.network["colors"]}, normalized by ImageNet's mean and standard deviation. Predicts
{maps}: {", ".join(settings.skeleton.joints)}.{decoding}"""


def _outputs(trained: Trained) -> tuple[str, str, str]:
    """Returns whose joints a network finds, its outputs, and how joints are read from them."""
    settings, (height, width) = trained.settings, trained.settings.image_size
    sizes = [f"{height // stride}x{width // stride} pixels" for stride in models.strides(trained.network)]
    if models.find(trained.network["name"]).bottom_up:
        maps = [f"heatmaps and tags of {sizes[0]}", *(f"heatmaps of {size}" for size in sizes[1:])]
        return "all people in a photo", " and ".join(maps), ""
    count = codecs.CODECS[settings.codec].maps * settings.skeleton.num_joints
    test = "with" if settings.flip_test else "without"
    decoding = f"\nDecoding: {settings.reading}, {test} flip test."
    return "one person in a crop", f"{count} heatmaps of {sizes[-1]}", decoding


def _use(trained: Trained, file: str) -> str:
    (height, width), file = trained.settings.image_size, shlex.quote(file)
    return f"""## Use

Tensors have PyTorch's names and layout, those of the authors' release. The metadata describe the network.

```
hrnet convert {file} checkpoint                 # for JAX, or a name ending in .pth for PyTorch
hrnet export {file} network.onnx                # for ONNX Runtime and others
python eval.py --checkpoint {file} --out DIR --config CONFIG --config.image_size="({height},{width})"
```"""


def _training(trained: Trained) -> str:
    starts = manifest.read(trained.run) if trained.run else []
    if not starts:
        source = os.path.basename(trained.source)
        return f"## Training\n\nNot known: exported from `{source}`. Fill in data, schedule and initial weights."
    config = configuration.flatten(starts[0]["config"])
    rows = [
        f"| `{name}` | {config[name]} |"
        for name in dict.fromkeys([*_TRAINING, *_changed(config)])
        if name in config
    ]
    lines = [f"- {text}" for text in _facts(starts, config)]
    return "\n".join(["## Training", "", *lines, "", "| field | value |", "|---|---|", *rows])


def _changed(config: Mapping[str, Any]) -> list[str]:
    """Returns the fields that differ from the default and matter to the result."""
    known = configuration.fields_of_file(config)
    defaults = configuration.with_defaults({}, known)
    changed = [name for name in sorted(config) if name in known and config[name] != defaults[name]]
    return [name for name in changed if name not in _PRIVATE and not known[name].resumable]


def _facts(starts: list[dict[str, Any]], config: Mapping[str, Any]) -> Iterator[str]:
    """Yields sentences on data and machines of a run."""
    first = starts[0]
    yield f"Data: split `{config.get('data.train_split')}`, evaluated on `{config.get('data.val_split')}`"
    for name, digest in first["data"].items():
        yield f"Digest of {name}: `{digest}`"
    if initial := config.get("init_from"):
        yield f"Initial weights: `{os.path.basename(os.fspath(initial))}`"
    if devices := first.get("devices"):
        yield f"Devices: {devices['count']} x {devices['kind']}, {devices['processes']} processes"
    if time := first.get("time"):
        yield f"Started {time}, {len(starts)} start{'s' * (len(starts) > 1)}"
    if commit := first.get("code", {}).get("commit"):
        yield f"Code: commit `{commit}`"
    yield f"Exported by hrnet_jax {hrnet_jax.__version__}"


def _metrics(trained: Trained, file: str) -> str:
    """Returns the table of metrics. Each column names the split and the source of the boxes."""
    path = trained.run / "eval" / "metrics.json" if trained.run else None
    if path is None or not path.is_file():
        return "## Metrics\n\nNot measured. Evaluate with `python eval.py`, and export again."
    if not trained.as_evaluated:
        return (
            "## Metrics\n\nNot measured: the run was evaluated with other weights or settings than those exported."
            f" Evaluate with `python eval.py --checkpoint {shlex.quote(file)}`, and fill in."
        )
    content = validation.read_json(pathlib.Path(path))
    metrics = {name: content[name] for name in content if _METRIC.fullmatch(name) and content[name] >= 0}
    columns = list(dict.fromkeys("/".join(name.split("/")[:2]) for name in metrics))
    rows = list(dict.fromkeys(name.split("/", 2)[2] for name in metrics))
    cells = [[metrics.get(f"{column}/{row}") for column in columns] for row in rows]
    text = [[f"{cell:.3f}" if cell is not None else "-" for cell in line] for line in cells]
    lines = [f"| {row} | {' | '.join(line)} |" for row, line in zip(rows, text, strict=True)]
    head = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    note = (
        "Columns are SPLIT/BOXES: `gt_boxes` are the annotated boxes, `detector_boxes` those of a person detector,"
        " as papers report them. The former are two to three points better; compare like with like."
    )
    return "\n".join(["## Metrics", "", note, "", *head, *lines])


def _end() -> str:
    return f"""## Licence

Fill in the licence of these weights. Mind the licences of the photos, annotations and initial weights.

## Citation

```
{_CITATION}
```"""


def write(trained: Trained, path: pathlib.Path) -> bool:
    """Writes ``README.md`` beside a file. Returns False, and writes nothing, if there is one already."""
    card = path.with_name("README.md")
    if os.path.lexists(card):
        return False
    with state_dict.write_atomically(card) as partial:
        partial.write_text(render(trained, path.name), encoding="utf-8")
    return True
