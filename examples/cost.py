"""Measure the examples' functions against PyTorch: ``python -m examples.cost --config configs/demo.py``.

Both sides have the same weights and people and compute the same numbers. PyTorch's images are channels last. The
ways to compute a thing take turns, after a turn of each that compiles and does not count. The table has medians in
seconds, and how many times as long as the first way each takes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from absl import flags
from ml_collections import ConfigDict, config_flags
from torch import func  # pyright: ignore[reportMissingImports]

from examples import attacks, curvature, ensemble, functions, per_person_gradients, saliency, soft_argmax, start
from hrnet_jax import console, models, training
from hrnet_jax.benchmark import race
from hrnet_jax.models import layers
from hrnet_jax.torch_interop import loading

MEMBERS = 4
RADIUS = 0.05  # of SAM
EPSILON, STEPS = 4.0, 10  # of PGD, in grey levels

Ways = Mapping[str, Callable[[], Any]]
"""Ways to compute one thing by name, ours first."""


class InJax:
    """An ensemble of networks, the functions of its first network, and people."""

    def __init__(self, config: ConfigDict, members: Sequence[Any], batch: training.Batch):
        """Takes the networks' variables."""
        self.members, self.params, self.batch = members, members[0]["params"], batch
        self.image = batch["image"].astype(jnp.float32)
        self.predict = functions.make_predict(models.build(config))
        self.errors = functions.make_loss(self.predict, members[0]["batch_stats"])

    def loss(self, params: Any) -> jax.Array:
        """Returns the mean loss of the people."""
        return self.errors(params, self.batch).mean()

    def image_loss(self, image: jax.Array) -> jax.Array:
        """Returns the summed loss of the people with other images."""
        return self.errors(self.params, {**self.batch, "image": image}).sum()


class InTorch:
    """The same in PyTorch. People are images ``[B, 3, H, W]`` from 0 to 255, target heatmaps and weights."""

    def __init__(self, config: ConfigDict, members: Sequence[Any], batch: training.Batch):
        """Takes the variables in our layout."""
        self.colors = [0, 1, 2] if config.model.colors == "RGB" else [2, 1, 0]
        self.nets = [self._network(config, variables) for variables in members]
        self.params = {name: p.detach() for name, p in self.nets[0].named_parameters()}
        height, width = (side // layers.STRIDE for side in config.image_size)
        targets, weights = functions.targets(batch, height, width)
        image = _tensor(np.moveaxis(np.asarray(batch["image"]), 3, 1)).to(memory_format=torch.channels_last)
        self.people = (image, _tensor(np.moveaxis(np.asarray(targets), 3, 1)), _tensor(weights))

    @staticmethod
    def _network(config: ConfigDict, variables: Any) -> Any:
        net = models.build_torch(config)
        net.load_state_dict({name: _tensor(x) for name, x in loading.to_pytorch(variables).items()}, strict=False)
        return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def predict(self, net: Any, params: Any, image: Any) -> Any:
        """Returns heatmaps ``[B, K, h, w]``."""
        mean, deviation = (_tensor(x)[None, :, None, None] for x in (layers.IMAGENET_MEAN, layers.IMAGENET_STD))
        return func.functional_call(net, params, ((image[:, self.colors] / 255 - mean) / deviation,))

    def errors(self, params: Any, image: Any, targets: Any, weights: Any) -> Any:
        """Returns the loss of each person, ``[B]``."""
        difference = (self.predict(self.nets[0], params, image) - targets) * weights[:, :, None, None]
        return 0.5 * difference.square().mean((1, 2, 3))

    def loss(self, params: Any) -> Any:
        """Returns the mean loss of the people."""
        return self.errors(params, *self.people).mean()

    def gradient(self, params: Any, *people: Any) -> dict[str, Any]:
        """Returns the gradient of the mean loss, by a backward pass."""
        leaves = _leaves(params)
        gradients = torch.autograd.grad(self.errors(leaves, *people).mean(), list(leaves.values()))
        return dict(zip(leaves, gradients, strict=True))

    def image_gradient(self, image: Any) -> Any:
        """Returns the gradient of the summed loss by pixels."""
        image = image.detach().requires_grad_(True)
        return torch.autograd.grad(self.errors(self.params, image, *self.people[1:]).sum(), image)[0]


def _tensor(array: Any) -> Any:
    return torch.from_numpy(np.array(array, np.float32))


def _leaves(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: p.detach().requires_grad_(True) for name, p in params.items()}


def gradients_of_each(ours: InJax, theirs: InTorch) -> Ways:
    """Returns ways to compute the gradient of each person."""
    every = jax.jit(per_person_gradients.per_person_gradients(ours.errors))
    one = jax.jit(jax.grad(lambda params, person: ours.errors(params, person).mean()))
    people = [{name: x[i : i + 1] for name, x in ours.batch.items()} for i in range(len(ours.image))]
    separate = list(zip(*(x.split(1) for x in theirs.people), strict=True))

    def of_one(params: Any, *person: Any) -> Any:
        return theirs.errors(params, *(x[None] for x in person))[0]

    vmapped = func.vmap(func.grad(of_one), in_dims=(None, 0, 0, 0))
    return {
        "vmap(grad)": lambda: every(ours.params, ours.batch),
        "JAX, loop of grad": lambda: [one(ours.params, person) for person in people],
        "PyTorch, loop of backward": lambda: [theirs.gradient(theirs.params, *person) for person in separate],
        "torch.func, vmap(grad)": lambda: vmapped(theirs.params, *theirs.people),
    }


def hessian_vector_products(ours: InJax, theirs: InTorch) -> Ways:
    """Returns ways to multiply the Hessian with the weights themselves."""
    product = jax.jit(lambda params: curvature.hessian_vector_product(ours.loss, params, params))

    def twice() -> dict[str, Any]:
        leaves = _leaves(theirs.params)
        gradients = torch.autograd.grad(theirs.loss(leaves), list(leaves.values()), create_graph=True)
        vector = [p.detach() for p in leaves.values()]
        return dict(zip(leaves, torch.autograd.grad(gradients, list(leaves.values()), vector), strict=True))

    return {
        "jvp of grad": lambda: product(ours.params),
        "PyTorch, backward twice": twice,
        "torch.func, jvp of grad": lambda: func.jvp(func.grad(theirs.loss), (theirs.params,), (theirs.params,))[1],
    }


def sharpness_aware_gradients(ours: InJax, theirs: InTorch) -> Ways:
    """Returns ways to compute the gradient of SAM."""

    def gradients(params: Any, batch_stats: Any, batch: training.Batch) -> tuple[Any, Any]:
        return jax.grad(ours.loss)(params), (batch_stats, {})

    aware = jax.jit(curvature.sharpness_aware(gradients, RADIUS))

    def two_passes() -> dict[str, Any]:
        first = theirs.gradient(theirs.params, *theirs.people)
        length = torch.stack([g.square().sum() for g in first.values()]).sum().sqrt()
        with torch.no_grad():
            worst = {name: p + RADIUS * first[name] / length for name, p in theirs.params.items()}
        return theirs.gradient(worst, *theirs.people)

    return {
        "sharpness_aware": lambda: aware(ours.params, {}, ours.batch)[0],
        "PyTorch, two backward passes": two_passes,
    }


def ensembles(ours: InJax, theirs: InTorch) -> Ways:
    """Returns ways to predict with several networks."""
    stacked = ensemble.stack(ours.members)
    every, one = jax.jit(ensemble.ensemble(ours.predict)), jax.jit(ours.predict)
    weights, statistics = func.stack_module_state(theirs.nets)
    image = theirs.people[0]
    vmapped = func.vmap(functools.partial(theirs.predict, theirs.nets[0]), in_dims=(0, None))
    return {
        "vmap": lambda: every(stacked, ours.image),
        "JAX, loop": lambda: [one(member, ours.image) for member in ours.members],
        "PyTorch, loop": lambda: [theirs.predict(net, {}, image) for net in theirs.nets],
        "torch.func, vmap": lambda: vmapped(weights | statistics, image),
    }


def jacobians(ours: InJax, theirs: InTorch) -> Ways:
    """Returns ways to compute the Jacobian of the joints by the pixels of the first person."""
    locate = saliency.make_locate(ours.predict, ours.members[0])
    jacobian = jax.jit(functools.partial(saliency.jacobian, locate))
    image = theirs.people[0][0]

    def find(image: Any) -> Any:
        heatmaps = theirs.predict(theirs.nets[0], {}, image[None])[0]
        weights = (soft_argmax.SHARPNESS * heatmaps.flatten(1)).softmax(1).view(heatmaps.shape)
        y, x = (torch.arange(side, dtype=image.dtype) for side in heatmaps.shape[1:])
        return layers.STRIDE * torch.stack([(weights.sum(1) * x).sum(1), (weights.sum(2) * y).sum(1)], 1)

    def loop() -> Any:
        leaf = image.detach().requires_grad_(True)
        rows = [torch.autograd.grad(x, leaf, retain_graph=True)[0] for x in find(leaf).flatten()]
        return torch.stack(rows)

    return {
        "jacrev": lambda: jacobian(ours.image[0]),
        "PyTorch, loop of backward": loop,
        "torch.func, jacrev": lambda: func.jacrev(find)(image),
    }


def descents(ours: InJax, theirs: InTorch) -> Ways:
    """Returns ways to attack the images with PGD."""
    step, loss, noise = EPSILON / 4, jax.jit(ours.image_loss), jnp.zeros_like(ours.image)

    @jax.jit
    def in_one_program(image: jax.Array) -> jax.Array:
        def ascend(_: Any, attacked: jax.Array) -> jax.Array:
            stepped = attacks.pgd(loss, attacked, noise, epsilon=EPSILON, step=step, steps=1)
            return jnp.clip(stepped, image - EPSILON, image + EPSILON)

        return jax.lax.fori_loop(0, STEPS, ascend, image)

    def loop() -> Any:
        image = theirs.people[0]
        low, high = (image - EPSILON).clamp(min=0), (image + EPSILON).clamp(max=255)
        for _ in range(STEPS):
            image = (image + step * theirs.image_gradient(image).sign()).clamp(low, high)
        return image

    return {
        "pgd": lambda: attacks.pgd(loss, ours.image, noise, epsilon=EPSILON, step=step, steps=STEPS),
        "JAX, fori_loop": lambda: in_one_program(ours.image),
        "PyTorch, loop of backward": loop,
    }


ROWS: dict[str, Callable[[InJax, InTorch], Ways]] = {
    "gradients of each person": gradients_of_each,
    "Hessian-vector product": hessian_vector_products,
    "SAM's gradient": sharpness_aware_gradients,
    f"ensemble of {MEMBERS}": ensembles,
    "Jacobian of one person": jacobians,
    f"PGD, {STEPS} steps": descents,
}


def prepare(config: ConfigDict, people: int) -> tuple[InJax, InTorch]:
    """Draws networks and people for both sides."""
    members = [start.random_variables(models.build(config), seed) for seed in range(MEMBERS)]
    batch = start.made_up_people(people, tuple(config.image_size))
    return InJax(config, members, batch), InTorch(config, members, batch)


def measure(title: str, ways: Ways, rounds: int) -> str:
    """Measures the ways and returns rows of a Markdown table."""

    def contender(compute: Callable[[], Any]) -> race.Contender:
        def turn() -> int:
            jax.block_until_ready(compute())
            return 1

        return turn

    contenders = {name: contender(compute) for name, compute in ways.items()}
    rates = race.run(title, "times", contenders, reference=next(iter(ways)), rounds=rounds).rates
    seconds = {name: 1 / np.array(values) for name, values in rates.items()}
    base = np.median(next(iter(seconds.values())))
    lines = []
    for name, values in seconds.items():
        low, median, high = np.percentile(values, (25, 50, 75))
        lines.append(f"| {title} | {name} | {median:.3g} s ({low:.3g} to {high:.3g}) | {median / base:.2f} |")
        title = ""
    return "\n".join(lines)


def main() -> None:
    """Measures all rows."""
    options = flags.FLAGS
    ours, theirs = prepare(options["config"].value, options.people)  # pyright: ignore[reportArgumentType]
    print("| | way | median (quartiles) | times the first |\n|---|---|---|---|")
    for title in options.rows:
        print(measure(title, ROWS[title](ours, theirs), options.rounds), flush=True)


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", "configs/coco.py:hrnet_w32_256x192", "The network.")
    flags.DEFINE_integer("people", 8, "Size of the batch.", lower_bound=1)
    flags.DEFINE_integer("rounds", 7, "Turns of each way.", lower_bound=1)
    flags.DEFINE_multi_enum("rows", list(ROWS), list(ROWS), "What to measure.")
    console.start(main)
