"""Renders a made-up person by intersecting the viewing ray of each pixel with the cones of the body.

Solids give correct occlusion and shading and patterns that wrap around the body. View space has x to the right, y
up and z to the viewer. Its unit is a pixel.
"""

import dataclasses

import cv2
import numpy as np

from hrnet_jax.datasets.made_up import bodies, outfits

BACKGROUND = np.float32(-1e8)  # depth of pixels beside the person
MISS = np.float32(-1e9)  # depth of a ray that misses a cone; rounding cannot lift it to `BACKGROUND`


@dataclasses.dataclass(frozen=True)
class Light:
    """Illumination of a person."""

    direction: np.ndarray  # [3] to the lamp in view space
    ambient: float  # 0..1
    noise: np.ndarray  # [n, n] tile in 0..1 for folds and weave


@dataclasses.dataclass(frozen=True)
class Picture:
    """A rendered person."""

    colour: np.ndarray  # [h, w, 3] float32 BGR in 0..1
    alpha: np.ndarray  # [h, w] float32 coverage
    depth: np.ndarray  # [h, w] float32 z of the nearest surface in pixels; `BACKGROUND` beside the person
    corner: tuple[int, int]  # (x, y) of the top left pixel in view space, y downwards


def _axes(parts: list[bodies.Part]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the axes [P, 3, 3] of parts as rows side, along and front, and their lengths [P]."""
    span = np.stack([part.end - part.start for part in parts])
    length = np.linalg.norm(span, axis=1)
    along = span / length[:, None]
    frames = np.stack([part.frame for part in parts])
    # Keep the frame's front, made orthogonal to the axis. If the axis points to the front, keep the side instead.
    forwards = np.abs((frames[:, :, 2] * along).sum(axis=1)) > 0.7
    kept = np.where(forwards[:, None], frames[:, :, 0], frames[:, :, 2])
    kept = kept - (kept * along).sum(axis=1, keepdims=True) * along
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    side = np.where(forwards[:, None], kept, np.cross(along, kept))
    front = np.where(forwards[:, None], np.cross(kept, along), kept)
    return np.stack([side, along, front], axis=1), length


def _intersect(
    axes: np.ndarray, radii: tuple[float, float], x: np.ndarray, y: np.ndarray, flat: bool
) -> np.ndarray:
    """Returns the depth [h, w] of each viewing ray's hit on a cone of length 1, or `MISS`.

    The formulas are those of a ray and the convex hull of two balls, for a direction that is not of unit length.
    `axes` [3, 3] lead from view space to the space of the cone, which starts at the origin with a round section.
    Rays are at columns `x` [1, w] and rows `y` [h, 1].
    """
    (ax, bx, dx), (ay, by, dy), (az, bz, dz) = axes.tolist()
    ox, oy, oz = ax * x + bx * y, ay * x + by * y, az * x + bz * y
    first, second = radii
    step = first - second
    dd = dx * dx + dy * dy + dz * dz
    od = dx * ox + dy * oy + dz * oz
    oo = ox * ox + oy * oy + oz * oz

    def ball(od: np.ndarray, oo: np.ndarray, radius: float) -> np.ndarray:
        inside = od * od - dd * (oo - radius * radius)
        return np.where(inside > 0, np.sqrt(np.maximum(inside, 0)) - od, MISS * dd) * (1 / dd)

    depth = ball(od, oo, first)
    if not flat:
        depth = np.maximum(depth, ball(od - dy, oo - 2 * oy + 1, second))
    slope = 1 - step * step
    if slope > 0:
        k2 = slope * dd - dy * dy
        k1 = slope * od - dy * oy + dy * step * first
        k0 = slope * oo - oy * oy + 2 * step * first * oy - first * first
        inside = k1 * k1 - k0 * k2
        side = (np.sqrt(np.maximum(inside, 0)) - k1) / (k2 if abs(k2) > 1e-6 else 1e-6)
        along = oy + side * dy - step * first
        hit = (inside > 0) & (along > 0) & (along < slope)
        depth = np.maximum(depth, np.where(hit, side, MISS))
    return depth


def _bounds(parts: list[bodies.Part]) -> np.ndarray:
    """Returns the range of pixels [P, 4] that each part can cover as left, top, right, bottom; y downwards."""
    reach = np.array([max(part.radii) * max(1.0, part.depth) for part in parts])[:, None]
    ends = np.array([[part.start[:2], part.end[:2]] for part in parts]) * [1, -1]
    low, high = np.floor(ends.min(axis=1) - reach), np.ceil(ends.max(axis=1) + reach) + 1
    return np.concatenate([low, high], axis=1).astype(int)


def cast(parts: list[bodies.Part], left: int, top: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders a rectangle: depth [h, w] float32 or `BACKGROUND`, and index of the part [h, w] int16 or -1."""
    depth = np.full((height, width), BACKGROUND, np.float32)
    owner = np.full((height, width), -1, np.int16)
    axes, lengths = _axes(parts)
    axes /= lengths[:, None, None]
    axes[:, 2] /= np.array([part.depth for part in parts])[:, None]
    bounds = np.clip(_bounds(parts) - [left, top, left, top], 0, [width, height, width, height])
    for number, (part, length, (x0, y0, x1, y1)) in enumerate(zip(parts, lengths, bounds.tolist(), strict=True)):
        x = np.arange(x0, x1, dtype=np.float32)[None] + np.float32(left - part.start[0])
        y = -np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(top + part.start[1])
        radii = part.radii[0] / length, part.radii[1] / length
        hit = _intersect(axes[number], radii, x, y, part.flat) + np.float32(part.start[2])
        nearer = hit > depth[y0:y1, x0:x1]
        np.copyto(depth[y0:y1, x0:x1], hit, where=nearer)
        np.copyto(owner[y0:y1, x0:x1], np.int16(number), where=nearer)
    return depth, owner


def surface(
    parts: list[bodies.Part], owner: np.ndarray, points: np.ndarray, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns local coordinates and unit normals, [N, 3], of points [N, 3] on the parts with indices `owner` [N].

    Coordinates are (side, along, front) in standing heights, `along` counted from the beginning of the garment.
    """
    axes, lengths = (array.astype(np.float32) for array in _axes(parts))
    start = np.array([part.start for part in parts], np.float32)
    rows = [[*part.radii, part.depth, part.offset] for part in parts]
    first, second, depths, offsets = np.array(rows, np.float32).T
    place = np.einsum("nij,nj->ni", axes[owner], points - start[owner])
    length, step = lengths[owner], (first - second)[owner]
    slope = np.maximum(length**2 - step**2, 1e-6)
    along = np.clip((length * place[:, 1] - first[owner] * step) / slope, 0, 1)
    normal = place.copy()
    normal[:, 1] -= along * length
    normal[:, 2] /= depths[owner] ** 2
    normal = np.einsum("nij,ni->nj", axes[owner], normal)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    place /= height
    place[:, 1] += offsets[owner]
    return place, normal


def paint(body: bodies.Body, outfit: outfits.Outfit, height: float, light: Light, samples: int = 1) -> Picture:
    """Renders a dressed body in view space into a picture just large enough for it.

    `height` is that of the standing person in pixels. Each pixel is the mean of ``samples**2`` samples.
    """
    bounds = _bounds(body.parts)
    left, top = (bounds[:, :2].min(axis=0) - 1).tolist()
    width, rows = (bounds[:, 2:].max(axis=0) + 1 - [left, top]).tolist()
    fine = dataclasses.replace(body, parts=[_enlarge(part, samples) for part in body.parts])
    corner = left * samples, top * samples
    depth, owner = cast(fine.parts, *corner, width * samples, rows * samples)
    layer = _shade(fine, owner, depth, corner, outfit, height * samples, light)
    if samples > 1:
        layer = cv2.resize(layer, (width, rows), interpolation=cv2.INTER_AREA)
        depth = depth.reshape(rows, samples, width, samples).max(axis=(1, 3))
        depth = np.where(depth > BACKGROUND, depth / samples, BACKGROUND)
    else:
        layer = cv2.GaussianBlur(layer, (3, 3), 0.6)
    alpha = layer[..., 3]
    colour = layer[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    return Picture(colour, alpha, depth, (left, top))


def _enlarge(part: bodies.Part, factor: int) -> bodies.Part:
    """Returns the part in smaller pixels, each sample in the middle of its share of the original pixel."""
    shift = (factor - 1) / 2 * np.array([1.0, -1.0, 0.0])
    radii = part.radii[0] * factor, part.radii[1] * factor
    return dataclasses.replace(part, start=part.start * factor + shift, end=part.end * factor + shift, radii=radii)


def _shade(body, owner, depth, corner, outfit, height, light) -> np.ndarray:
    """Returns [h, w, 4] float32: lit colours times coverage, then coverage."""
    rows, columns = np.nonzero(owner >= 0)
    z = depth[rows, columns]
    points = np.stack([columns + corner[0], -(rows + corner[1]), z], axis=1).astype(np.float32)
    hit = owner[rows, columns]
    place, normal = surface(body.parts, hit, points, height)
    albedo = outfits.colour(outfits.Surface(body, hit, place, points), outfit, height, light.noise)
    lit = 0.5 + 0.5 * normal @ light.direction.astype(np.float32)
    folds = outfits.lookup(light.noise, place[:, 0] * 5, place[:, 1] * 3)
    shade = light.ambient + (1 - light.ambient) * lit * lit
    shade *= (0.80 + 0.20 * normal[:, 2]) * (0.88 + 0.24 * folds) * _occlusion(depth, height)[rows, columns]
    layer = np.zeros((*owner.shape, 4), np.float32)
    layer[rows, columns, :3] = np.minimum(albedo * (1.15 * shade)[:, None], 1)
    layer[rows, columns, 3] = 1
    return layer


def _occlusion(depth: np.ndarray, height: float) -> np.ndarray:
    """Returns [h, w] factors that darken a surface just behind a nearer one, such as the chest behind an arm."""
    solid = np.where(depth == BACKGROUND, depth[depth > BACKGROUND].min(initial=0), depth)
    size = max(3, int(0.03 * height) | 1)
    ahead = (cv2.blur(solid, (size, size)) - solid) / (0.05 * height)
    return 1 - 0.4 * np.clip(ahead, 0, 1)
