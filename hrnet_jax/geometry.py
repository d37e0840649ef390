"""From a person's box to the crop that the network sees, and back.

Conventions: points are ``(x, y)``, pixel centres at whole numbers; boxes are ``(x, y, width, height)`` in
photo pixels; image sizes are ``(height, width)``. An affine map is a ``[2, 3]`` matrix named by its
direction: ``photo_to_crop`` takes photo pixels to crop pixels, ``invert(photo_to_crop)`` leads back, and
``photo_to_crop`` made for the heatmap's size takes photo pixels to heatmap pixels.

Follows the authors' arithmetic, float32 where theirs is, so that crops agree with theirs in every pixel: theirs
has centre and scale in float32 for COCO, in float64 for MPII.
"""

import cv2
import numpy as np

BOX_PADDING = 1.25  # how much larger than the box of a person the crop is
PIXELS_PER_SCALE = 200.0  # the unit of `scale`, MPII's habit which the original keeps everywhere


def box_to_center_scale(
    box: np.ndarray, aspect_ratio: float, precision: type[np.floating] = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Centre and padded size of the crop around a box, grown to the image's aspect ratio.

    Args:
      box: [4] x, y, width, height in photo pixels.
      aspect_ratio: width / height of the image.
      precision: float32 or float64.

    Returns:
      center [2] in photo pixels and scale [2], (width, height) / 200 photo pixels; both of that precision.
    """
    x, y, width, height = map(float, box)
    center = np.array([x + width * 0.5, y + height * 0.5], precision)
    return center, padded_scale(width, height, aspect_ratio, BOX_PADDING, precision)


def padded_scale(
    width: float,
    height: float,
    aspect_ratio: float,
    padding: float,
    precision: type[np.floating] = np.float32,
) -> np.ndarray:
    """[2] scale of an extent in photo pixels that is grown to `aspect_ratio`, then padded.

    An extent of nothing counts as one pixel; the original's crop matrix is all zeros then, with no inverse.
    """
    if width == height == 0:
        width = height = 1.0
    if width > aspect_ratio * height:
        height = width / aspect_ratio
    else:
        width = height * aspect_ratio
    return np.array([width / PIXELS_PER_SCALE, height / PIXELS_PER_SCALE], precision) * precision(padding)


def photo_to_crop(
    center: np.ndarray, scale: np.ndarray, rotation: float, image_size: tuple[int, int]
) -> np.ndarray:
    """The map that puts `center` in the middle of the crop and `scale`'s width on the crop's width.

    Args:
      center: [2] photo pixels, of either precision.
      scale: [2] size in photo pixels / 200, of either precision; only the width counts, pixels stay square.
      rotation: degrees; the photo turns counter-clockwise in the crop for positive ones.
      image_size: (height, width) of the crop, or of the heatmap.

    Returns:
      [2, 3] float64, found as the original finds it: from three corresponding points in float32.
    """
    height, width = image_size
    half = np.asarray(scale)[0] * PIXELS_PER_SCALE * -0.5  # in the scale's own precision
    angle = np.pi * rotation / 180
    up_in_photo = np.array([-half * np.sin(angle), half * np.cos(angle)], np.float64)
    source = _corner_points(np.asarray(center), up_in_photo)
    target = _corner_points(np.array([width * 0.5, height * 0.5], np.float32), np.array([0, width * -0.5]))
    return cv2.getAffineTransform(source, target)


def _corner_points(middle: np.ndarray, up: np.ndarray) -> np.ndarray:
    """[3, 2] float32: the middle, the point `up` from it, and the third corner of a square."""
    above, middle = (middle + up).astype(np.float32), middle.astype(np.float32)
    edge = middle - above
    return np.stack([middle, above, above + np.array([-edge[1], edge[0]], np.float32)])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps points [..., 2] by an affine matrix [2, 3]."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """[2, 3] the map in the other direction."""
    return cv2.invertAffineTransform(matrix)


def mirror(width: int) -> np.ndarray:
    """[2, 3] photo pixels -> pixels of the mirrored photo; the same map leads back."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[2, 3] the map that applies `first`, then `second`."""
    return np.hstack([second[:, :2] @ first[:, :2], apply(second, first[:, 2])[:, None]])


def clip_box(box: np.ndarray, width: int, height: int) -> np.ndarray | None:
    """Cuts a box off at the border of the photo, as the original does for ground truth.

    Args:
      box: [4] x, y, width, height in photo pixels.
      width: of the photo.
      height: of the photo.

    Returns:
      [4] float64 box between the centres of the outermost pixels it covers (one pixel less than the box is
      wide and high), or None if nothing is left.
    """
    x, y, box_width, box_height = map(float, box)
    left, top = max(0.0, x), max(0.0, y)
    right = min(width - 1.0, left + max(0.0, box_width - 1))
    bottom = min(height - 1.0, top + max(0.0, box_height - 1))
    if right < left or bottom < top:
        return None
    return np.array([left, top, right - left, bottom - top])


def warp(
    photo: np.ndarray, matrix: np.ndarray, image_size: tuple[int, int], *, mirrored: bool = False
) -> np.ndarray:
    """Cuts the crop out of the photo, bilinearly; black where it reaches over the border.

    Args:
      photo: [height, width, 3] uint8.
      matrix: [2, 3] photo_to_crop, of the mirrored photo if `mirrored`.
      image_size: (height, width) of the crop.
      mirrored: whether to mirror the photo first.

    Returns:
      [H, W, 3] uint8, equal to the original's in every pixel with OpenCV 3.4 to 4; 5 interpolates otherwise.
    """
    height, width = image_size
    photo = _mirrored(photo, matrix, image_size) if mirrored else photo
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR)


def _mirrored(photo: np.ndarray, matrix: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Returns the mirrored photo, of which only what the crop can touch is filled in.

    To cut that part out and to move the matrix would be simpler, but OpenCV's arithmetic is in float32: a pixel
    here and there would differ.
    """
    (left, right), (top, bottom) = _touched(invert(matrix), image_size, photo.shape[:2])
    turned = np.empty(photo.shape, np.uint8)
    if left < right and top < bottom:
        width = photo.shape[1]
        cv2.flip(photo[top:bottom, width - right : width - left], 1, dst=turned[top:bottom, left:right])
    return turned


def _touched(
    crop_to_photo: np.ndarray, image_size: tuple[int, int], photo_size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Returns the range of columns and of rows of the photo that the crop's pixels are made of."""
    edges = crop_to_photo[:, :2] * (np.array(image_size[::-1]) - 1)  # from the crop's first pixel to its others
    low = crop_to_photo[:, 2] + np.minimum(edges, 0).sum(axis=1)
    high = crop_to_photo[:, 2] + np.maximum(edges, 0).sum(axis=1)
    return [
        (max(0, int(least) - 2), min(size, int(most) + 3))
        for least, most, size in zip(low, high, photo_size[::-1], strict=True)
    ]
