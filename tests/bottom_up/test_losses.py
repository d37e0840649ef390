import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnet_jax import sharding
from hrnet_jax.bottom_up import losses, targets

PEOPLE, JOINTS = 5, 4


@pytest.fixture(scope="module")
def numbers(shared) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "conformance/higher_hrnet/losses.npz"))


def draw_reference(name: str, *shape: int) -> np.ndarray:
    return np.random.RandomState(zlib.crc32(f"hrnet/{name}".encode()) & 0xFFFFFFFF).standard_normal(shape)


def unpack(indices: np.ndarray, joints: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Turns the reference's flat indices ``[B, P, K, 2]`` of usable joints into pixels and what is usable."""
    pixel, usable = np.zeros((*indices.shape[:3], 2), np.int32), np.zeros(indices.shape[:3], bool)
    for photo, person, slot in np.argwhere(indices[..., 1] == 1):
        k, y, x = np.unravel_index(indices[photo, person, slot, 0], (joints, size, size))
        pixel[photo, person, k], usable[photo, person, k] = (x, y), True
    return pixel, usable


def of_maps(loss):
    """The loss of tag maps, with its gradient, for a batch."""

    def call(maps, pixel, usable):
        return loss(losses.gather_tags(maps, pixel), usable)

    return jax.jit(jax.vmap(jax.value_and_grad(call)))


@pytest.mark.parametrize("name", ["pull", "push_exp", "push_max"])
def test_tag_losses_and_gradients_are_the_originals(numbers, name):
    _, _, similarity = name.partition("_")
    loss = functools.partial(losses.push, similarity=similarity) if similarity else losses.pull
    indices, size = numbers["indices"], int(numbers["size"])
    photos, _, joints, _ = indices.shape
    tags = draw_reference("ae/tags", photos, joints, size, size).transpose(0, 2, 3, 1)
    with jax.enable_x64(True):
        found, gradient = of_maps(loss)(tags, *unpack(indices, joints, size))
    np.testing.assert_allclose(found, numbers[name], rtol=1e-12, atol=1e-15)
    gradient = np.asarray(gradient).transpose(0, 3, 1, 2).reshape(photos, -1)
    np.testing.assert_allclose(gradient, numbers[f"grad_{name}"], rtol=0, atol=1e-14)


def test_the_heatmap_loss_is_the_originals(numbers):
    expected, mask = numbers["heat/gt"].transpose(0, 2, 3, 1), numbers["heat/mask"].astype(bool)
    photos, size, _, joints = expected.shape
    heatmaps = 0.5 * draw_reference("ae/pred", photos, joints, size, size).transpose(0, 2, 3, 1)

    def mean(heatmaps):
        found = jax.vmap(losses.heatmap_loss)(heatmaps, expected.astype(np.float64), mask)
        return found.mean(), found

    with jax.enable_x64(True):
        gradient, found = jax.jit(jax.grad(mean, has_aux=True))(heatmaps)
    np.testing.assert_allclose(found, numbers["heat/loss"], rtol=1e-12)
    norms = np.sqrt(np.square(gradient).sum((1, 2, 3)))
    np.testing.assert_allclose(norms, numbers["heat/grad_norm"], rtol=1e-12)


def test_the_targets_of_the_heatmap_loss_are_the_originals(numbers):
    """Joints of the reference's first photos, rendered here."""
    joints, maps = numbers["heat/joints"], numbers["heat/gt"].transpose(0, 2, 3, 1)
    draw = jax.vmap(functools.partial(targets.render, heatmap_size=maps.shape[1:3]))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(jax.jit(draw)(joints[..., :2], joints[..., 2]), maps)


def expected_terms(tags: np.ndarray, usable: np.ndarray, similarity: str) -> tuple[float, float]:
    """Pull and push in loops over people."""
    people = [person[known] for person, known in zip(tags, usable, strict=True) if known.any()]
    means, count = [person.mean() for person in people], len(people)
    similar = {"exp": lambda d: np.exp(-(d**2)), "max": lambda d: max(0.0, 1 - abs(d))}[similarity]
    pull = sum(person.var() for person in people) / max(count, 1)
    total = sum(similar(means[n] - means[m]) for n in range(count) for m in range(count))
    return pull, 0.5 * (total - count) / (count * (count - 1)) if count > 1 else 0.0


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws tags of people and which of their joints are usable; some people have none."""
    rng = np.random.default_rng(seed)
    usable = rng.random((PEOPLE, JOINTS)) < rng.choice([0.0, 0.3, 0.9], (PEOPLE, 1))
    return rng.standard_normal((PEOPLE, JOINTS)).astype(np.float32), usable


@functools.partial(jax.jit, static_argnums=2)
def tag_losses(tags: jax.Array, usable: jax.Array, similarity: str) -> tuple[jax.Array, jax.Array]:
    return losses.pull(tags, usable), losses.push(tags, usable, similarity)


@pytest.mark.parametrize("similarity", losses.SIMILARITIES)
@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_tag_losses_follow_the_formulas(similarity, seed):
    tags, usable = draw(seed)
    found = tag_losses(tags, usable, similarity)
    np.testing.assert_allclose(found, expected_terms(tags, usable, similarity), rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_order_padding_and_unusable_joints_change_nothing(seed):
    rng = np.random.default_rng(seed)
    tags, usable = draw(seed)
    before = tag_losses(tags, usable, "exp")
    order = rng.permutation(PEOPLE)
    np.testing.assert_allclose(tag_losses(tags[order], usable[order], "exp"), before, rtol=1e-5, atol=1e-6)
    other = np.where(usable, tags, rng.choice([np.nan, np.inf, 1e30], tags.shape)).astype(np.float32)
    np.testing.assert_array_equal(tag_losses(other, usable, "exp"), before)
    padded = np.concatenate([tags, tags]), np.concatenate([usable, np.zeros_like(usable)])
    np.testing.assert_allclose(tag_losses(*padded, "exp"), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("similarity", losses.SIMILARITIES)
@pytest.mark.parametrize("present", [0, 1, 2])
def test_gradients_are_finite_with_few_people_and_equal_tags(present, similarity):
    usable = np.arange(PEOPLE)[:, None] < np.full((1, JOINTS), present)

    def both(tags):
        return sum(tag_losses(tags, usable, similarity))

    value, gradient = jax.jit(jax.value_and_grad(both))(np.ones((PEOPLE, JOINTS), np.float32))
    assert value == (0.5 if present == 2 else 0)
    np.testing.assert_array_equal(gradient, np.zeros((PEOPLE, JOINTS)))


def test_people_of_different_tags_are_pushed_apart_and_their_joints_together():
    tags, usable = np.array([[0.0, 0.4], [0.5, 0.9]], np.float32), np.ones((2, 2), bool)
    pull, push = (jax.grad(lambda x, i=i: tag_losses(x, usable, "exp")[i])(tags) for i in (0, 1))
    np.testing.assert_array_equal(np.sign(pull), [[-1, 1], [-1, 1]])
    np.testing.assert_array_equal(np.sign(push), [[1, 1], [-1, -1]])


def test_errors_outside_of_the_mask_count_as_zero():
    heatmaps, expected = np.full((4, 8, 3), 2.0, np.float32), np.zeros((4, 8, 3), np.float32)
    mask = np.arange(32).reshape(4, 8) < 8
    assert losses.heatmap_loss(heatmaps, expected, mask) == 4 * 8 / 32


def make_batch(
    seed: int, photos: int = 4, heads: int = 2, side: int = 8
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Draws outputs of a network at sides of `side` and its doubles, and a batch. The last photo is empty."""
    rng = np.random.default_rng(seed)
    sides = [side * 2**head for head in range(heads)]
    outputs = [
        rng.standard_normal((photos, x, x, JOINTS * (2 if x == side else 1))).astype(np.float32) for x in sides
    ]
    at = rng.uniform(-0.1, 1.1, (photos, 1, PEOPLE, JOINTS, 2))
    visible = (rng.random((photos, PEOPLE, JOINTS)) < 0.6).astype(np.float32)
    visible[-1] = 0
    batch = {
        "joints": (at * np.reshape(sides, (1, heads, 1, 1, 1))).astype(np.float32),
        "visible": visible,
    }
    masks = {f"mask_{i}": rng.integers(0, 256, (photos, x, x // 8), np.uint8) for i, x in enumerate(sides)}
    return outputs, batch | masks


@functools.partial(jax.jit, static_argnums=(2, 3))
def render(joints: jax.Array, visible: jax.Array, size: tuple[int, int], sigma: float) -> jax.Array:
    return targets.render(joints, visible, heatmap_size=size, sigma=sigma)


def expected_loss(outputs, batch, sigmas, similarity) -> dict[str, float]:
    """The terms, photo by photo."""
    terms = {}
    for head, output in enumerate(outputs):
        size, found = output.shape[1:3], []
        for photo, maps in enumerate(output):
            joints, visible = batch["joints"][photo, head], batch["visible"][photo]
            drawn = np.asarray(render(joints, visible, size, sigmas[head]))
            mask = np.unpackbits(batch[f"mask_{head}"][photo], axis=-1)
            heat = np.mean(mask[..., None] * (maps[..., :JOINTS] - drawn) ** 2)
            x, y = np.moveaxis(np.trunc(joints).astype(int), -1, 0)
            usable = (visible > 0) & (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
            at = np.where(usable, y, 0), np.where(usable, x, 0), JOINTS + np.arange(JOINTS)
            tags = maps[at] if head == 0 else np.zeros((PEOPLE, JOINTS))
            pull, push = expected_terms(tags, usable, similarity)
            found.append([heat, 0.001 * push, 0.001 * pull])
        terms |= dict(zip((f"heat_{head}", f"push_{head}", f"pull_{head}"), np.mean(found, 0), strict=True))
    return {name: term for name, term in terms.items() if name.startswith("heat") or name.endswith("0")}


def batch_loss(**options):
    return jax.jit(functools.partial(losses.batch_loss, **options))


@pytest.mark.parametrize(
    ("heads", "sigma", "similarity"), [(1, 2.0, "exp"), (2, 1.0, "max"), (2, None, "exp"), (3, 2.0, "exp")]
)
def test_the_loss_is_the_sum_of_its_terms(heads, sigma, similarity):
    outputs, batch = make_batch(heads, heads=heads)
    loss, terms = batch_loss(sigma=sigma, similarity=similarity)(outputs, batch)
    expected = expected_loss(outputs, batch, [sigma or 8 * 2**head / 64 for head in range(heads)], similarity)
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        np.testing.assert_allclose(term, expected[name], rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(loss, sum(terms.values()), rtol=1e-6)


def test_people_may_have_a_sigma_each():
    outputs, batch = make_batch(0)
    _, same = batch_loss()(outputs, batch)
    sigma = np.full(batch["visible"].shape[:2], targets.SIGMA, np.float32)
    call = jax.jit(lambda sigma: losses.batch_loss(outputs, batch, sigma=sigma)[1])
    assert call(sigma) == same
    sigma[0, 0] = 0.5
    found = call(sigma)
    assert found["heat_0"] != same["heat_0"] and found["heat_1"] != same["heat_1"]
    assert found["pull_0"] == same["pull_0"]


def test_outputs_in_half_precision_are_compared_in_float32():
    outputs, batch = make_batch(1)
    half = [jnp.asarray(output, jnp.bfloat16) for output in outputs]
    loss, terms = batch_loss()(half, batch)
    assert {term.dtype for term in (loss, *terms.values())} == {jnp.dtype(jnp.float32)}
    expected, _ = batch_loss()([output.astype(jnp.float32) for output in half], batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: losses.batch_loss(x, batch)[0]))(half)
    assert all(x.dtype == jnp.bfloat16 and np.isfinite(x.astype(np.float32)).all() for x in gradient)


def test_the_gradient_of_tags_is_at_usable_joints_only():
    outputs, batch = make_batch(2)
    gradient = jax.jit(jax.grad(lambda x: losses.batch_loss(x, batch)[0]))(outputs)[0][..., JOINTS:]
    for photo, maps in enumerate(np.asarray(gradient)):
        pixel, usable = targets.locate(batch["joints"][photo, 0], batch["visible"][photo], maps.shape[:2])
        x, y = np.moveaxis(np.asarray(pixel), -1, 0)
        reached = {(y[p, k], x[p, k], k) for p, k in np.argwhere(np.asarray(usable))}
        assert {tuple(place) for place in np.argwhere(maps)} <= reached


def test_a_batch_on_four_devices_is_not_gathered():
    outputs, batch = make_batch(3, photos=8)
    mesh = sharding.make_mesh()
    split = sharding.by_person(mesh)
    gradients = jax.jit(jax.value_and_grad(lambda x, y: losses.batch_loss(x, y)[0]), in_shardings=split)
    text = gradients.lower(outputs, batch).compile().as_text() or ""
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))
    loss, _ = batch_loss()(outputs, batch)
    np.testing.assert_allclose(gradients(outputs, batch)[0], loss, rtol=1e-6)


def test_outputs_that_do_not_fit_are_refused():
    outputs, batch = make_batch(0)
    with pytest.raises(ValueError, match=r"`outputs` \(of \[8\] channels\) must have \[8, 4\] for 4 joints"):
        losses.batch_loss(outputs[:1], batch)
    with pytest.raises(ValueError, match=r"`outputs` \(of \[4, 4\] channels\) must have \[8, 4\]"):
        losses.batch_loss([outputs[0][..., :4], outputs[1]], batch)
    with pytest.raises(ValueError, match=r"`similarity` \(='min'\) must be one of exp, max"):
        losses.batch_loss(outputs, batch, similarity="min")
