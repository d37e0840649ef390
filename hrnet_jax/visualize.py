"""Pictures of people with skeletons, heatmaps and captions.

Pictures are ``[height, width, 3]`` uint8 RGB. Joints are ``(x, y)`` in pixels of the picture. Functions return new
arrays and leave their arguments unchanged.
"""

import colorsys
import itertools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from hrnet_jax.skeletons import Skeleton

Color = tuple[int, int, int]

LEFT: Color = (64, 196, 255)  # the person's left: blue
RIGHT: Color = (255, 148, 48)  # the person's right: orange
MIDDLE: Color = (120, 230, 120)
RING: Color = (255, 60, 200)  # around a joint to look at: magenta
OUTLINE: Color = (24, 24, 24)
PAPER: Color = (250, 250, 250)
MOST_PEOPLE = 6  # people in a training picture
ROW_HEIGHT = 256  # pixels; crops are enlarged to this before drawing

_GOLDEN = 0.618034  # of the circle of hues, from a track to the next: any few neighbours lie far apart
_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel
_MAX_COORDINATE = 1e4  # pixels; joints beyond are not drawn, because OpenCV's integers could overflow


def side_colors(skeleton: Skeleton) -> list[Color]:
    """Returns the colour of each joint: `LEFT` and `RIGHT` for mirror pairs, `MIDDLE` for others."""
    colors = [MIDDLE] * skeleton.num_joints
    for left, right in skeleton.flip_pairs:
        colors[left], colors[right] = LEFT, RIGHT
    return colors


def draw_person(
    picture: np.ndarray, joints: np.ndarray, skeleton: Skeleton, visible: np.ndarray | None = None
) -> np.ndarray:
    """Draws a person with outlined limbs, left and right in different colours; see `draw_people`.

    Joints ``[K, 2]`` with `visible` ``[K]`` not above 0, and their limbs, are not drawn.
    """
    flags = np.ones(len(joints)) if visible is None else np.asarray(visible)
    shown = np.where(flags[:, None] > 0, joints, np.nan)
    return draw_people(picture, shown[None], skeleton)


def draw_people(
    picture: np.ndarray,
    joints: np.ndarray,
    skeleton: Skeleton,
    certain: np.ndarray | None = None,
    colors: Sequence[Color] | None = None,
) -> np.ndarray:
    """Draws people with outlined limbs, left and right in different colours, the tallest first.

    Line width and joint size scale with the person and, for small people, with the picture. `joints`
    ``[N, K, 2]``, in pixels, may be outside the picture. Joints with NaN, and their limbs, are not drawn. Joints
    that are not `certain` ``[N, K]`` are drawn hollow, and their limbs as thin lines. Those on the person's right
    are squares, the others circles. With `colors`, each person has one.
    """
    picture = picture.copy()
    certain = np.ones(joints.shape[:2], bool) if certain is None else certain
    known = np.isfinite(joints[..., 1])
    highest = joints[..., 1].max(axis=1, where=known, initial=-np.inf)
    heights = highest - joints[..., 1].min(axis=1, where=known, initial=np.inf)
    for i in np.argsort(heights, kind="stable")[::-1]:
        _draw_person(picture, joints[i], skeleton, certain[i], None if colors is None else colors[i])
    return picture


def _draw_person(
    picture: np.ndarray, joints: np.ndarray, skeleton: Skeleton, certain: np.ndarray, one: Color | None
) -> None:
    """Draws a person into a picture, in one colour or in those of the sides."""
    drawn = np.all(np.abs(joints) < _MAX_COORDINATE, axis=-1)  # false for NaN
    colors = side_colors(skeleton)
    rows = enumerate(zip(joints, drawn, strict=True))
    points = {i: np.rint(joint * 2**_SUBPIXEL_BITS).astype(int).tolist() for i, (joint, ok) in rows if ok}
    width = _line_width(picture, joints[drawn])
    for border in (width + 2, 0):  # outlines first, so that they do not cross other limbs
        for a, b in skeleton.limbs:
            if a in points and b in points:
                sides = {colors[a], colors[b]} - {MIDDLE}
                color = OUTLINE if border else one or (sides.pop() if len(sides) == 1 else MIDDLE)
                thickness = width + border if certain[a] and certain[b] else max(1, width // 3) + min(border, 2)
                cv2.line(picture, points[a], points[b], color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        for i, point in points.items():
            radius = round((1.5 * width + border / 2) * 2**_SUBPIXEL_BITS)
            color = OUTLINE if border else one or colors[i]
            thickness = cv2.FILLED if certain[i] else max(1, width // 2) + min(border, 2)
            if colors[i] == RIGHT:
                low, high = ([side + reach for side in point] for reach in (-radius, radius))
                cv2.rectangle(picture, low, high, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
            else:
                cv2.circle(picture, point, radius, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _line_width(picture: np.ndarray, joints: np.ndarray) -> int:
    """Returns the width in pixels of a person's limbs.

    It is a hundredth of the person, but for small people at least a 400th of the picture, which is often looked at
    reduced, unless the limbs would then hide the person.
    """
    extent = np.ptp(joints, axis=0).max() if len(joints) else 0
    short = min(picture.shape[:2])
    return max(1, round(max(min(short, extent) / 100, min(short / 400, extent / 25))))


def track_color(track_id: int) -> Color:
    """Returns the colour of a track: bright, and different from those of neighbouring numbers."""
    hue, lightness = track_id * _GOLDEN % 1, 0.6 + 0.12 * (track_id // 3 % 2)
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, 0.9))
    return red, green, blue


def draw_tracks(
    picture: np.ndarray,
    joints: np.ndarray,
    skeleton: Skeleton,
    ids: Sequence[int],
    certain: np.ndarray | None = None,
) -> np.ndarray:
    """Draws people as `draw_people`, in the colours of their tracks, with the number of each above it."""
    colors = [track_color(track_id) for track_id in ids]
    picture = draw_people(picture, joints, skeleton, certain, colors)
    scale = max(0.4, min(picture.shape[:2]) / 900)
    for points, track_id, color in zip(joints, ids, colors, strict=True):
        points = points[np.all(np.abs(points) < _MAX_COORDINATE, axis=-1)]
        if len(points):
            x, y = points[:, 0].mean(), points[:, 1].min() - 6 * scale
            _draw_tag(picture, str(track_id), (float(x), float(y)), color, scale)
    return picture


def _draw_tag(picture: np.ndarray, text: str, bottom: tuple[float, float], color: Color, scale: float) -> None:
    """Draws a line of text on a box of a colour, above a point but within the picture."""
    font, margin = cv2.FONT_HERSHEY_SIMPLEX, round(4 * scale)
    (width, height), _ = cv2.getTextSize(text, font, scale, max(1, round(1.5 * scale)))
    sides = np.array([width, height]) + 2 * margin
    corner = np.array(bottom) - sides * [0.5, 1]
    low = np.clip(np.rint(corner), 0, np.maximum(picture.shape[1::-1] - sides, 0)).astype(int)
    cv2.rectangle(picture, low.tolist(), (low + sides).tolist(), color, cv2.FILLED)
    place = (low + np.array([margin, margin + height])).tolist()
    cv2.putText(picture, text, place, font, scale, OUTLINE, max(1, round(1.5 * scale)), cv2.LINE_AA)


def draw_trails(picture: np.ndarray, trails: Mapping[int, np.ndarray]) -> np.ndarray:
    """Draws the ways of tracks: points [T, 2] in pixels by track, lines that grow thinner towards the oldest."""
    picture, width = picture.copy(), max(1, round(min(picture.shape[:2]) / 150))
    for track_id, points in trails.items():
        points = points[np.all(np.abs(points) < _MAX_COORDINATE, axis=-1)]
        ends = np.rint(points * 2**_SUBPIXEL_BITS).astype(int).tolist()
        for i, (a, b) in enumerate(itertools.pairwise(ends), 1):
            thickness = max(1, round(width * i / len(ends)))
            cv2.line(picture, a, b, track_color(track_id), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    return picture


def draw_rings(picture: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Draws a ring around each of some joints ``[N, 2]`` in pixels. Joints with NaN are not drawn."""
    picture, radius = picture.copy(), max(6, min(picture.shape[:2]) // 28)
    for joint in joints[np.all(np.abs(joints) < _MAX_COORDINATE, axis=-1)]:
        point = np.rint(joint * 2**_SUBPIXEL_BITS).astype(int).tolist()
        for color, width in ((OUTLINE, 4), (RING, 2)):
            cv2.circle(picture, point, radius << _SUBPIXEL_BITS, color, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    return picture


def draw_heatmap(picture: np.ndarray, heatmaps: np.ndarray, stride: float) -> np.ndarray:
    """Overlays the maximum over heatmaps ``[h, w, K]`` on a darkened picture.

    Values up to 0 are transparent, values from 1 have the brightest colour. `stride` is in picture pixels per
    heatmap pixel. Both have pixel (0, 0) at the same position.
    """
    height, width = picture.shape[:2]
    highest = np.clip(np.asarray(heatmaps, np.float32).max(axis=-1), 0, 1)
    to_heatmap = np.array([[1 / stride, 0, 0], [0, 1 / stride, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    highest = cv2.warpAffine(highest, to_heatmap, (width, height), flags=flags)
    glow = cv2.applyColorMap((highest * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = np.sqrt(highest)[..., None]  # emphasises low values
    return (0.6 * picture * (1 - opacity) + glow * opacity).astype(np.uint8)


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Adds a strip with a line of ASCII text above a picture. Long text is shrunk down to a legible size."""
    font, height, margin = cv2.FONT_HERSHEY_SIMPLEX, 22, 6
    (text_width, _), _ = cv2.getTextSize(text, font, 1.0, 1)
    size = np.clip((picture.shape[1] - 2 * margin) / max(text_width, 1), 0.3, 0.5)
    strip = np.full((height, picture.shape[1], 3), PAPER, np.uint8)
    cv2.putText(strip, text, (margin, height - 7), font, size, OUTLINE, 1, cv2.LINE_AA)
    return np.vstack([strip, picture])


def grid(pictures: Sequence[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Arranges pictures in rows of equal cells, `gap` pixels apart. Raises ValueError if there are none."""
    if not pictures or columns < 1:
        raise ValueError(f"`grid` needs at least one picture (={len(pictures)}) and one column (={columns})")
    height = max(picture.shape[0] for picture in pictures) + gap
    width = max(picture.shape[1] for picture in pictures) + gap
    columns = min(columns, len(pictures))
    sheet = np.full((-(-len(pictures) // columns) * height + gap, columns * width + gap, 3), PAPER, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * height, gap + i % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def enlarge(picture: np.ndarray, joints: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Resizes a picture and its joints by a factor. Corners of the picture, not pixel centres, are aligned."""
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    bigger = cv2.resize(picture, (width, height), interpolation=method)
    return bigger, (np.asarray(joints) + 0.5) * factor - 0.5


def encode_jpeg(picture: np.ndarray, quality: int = 90) -> bytes:
    """Encodes a picture as JPEG of a quality from 0 to 100."""
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def training_picture(
    images: np.ndarray,
    joints: np.ndarray,
    visible: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    heatmaps: np.ndarray,
    targets: np.ndarray,
    skeleton: Skeleton,
) -> np.ndarray:
    """Shows joints and heatmaps, predicted and ground truth, of up to `MOST_PEOPLE` people, one per row.

    Args:
      images: ``[B, H, W, 3]`` uint8 RGB crops.
      joints: ``[B, K, 2]`` ground truth in crop pixels.
      visible: ``[B, K]``, above 0 for labelled joints.
      predicted: ``[B, K, 2]`` in crop pixels.
      scores: ``[B, K]`` of the predicted joints.
      heatmaps: ``[B, h, w, K]`` predictions.
      targets: ``[B, h, w, K]``.
      skeleton: limbs and sides.
    """
    rows = []
    for i in range(min(len(images), MOST_PEOPLE)):
        factor = max(1.0, ROW_HEIGHT / images.shape[1])
        stride = factor * images.shape[1] / heatmaps.shape[1]
        crop, true_joints = enlarge(images[i], joints[i], factor)
        _, predicted_joints = enlarge(images[i], predicted[i], factor)
        rows += [
            caption(draw_person(crop, true_joints, skeleton, visible[i]), "truth"),
            caption(draw_person(crop, predicted_joints, skeleton), f"predicted, score {scores[i].mean():.2f}"),
            caption(draw_heatmap(crop, heatmaps[i], stride), f"heatmaps, highest {heatmaps[i].max():.2f}"),
            caption(draw_heatmap(crop, targets[i], stride), "target heatmaps"),
        ]
    return grid(rows, columns=4)
