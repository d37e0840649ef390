"""Speed of a training step and of a prediction, against the PyTorch model on the same device.

Our training step also normalises the pixels and draws the targets. PyTorch's gets normalised images and finished
targets.
"""

import contextlib
import dataclasses
import importlib.util
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import skeletons
from hrnet_jax.benchmark import plain, race, workload
from hrnet_jax.models import layers
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
"""Names of contenders by the mode of ``torch.compile``."""


@contextlib.contextmanager
def pytorch_contenders(
    config: ConfigDict, *, train: bool, modes: Collection[str]
) -> Iterator[dict[str, Callable[[], int]]]:
    """Yields the PyTorch contenders by name, on a GPU if torch finds one.

    They use mixed precision if the configuration has bfloat16. All but `LOOPS` predict heatmaps of image and
    mirror image only. `LOOPS` also flips them back, averages and decodes on the host, like the original.

    Args:
      config: describes the network and the batch.
      train: contenders take training steps. Otherwise they predict.
      modes: of ``torch.compile``, one contender each; see `MODES`. Compiling them takes minutes.

    Raises:
      ImportError: torch is not installed.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.backends.cudnn.benchmark = True
    variants = {EAGER: (torch.contiguous_format, None), CHANNELS_LAST: (torch.channels_last, None)}
    variants |= {MODES[mode]: (torch.channels_last, mode) for mode in modes}
    try:
        contenders = {name: _contender(config, train, layout, mode) for name, (layout, mode) in variants.items()}
        yield contenders if train else contenders | {LOOPS: _original_prediction(config)}
    finally:
        torch._dynamo.reset()


def _place(config: ConfigDict, layout: Any) -> tuple[Any, list[Any], Any]:
    """Returns the network, its inputs (image, targets, weights) and the autocast context, on PyTorch's device."""
    import torch  # pyright: ignore[reportMissingImports]

    from hrnet_jax.torch_interop import torch_models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = torch_models.build(config).to(device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    image, targets, weights = (torch.from_numpy(array).to(device) for array in _inputs(config))
    autocast = torch.autocast(device, torch.bfloat16, enabled=config.model.dtype == "bfloat16")
    return net, [image.to(memory_format=layout), targets, weights], autocast


def _inputs(config: ConfigDict) -> list[np.ndarray]:
    """Returns normalised images, targets and weights, channels first."""
    batch = workload.made_up_batch(config, config.batch_size)
    image = layers.normalize(jax.numpy.asarray(batch["image"]))
    joints, visible = (jax.numpy.asarray(batch[name]) for name in ("joints", "visible"))
    targets, weights = top_down.make_target_fn(config)(joints, visible)
    return [np.array(np.asarray(x).transpose(0, 3, 1, 2)) for x in (image, targets)] + [np.array(weights)]


def _contender(config: ConfigDict, train: bool, layout: Any, mode: str | None) -> Callable[[], int]:
    import torch  # pyright: ignore[reportMissingImports]

    net, (image, targets, weights), autocast = _place(config, layout)
    net.train(train)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, fused=True)
    forward = torch.compile(net, mode=mode) if mode else net
    mark_step = torch.compiler.cudagraph_mark_step_begin if image.is_cuda else lambda: None

    def train_step() -> int:
        mark_step()
        with autocast:
            heatmaps = forward(image)
        errors = ((heatmaps.float() - targets) * weights[:, :, None, None]).square().mean()
        loss = 0.5 * errors
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device
        return config.batch_size

    def predict() -> int:
        mark_step()
        with torch.inference_mode(), autocast:
            heatmaps = forward(torch.cat([image, image.flip(3)]))
        heatmaps.sum().item()
        return config.batch_size

    return train_step if train else predict


def _original_prediction(config: ConfigDict) -> Callable[[], int]:
    """Returns the original's way of predicting: two forward passes, then a loop over joints on the host."""
    import torch  # pyright: ignore[reportMissingImports]

    net, (image, _, _), autocast = _place(config, torch.channels_last)
    net.eval()
    flip_order = skeletons.load(config.skeleton).flip_order
    heatmap_to_photo = workload.made_up_batch(config, config.batch_size)["crop"] * layers.STRIDE

    def forward(image: Any) -> np.ndarray:
        with torch.inference_mode(), autocast:
            return net(image).float().cpu().numpy()

    def predict() -> int:
        mirrored = forward(image.flip(3))[:, flip_order, :, ::-1].copy()
        mirrored[..., 1:] = mirrored[..., :-1].copy()
        plain.decode((forward(image) + mirrored) / 2, heatmap_to_photo)
        return config.batch_size

    return predict


def measure(
    config: ConfigDict,
    rounds: int,
    ours: Callable[[], int] | None,
    *,
    train: bool,
    pytorch: bool,
    modes: Collection[str] = (),
) -> race.Race:
    """Runs a race of ours against PyTorch. The reference is PyTorch's fastest, or ours without PyTorch.

    Contenders that run out of device memory are left out.

    Args:
      config: describes network and batch; see `workload.with_batch_size`.
      rounds: number of rounds.
      ours: our contender, from `workload.train` or `workload.predict`, or None to leave it out.
      train: contenders take training steps. Otherwise they predict.
      pytorch: includes PyTorch if it is installed.
      modes: of ``torch.compile``, see `pytorch_contenders`.

    Raises:
      ValueError: there is no contender.
    """
    context = contextlib.nullcontext({})
    if pytorch and importlib.util.find_spec("torch"):
        context = pytorch_contenders(config, train=train, modes=modes)
    elif not ours:
        raise ValueError("PyTorch, the only chosen side, is not installed: pip install torch")
    with context as others:
        contenders = {race.OURS: ours, **others} if ours else others
        contenders = {name: contender for name, contender in contenders.items() if _fits(name, contender)}
        if not contenders:
            size = config.batch_size
            raise ValueError(f"nothing fits into the device's memory at batch {size}: take a smaller --batch")
        title = f"{workload.title(config)}, {'training step' if train else 'prediction with flip test'}"
        result = race.run(title, "people", contenders, reference=next(iter(contenders)), rounds=rounds)
    return dataclasses.replace(result, reference=race.fastest_reference(result.rates))


def _fits(name: str, contender: Callable[[], int]) -> bool:
    """Runs a contender once, including its compilation, and reports whether the device's memory sufficed."""
    try:
        contender()
    except RuntimeError as error:  # PyTorch and JAX mark these by their text only
        if not re.search(r"out of memory|RESOURCE_EXHAUSTED", str(error), re.IGNORECASE):
            raise
        print(f"  {name}: left out, it needs more memory than the device has", flush=True)
        return False
    return True
