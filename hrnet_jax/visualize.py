"""Pictures of people: skeletons, heatmaps, captions, and sheets of them.

Everything here takes arrays and returns new ones; nothing is read, written or changed. Pictures are
``[height, width, 3]`` uint8 RGB; joints are ``(x, y)`` in the pixels of the picture they are drawn on.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from hrnet_jax.skeletons import Skeleton

Color = tuple[int, int, int]

LEFT: Color = (64, 196, 255)  # the person's left: blue
RIGHT: Color = (255, 148, 48)  # the person's right: orange
MIDDLE: Color = (120, 230, 120)
OUTLINE: Color = (24, 24, 24)
PAPER: Color = (250, 250, 250)
MOST_PEOPLE = 6  # people in a training picture
ROW_HEIGHT = 256  # pixels that crops are enlarged to before anything is drawn on them

_SUBPIXEL_BITS = 4  # OpenCV takes coordinates in sixteenths of a pixel
_FARTHEST = 1e4  # pixels; joints farther off than this are not drawn, OpenCV's integers end somewhere


def side_colors(skeleton: Skeleton) -> list[Color]:
    """Returns a colour for each joint: `LEFT`, `RIGHT` for a mirror pair's first and second, or `MIDDLE`."""
    colors = [MIDDLE] * skeleton.num_joints
    for left, right in skeleton.flip_pairs:
        colors[left], colors[right] = LEFT, RIGHT
    return colors


def _limb_color(color_a: Color, color_b: Color) -> Color:
    """A limb belongs to the side that its joints do not contradict."""
    sides = {color_a, color_b} - {MIDDLE}
    return sides.pop() if len(sides) == 1 else MIDDLE


def draw_person(
    picture: np.ndarray, joints: np.ndarray, skeleton: Skeleton, visible: np.ndarray | None = None
) -> np.ndarray:
    """Returns the picture with a person on it, left and right limbs in different colours, outlined.

    Lines and dots grow with the person, up to what suits the picture. Joints outside the picture are fine;
    those that are not numbers are left out, with their limbs.

    Args:
      picture: [height, width, 3] uint8 RGB.
      joints: [K, 2] in the picture's pixels.
      skeleton: which joints are connected, and which side they are on.
      visible: [K] joints above 0 are drawn. None: all.
    """
    picture = picture.copy()
    wanted = np.ones(len(joints)) if visible is None else np.asarray(visible)
    shown = (wanted > 0) & np.all(np.abs(joints) < _FARTHEST, axis=-1)  # which NaN is not, either
    points = [_fixed_point(joint) if ok else None for joint, ok in zip(joints, shown, strict=True)]
    colors = side_colors(skeleton)
    width = _line_width(picture, joints[shown])
    for border in (width + 2, 0):  # all outlines first, so that they do not cut through other limbs
        _draw_limbs(picture, points, skeleton, colors, width, border)
        _draw_dots(picture, points, colors, width, border)
    return picture


def _line_width(picture: np.ndarray, joints: np.ndarray) -> int:
    """A hundredth of the person or, if that is smaller, of the picture."""
    extent = np.ptp(joints, axis=0).max() if len(joints) else 0
    return max(1, round(min(*picture.shape[:2], extent) / 100))


def _fixed_point(joint: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(joint * 2**_SUBPIXEL_BITS).astype(int)
    return int(x), int(y)


def _draw_limbs(picture, points, skeleton, colors, width, border) -> None:
    for a, b in skeleton.limbs:
        if points[a] is not None and points[b] is not None:
            color = OUTLINE if border else _limb_color(colors[a], colors[b])
            cv2.line(picture, points[a], points[b], color, width + border, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_dots(picture, points, colors, width, border) -> None:
    radius = round((1.5 * width + border / 2) * 2**_SUBPIXEL_BITS)
    for point, color in zip(points, colors, strict=True):
        if point is not None:
            filled = OUTLINE if border else color
            cv2.circle(picture, point, radius, filled, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_heatmap(picture: np.ndarray, heatmaps: np.ndarray, stride: float) -> np.ndarray:
    """Returns the picture, darkened, with the highest of the heatmaps glowing over it at each place.

    Args:
      picture: [height, width, 3] uint8 RGB.
      heatmaps: [h, w, K]; 0 and below shows the picture, 1 and above the brightest colour.
      stride: picture pixels per heatmap pixel. Pixel (0, 0) of both lies at the same place.
    """
    height, width = picture.shape[:2]
    highest = np.clip(np.asarray(heatmaps, np.float32).max(axis=-1), 0, 1)
    to_heatmap = np.array([[1 / stride, 0, 0], [0, 1 / stride, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    highest = cv2.warpAffine(highest, to_heatmap, (width, height), flags=flags)
    glow = cv2.applyColorMap((highest * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = np.sqrt(highest)[..., None]  # low values are what one wants to see
    return (0.6 * picture * (1 - opacity) + glow * opacity).astype(np.uint8)


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Returns the picture under a light strip with a line of (ASCII) text, small enough to fit if it can."""
    font, height, margin = cv2.FONT_HERSHEY_SIMPLEX, 22, 6
    (full, _), _ = cv2.getTextSize(text, font, 1.0, 1)
    size = np.clip((picture.shape[1] - 2 * margin) / max(full, 1), 0.3, 0.5)  # smaller is not legible
    strip = np.full((height, picture.shape[1], 3), PAPER, np.uint8)
    cv2.putText(strip, text, (margin, height - 7), font, size, OUTLINE, 1, cv2.LINE_AA)
    return np.vstack([strip, picture])


def grid(pictures: Sequence[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Returns one picture of many, row by row, each in a cell as large as the largest.

    Raises:
      ValueError: there are no pictures, or `columns` is not positive.
    """
    if not pictures or columns < 1:
        raise ValueError(f"`grid` needs pictures (={len(pictures)}) and columns (={columns}), one at least")
    height = max(picture.shape[0] for picture in pictures) + gap
    width = max(picture.shape[1] for picture in pictures) + gap
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height + gap, columns * width + gap, 3), PAPER, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * height, gap + i % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def enlarge(picture: np.ndarray, joints: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture and its joints ``factor`` times as large, pixel centres staying pixel centres."""
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    bigger = cv2.resize(picture, (width, height), interpolation=method)
    return bigger, (np.asarray(joints) + 0.5) * factor - 0.5


def encode_jpeg(picture: np.ndarray) -> bytes:
    """Returns the content of a JPEG file of the picture."""
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return encoded.tobytes()


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
    """Returns a sheet of up to six people of a batch, a row each: truth and prediction, joints and heatmaps.

    Args:
      images: [B, H, W, 3] uint8 RGB crops.
      joints: [B, K, 2] true joints in crop pixels.
      visible: [B, K] above 0 where the truth is known.
      predicted: [B, K, 2] in crop pixels.
      scores: [B, K] heights of the predicted peaks.
      heatmaps: [B, h, w, K] predicted.
      targets: [B, h, w, K] the heatmaps asked for.
      skeleton: what the joints are.
    """
    rows = []
    for i in range(min(len(images), MOST_PEOPLE)):
        factor = max(1.0, ROW_HEIGHT / images.shape[1])
        stride = factor * images.shape[1] / heatmaps.shape[1]
        crop, true_joints = enlarge(images[i], joints[i], factor)
        _, found_joints = enlarge(images[i], predicted[i], factor)
        rows += [
            caption(draw_person(crop, true_joints, skeleton, visible[i]), "truth"),
            caption(draw_person(crop, found_joints, skeleton), f"predicted, score {scores[i].mean():.2f}"),
            caption(draw_heatmap(crop, heatmaps[i], stride), f"heatmaps, highest {heatmaps[i].max():.2f}"),
            caption(draw_heatmap(crop, targets[i], stride), "target heatmaps"),
        ]
    return grid(rows, columns=4)
