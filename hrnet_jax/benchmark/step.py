"""The speed of a training step and of a prediction, ours against the PyTorch twin, on the same device.

Ours does the whole step: normalises bytes, draws the targets, learns. The twin is handed normalised images and
drawn targets, and only learns.
"""

import contextlib
import dataclasses
import importlib.util
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from hrnet_jax import models, optimizer, sharding, skeletons, tasks, training
from hrnet_jax.benchmark import plain_evaluation, race
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import layers
from hrnet_jax.run import memory
from hrnet_jax.tasks import top_down

EAGER = "PyTorch, eager"
CHANNELS_LAST = "PyTorch, channels last"
COMPILED = "PyTorch, channels last, compiled"
LOOPS = "PyTorch, channels last, the original's decoding"
MODES = {
    "default": COMPILED,
    "reduce-overhead": f"{COMPILED}, as a CUDA graph",
    "max-autotune": f"{COMPILED}, autotuned",
}
"""What ``torch.compile`` has, and what such a contender is called here."""


def made_up_batch(config: ConfigDict, size: int) -> dict[str, np.ndarray]:
    """Draws a batch of noise with joints anywhere in the crop; see `pipeline`."""
    random, (height, width) = np.random.default_rng(0), config.image_size
    joints = random.uniform(0, 1, (size, skeletons.load(config.skeleton).num_joints, 2)) * (width, height)
    return {
        "image": random.integers(0, 256, (size, height, width, 3), np.uint8),
        "joints": joints.astype(np.float32),
        "visible": (random.random(joints.shape[:2]) < 0.8).astype(np.float32),
        "crop": np.tile(np.eye(2, 3, dtype=np.float32), (size, 1, 1)),
    }


def sized(config: ConfigDict, size: int) -> ConfigDict:
    """Returns the configuration with another batch size, worked through at once."""
    config = config.copy_and_resolve_references()
    config.batch_size, config.accumulation = size, 1
    sharding.check_batch_size("batch_size", size, 1, sharding.make_mesh())
    return config


def title(config: ConfigDict, batch: str = "") -> str:
    """Returns network, size, batch (the configuration's, if not said otherwise) and precision in words."""
    (height, width), batch = config.image_size, batch or f"batch {config.batch_size}"
    return f"{models.title(config.model)} {height}x{width}, {batch}, {config.model.dtype}"


def adam(config: ConfigDict) -> optax.GradientTransformation:
    """Returns Adam at the configuration's learning rate."""
    return optimizer.adam(lambda _: config.learning_rate, config.weight_decay)


def first_step(
    config: ConfigDict, batch: Mapping[str, np.ndarray]
) -> tuple[training.TrainState, dict[str, jax.Array]]:
    """Returns what the first training step takes, on the devices: a state, and what is read of a batch."""
    mesh = sharding.make_mesh()
    variables = training.init_variables(models.build(config), tuple(config.image_size), 0)
    state = sharding.place_state(training.init_state(variables, adam(config)), mesh, config.fsdp)
    return state, sharding.place_batch({name: batch[name] for name in tasks.build(config).inputs()}, mesh)


def ours_training(config: ConfigDict, step: training.CompiledStep) -> Callable[[], int]:
    """Returns what takes a compiled training step on a batch that is on the device, and waits for it."""
    first, batch = first_step(config, made_up_batch(config, config.batch_size))
    state, size = [first], config.batch_size

    def run() -> int:
        state[0], metrics = step(state[0], batch)
        jax.block_until_ready((state[0], metrics))
        return size

    return run


def ours_prediction(config: ConfigDict, size: int) -> Callable[[], int]:
    """Returns what predicts a batch that is on the device, flip test and decoding included, and waits for it."""
    model, mesh = models.build(config), sharding.make_mesh()
    variables = sharding.place_state(training.init_variables(model, tuple(config.image_size), 0), mesh)
    batch = sharding.place_batch(made_up_batch(config, size), mesh)
    step = evaluate.build_step(model, config)

    def run() -> int:
        jax.block_until_ready(step(variables, batch["image"], batch["crop"]))
        return size

    return run


@contextlib.contextmanager
def pytorch(
    config: ConfigDict, size: int, *, train: bool, modes: Collection[str]
) -> Iterator[dict[str, Callable[[], int]]]:
    """Gives the PyTorch contenders, by name: on a GPU if torch sees one, with mixed precision for bfloat16.

    Args:
      config: describes the network.
      size: of the batch.
      train: a training step; else a prediction: the network on image and mirror image. Only `LOOPS` turns the
        mirrored heatmaps back and decodes, as the original does it, on the host.
      modes: of ``torch.compile``, of which to have contenders, too; each takes minutes. See `MODES`.

    Raises:
      ImportError: torch is not installed.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.backends.cudnn.benchmark = True
    variants = {EAGER: (torch.contiguous_format, None), CHANNELS_LAST: (torch.channels_last, None)}
    variants |= {MODES[mode]: (torch.channels_last, mode) for mode in modes}
    try:
        contenders = {
            name: _contender(config, size, train, layout, mode) for name, (layout, mode) in variants.items()
        }
        yield contenders if train else contenders | {LOOPS: _as_the_original(config, size)}
    finally:
        torch._dynamo.reset()


def _placed(config: ConfigDict, size: int, layout: Any) -> tuple[Any, list[Any], Any]:
    """Returns the twin, image, targets and weights on PyTorch's device, and its mixed precision."""
    import torch  # pyright: ignore[reportMissingImports]

    from hrnet_jax.torch_interop import torch_models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = torch_models.build(config).to(device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    image, targets, weights = (tensor.to(device) for tensor in _tensors(config, size))
    mixed = torch.autocast(device, torch.bfloat16, enabled=config.model.dtype == "bfloat16")
    return net, [image.to(memory_format=layout), targets, weights], mixed


def _contender(config: ConfigDict, size: int, train: bool, layout: Any, mode: str | None) -> Callable[[], int]:
    import torch  # pyright: ignore[reportMissingImports]

    net, (image, targets, weights), mixed = _placed(config, size, layout)
    net.train(train)
    adam = torch.optim.Adam(net.parameters(), lr=config.learning_rate, fused=True)
    forward = torch.compile(net, mode=mode) if mode else net
    begin = torch.compiler.cudagraph_mark_step_begin if image.is_cuda else lambda: None

    def learn() -> int:
        begin()
        with mixed:
            heatmaps = forward(image)
        errors = ((heatmaps.float() - targets) * weights[:, :, None, None]).square().mean()
        loss = 0.5 * errors
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        loss.item()
        return size

    def predict() -> int:
        begin()
        with torch.inference_mode(), mixed:
            heatmaps = forward(torch.cat([image, image.flip(3)]))
        heatmaps.sum().item()
        return size

    return learn if train else predict


def _as_the_original(config: ConfigDict, size: int) -> Callable[[], int]:
    """Returns what predicts as the original does: two passes, the rest on the host, joint by joint."""
    import torch  # pyright: ignore[reportMissingImports]

    net, (image, _, _), mixed = _placed(config, size, torch.channels_last)
    net.eval()
    order = skeletons.load(config.skeleton).flip_order
    to_photo = made_up_batch(config, size)["crop"] * layers.STRIDE

    def heatmaps(image: Any) -> np.ndarray:
        with torch.inference_mode(), mixed:
            return net(image).float().cpu().numpy()

    def predict() -> int:
        mirrored = heatmaps(image.flip(3))[:, order, :, ::-1].copy()
        mirrored[..., 1:] = mirrored[..., :-1].copy()
        plain_evaluation.decoded((heatmaps(image) + mirrored) / 2, to_photo)
        return size

    return predict


def _tensors(config: ConfigDict, size: int) -> list[Any]:
    """Returns normalised images, targets and weights as PyTorch takes them."""
    import torch  # pyright: ignore[reportMissingImports]

    batch = made_up_batch(config, size)
    image = np.asarray(layers.normalize(jax.numpy.asarray(batch["image"]))).transpose(0, 3, 1, 2)
    targets, weights = top_down.make_target_fn(config)(
        *map(jax.numpy.asarray, (batch["joints"], batch["visible"]))
    )
    return [torch.from_numpy(np.array(x)) for x in (image, np.asarray(targets).transpose(0, 3, 1, 2), weights)]


def measure(
    config: ConfigDict,
    rounds: int,
    ours: Callable[[], int] | None,
    *,
    train: bool,
    theirs: bool,
    modes: Collection[str] = (),
) -> race.Race:
    """Lets ours and PyTorch take turns; the reference is PyTorch's fastest, or ours if PyTorch takes no part.

    Of several that PyTorch has, those that run out of the device's memory are left out.

    Args:
      config: describes network and batch, see `sized`.
      rounds: of each contender.
      ours: see `ours_training` and `ours_prediction`; None if ours takes no part.
      train: whether these are training steps; else they are predictions.
      theirs: whether PyTorch takes part, if it is installed.
      modes: of ``torch.compile``, see `pytorch`.

    Raises:
      ValueError: nobody takes part.
    """
    size, installed = config.batch_size, importlib.util.find_spec("torch") is not None
    if theirs and not installed and not ours:
        raise ValueError("PyTorch, the only side that is to take part, is not installed: pip install torch")
    entered = pytorch(config, size, train=train, modes=modes) if theirs and installed else None
    with entered or contextlib.nullcontext({}) as others:
        contenders = {race.OURS: ours, **others} if ours else others
        fitting = {name: contender for name, contender in contenders.items() if _fits(name, contender)}
        if not fitting:
            raise ValueError(f"nothing fits into the device's memory at batch {size}: take a smaller --batch")
        what = f"{title(config)}, {'training step' if train else 'prediction with flip test'}"
        found = race.run(what, "people", fitting, reference=next(iter(fitting)), rounds=rounds)
    return dataclasses.replace(found, reference=race.strongest(found.rates))


def _fits(name: str, contender: Callable[[], int]) -> bool:
    """Lets a contender take its first turn, which compiles it; says so if it runs out of memory."""
    try:
        contender()
    except RuntimeError as error:  # PyTorch's and JAX's, of which only the text tells
        if not re.search(r"out of memory|RESOURCE_EXHAUSTED", str(error), re.IGNORECASE):
            raise
        print(f"  {name}: left out, the device's memory does not suffice", flush=True)
        return False
    return True


def cost(step: training.CompiledStep) -> Mapping[str, float]:
    """Returns what the compiler says of a training step on each device.

    These are ``operations``, ``bytes`` moved, and ``memory`` needed (bytes).
    """
    analyses = [program.cost_analysis() or {} for program in step.programs]
    return {
        "operations": float(sum(analysis.get("flops", float("nan")) for analysis in analyses)),
        "bytes": float(sum(analysis.get("bytes accessed", float("nan")) for analysis in analyses)),
        "memory": float(memory.needed(step)),
    }
