"""Measurement of a network in PyTorch, the counterpart of `jax_runner`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from ml_collections import ConfigDict

from hrnet_jax import losses, models
from hrnet_jax.compare import jax_runner
from hrnet_jax.compare.measured import HEATMAPS, Arrays, Measurement
from hrnet_jax.compare.problem import Setup
from hrnet_jax.models import layers, torch_models
from hrnet_jax.torch_interop import loading

LOSSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mse": torch.Tensor.mean,
    "ohkm": lambda errors: errors.topk(min(losses.HARDEST_JOINTS, errors.shape[1]), dim=1).values.mean(),
}
"""The losses that have a counterpart, as functions of the squared errors ``[B, K]``."""

OPTIMIZERS: dict[str, Callable[[ConfigDict, Any], torch.optim.Optimizer]] = {
    "adam": lambda config, parameters: torch.optim.Adam(parameters, **_rates(config)),
    "adamw": lambda config, parameters: torch.optim.AdamW(parameters, **_rates(config)),
    "sgd": lambda config, parameters: torch.optim.SGD(
        parameters, momentum=config.momentum, nesterov=config.nesterov, **_rates(config)
    ),
    "rmsprop": lambda config, parameters: torch.optim.RMSprop(
        parameters, momentum=config.momentum, **_rates(config)
    ),
}
"""The optimizers that have a counterpart."""

_WITH_PARAMETERS = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.BatchNorm2d)


def measure(setup: Setup, precision: str, steps: int) -> Measurement:
    """Measures the PyTorch network with a number of training steps on the batch.

    `precision` is "float64", "float32", or "bfloat16" for automatic mixed precision over float32. Raises
    ValueError if the network, or the loss or optimizer of its steps, has no counterpart.
    """
    for name, known in (("loss", LOSSES), ("optimizer", OPTIMIZERS)):
        if steps and setup.config[name] not in known:
            raise ValueError(
                f"`{name}` (={setup.config[name]!r}) has no counterpart in PyTorch: give --steps 0 to compare"
                f" layers only, or one of {', '.join(known)}"
            )
    trained = _train(setup, precision, steps)  # first: it needs most memory and keeps least
    evaluation, training = (_outputs(setup, precision, train) for train in (False, True))
    return Measurement(evaluation, training, *trained, inputs=functools.partial(_inputs, setup))


def _rates(config: ConfigDict) -> dict[str, Any]:
    return {"lr": config.learning_rate, "weight_decay": config.weight_decay}


def _network(setup: Setup, precision: str, train: bool) -> torch.nn.Module:
    """Returns the network in evaluation or training mode. Frozen batch normalisation stays in evaluation mode."""
    net = models.build_torch(setup.config).to(torch.float64 if precision == "float64" else torch.float32)
    weights = {name: _tensor(array, precision) for name, array in loading.to_pytorch(setup.variables).items()}
    net.load_state_dict(net.state_dict() | weights)
    net.train(train)
    if setup.config.model.norm_frozen:
        for module in net.modules():
            module.train(train and not isinstance(module, torch.nn.BatchNorm2d))
    return net


def _tensor(array: np.ndarray, precision: str) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float64 if precision == "float64" else np.float32, order="C"))


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()


def _outputs(setup: Setup, precision: str, train: bool) -> Arrays:
    """Returns the outputs of all modules that our network has too."""
    found, wanted = {}, jax_runner.kinds(setup)

    def record(name: str, _module: torch.nn.Module, _args: tuple, result: Any) -> None:
        name = name or HEATMAPS
        if name in wanted and isinstance(result, list | tuple):
            found.update({f"{name}[{i}]": _array(branch) for i, branch in enumerate(result)})
        elif name in wanted:
            found[name] = _array(result)

    _run(setup, precision, train, record)
    return found


def _inputs(setup: Setup) -> Mapping[str, Arrays]:
    """Returns the float64 inputs of all modules with parameters, by mode and name."""
    found: dict[str, dict[str, np.ndarray]] = {"evaluation": {}, "training": {}}

    def record(inputs: dict, name: str, module: torch.nn.Module, args: tuple, _: Any) -> None:
        if isinstance(module, _WITH_PARAMETERS):
            inputs[name] = _array(args[0])

    for mode, inputs in found.items():
        _run(setup, "float64", mode == "training", functools.partial(record, inputs))
    return found


def _run(setup: Setup, precision: str, train: bool, record: Callable[..., None]) -> None:
    """Runs the network forward and calls `record` with name, module, arguments and result of each module."""
    net = _network(setup, precision, train)
    for name, module in net.named_modules():
        module.register_forward_hook(functools.partial(record, name))
    with torch.no_grad(), _autocast(precision):
        net(_image(setup, precision))


def _image(setup: Setup, precision: str) -> torch.Tensor:
    return _tensor(setup.batch.image.transpose(0, 3, 1, 2), precision)


def _loss(setup: Setup, predictions: Sequence[torch.Tensor], precision: str) -> torch.Tensor:
    """Returns the configuration's loss (see `losses`), the sum over all heatmaps ``[B, K, h, w]``."""
    each = (layers.for_each(predictions, x) for x in (setup.batch.targets, setup.batch.weights))
    losses_of_each = [_mean_loss(setup, *compared, precision) for compared in zip(predictions, *each, strict=True)]
    return torch.stack(losses_of_each).sum()


def _mean_loss(
    setup: Setup, heatmaps: torch.Tensor, targets: np.ndarray, weights: np.ndarray, precision: str
) -> torch.Tensor:
    of_joints = (targets.transpose(0, 3, 1, 2), weights[:, :, None, None])
    targets, weights = (_tensor(array, precision) for array in of_joints)
    return LOSSES[setup.config.loss](
        0.5 * ((heatmaps.to(targets.dtype) - targets) * weights).square().mean((2, 3))
    )


def _train(setup: Setup, precision: str, steps: int) -> tuple[Arrays, list[float], list[Arrays]]:
    """Returns the gradients before the first step, the loss before each step and the state after each."""
    net = _network(setup, precision, train=True)
    optimizer = OPTIMIZERS[setup.config.optimizer](setup.config, net.parameters())
    image, first, values, states = _image(setup, precision), {}, [], []
    for _ in range(steps):
        with _autocast(precision):
            predictions = torch_models.predictions(net)(image)
        loss = _loss(setup, predictions, precision)
        optimizer.zero_grad()
        loss.backward()
        first = first or {name: _array(p.grad) for name, p in net.named_parameters() if p.grad is not None}
        if setup.config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), setup.config.gradient_clip)
        optimizer.step()
        values.append(loss.item())
        states.append({name: _array(t) for name, t in net.state_dict().items() if t.is_floating_point()})
    return first, values, states
