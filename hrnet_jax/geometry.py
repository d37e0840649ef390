"""Geometry of crops: bounding boxes, affine maps between photo and crop, and image warping.

Points are ``(x, y)`` with pixel centres at integers. Boxes are ``(x, y, width, height)`` in photo pixels. Sizes
are ``(height, width)``. Affine maps are ``[2, 3]`` matrices named by their direction: ``photo_to_crop`` maps photo
pixels to crop pixels, or to heatmap pixels if computed for the heatmap's size.

Crops equal the original's in every pixel, because the arithmetic does, including its precision: centre and scale
are float32 for COCO and float64 for MPII.
"""

import cv2
import numpy as np

BOX_PADDING = 1.25  # size of the crop relative to the person's box
PIXELS_PER_SCALE = 200.0  # photo pixels per unit of `scale`, a convention of MPII


def box_to_center_scale(
    box: np.ndarray, aspect_ratio: float, precision: type[np.floating] = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the crop around a box ``[4]``, for an aspect ratio of width / height.

    Returns the ``[2]`` centre in photo pixels and the ``[2]`` scale: (width, height) in units of 200 photo pixels.
    """
    x, y, width, height = map(float, box)
    center = np.array([x + width * 0.5, y + height * 0.5], precision)
    return center, padded_scale(width, height, aspect_ratio, BOX_PADDING, precision)


def padded_scale(
    width: float, height: float, aspect_ratio: float, padding: float, precision: type[np.floating] = np.float32
) -> np.ndarray:
    """Enlarges an extent in photo pixels to an aspect ratio, pads it, and returns its ``[2]`` scale.

    An empty extent counts as one pixel. In the original, its crop matrix is all zeros and has no inverse.
    """
    if width == height == 0:
        width = height = 1.0
    wide = width > aspect_ratio * height
    width, height = (width, width / aspect_ratio) if wide else (height * aspect_ratio, height)
    return np.array([width / PIXELS_PER_SCALE, height / PIXELS_PER_SCALE], precision) * precision(padding)


def photo_to_crop(
    center: np.ndarray, scale: np.ndarray, rotation: float, image_size: tuple[int, int]
) -> np.ndarray:
    """Computes the map of `center` to the middle of the crop and of the scale's width to the crop's width.

    Args:
      center: ``[2]`` in photo pixels, float32 or float64.
      scale: ``[2]`` in units of 200 photo pixels, float32 or float64. Pixels stay square: only the width is used.
      rotation: degrees. Positive values turn the photo counter-clockwise in the crop.
      image_size: (height, width) of the crop or heatmap.

    Returns:
      ``[2, 3]`` float64, computed as in the original from three pairs of points in float32.
    """
    return cv2.getAffineTransform(*_three_points(center, scale, rotation, image_size))


def inverse_photo_to_crop(
    center: np.ndarray, scale: np.ndarray, rotation: float, image_size: tuple[int, int]
) -> np.ndarray:
    """Computes the inverse of `photo_to_crop` from the same pairs of points, as HigherHRNet's authors do.

    `invert` gives the same map up to rounding.
    """
    in_photo, in_crop = _three_points(center, scale, rotation, image_size)
    return cv2.getAffineTransform(in_crop, in_photo)


def crop_to_photo(
    center: np.ndarray, scale: np.ndarray, rotation: float, image_size: tuple[int, int]
) -> np.ndarray:
    """Computes the map of the crop's corner pixels to the corners of the box (UDP, Huang et al., CVPR 2020).

    Lengths are measured between the centres of pixels, so a crop of W pixels is W - 1 long. The scale's height
    counts as well as its width: pixels of a crop that is not square are not quite square in the photo.

    Arguments are those of `photo_to_crop`, but positive rotations turn the photo clockwise, as the authors' code
    does. Returns ``[2, 3]`` float64.
    """
    extent = np.asarray(scale) * PIXELS_PER_SCALE  # in the scale's own precision
    angle = np.pi * rotation / 180
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = turn * (extent / (np.array(image_size[::-1]) - 1.0))
    return np.hstack([linear, (center - turn @ extent / 2)[:, None]])


def _three_points(
    center: np.ndarray, scale: np.ndarray, rotation: float, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``[3, 2]`` float32 points of the photo and the points of the crop that they are mapped to."""
    height, width = image_size
    half = np.asarray(scale)[0] * PIXELS_PER_SCALE * -0.5  # in the scale's own precision
    angle = np.pi * rotation / 180
    up_in_photo = np.array([-half * np.sin(angle), half * np.cos(angle)], np.float64)
    in_photo = _corner_points(np.asarray(center), up_in_photo)
    in_crop = _corner_points(np.array([width * 0.5, height * 0.5], np.float32), np.array([0, width * -0.5]))
    return in_photo, in_crop


def _corner_points(middle: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Returns ``[3, 2]`` float32: the middle, the point at `up` from it, and the third corner of the square."""
    above, middle = (middle + up).astype(np.float32), middle.astype(np.float32)
    edge = middle - above
    return np.stack([middle, above, above + np.array([-edge[1], edge[0]], np.float32)])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps points ``[..., 2]`` by an affine matrix ``[2, 3]``."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """Returns the inverse map, ``[2, 3]``."""
    return cv2.invertAffineTransform(matrix)


def mirror(width: int) -> np.ndarray:
    """Returns the map from a photo of the given width to the mirrored photo, ``[2, 3]``; its own inverse."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the map ``[2, 3]`` that applies `first`, then `second`."""
    return np.hstack([second[:, :2] @ first[:, :2], apply(second, first[:, 2])[:, None]])


def clip_box(box: np.ndarray, width: int, height: int) -> np.ndarray | None:
    """Clips a box ``[4]`` to a photo of `width` and `height`, as the original does for ground truth.

    Returns a ``[4]`` float64 box, or None if it is empty. Its width and height are measured between the centres of
    the outermost pixels, so they are one pixel less than those of `box`.
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
    """Extracts a crop with bilinear interpolation. Pixels outside the photo are black.

    Equal to the original in every pixel with OpenCV 3.4 to 4. OpenCV 5 interpolates differently.

    Args:
      photo: ``[height, width, 3]`` uint8.
      matrix: ``[2, 3]`` map from the photo to the crop, or from the mirrored photo if `mirrored`.
      image_size: (height, width) of the crop.
      mirrored: whether to mirror the photo first.
    """
    photo = _mirrored(photo, matrix, image_size) if mirrored else photo
    return cv2.warpAffine(photo, matrix, image_size[::-1], flags=cv2.INTER_LINEAR)


def extract(
    photo: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    rotation: float,
    image_size: tuple[int, int],
    *,
    mirrored: bool = False,
    by_corners: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Extracts a crop by `photo_to_crop`, or by `crop_to_photo` if `by_corners`; see there for the arguments.

    Returns:
      The crop ``[H, W, 3]`` uint8, and the map ``[2, 3]`` float64 from the photo, mirrored if `mirrored`, to crop
      pixels.
    """
    if not by_corners:
        matrix = photo_to_crop(center, scale, rotation, image_size)
        return warp(photo, matrix, image_size, mirrored=mirrored), matrix
    to_photo = crop_to_photo(center, scale, rotation, image_size)
    matrix = invert(to_photo)
    photo = _mirrored(photo, matrix, image_size) if mirrored else photo
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # Pixels are sampled by a matrix of float32, as in the authors' code, and joints mapped by one of float64.
    return cv2.warpAffine(photo, to_photo.astype(np.float32), image_size[::-1], flags=flags), matrix


def crop(
    photo: np.ndarray,
    box: np.ndarray,
    image_size: tuple[int, int],
    precision: type[np.floating] = np.float32,
    *,
    scale_factor: float = 1.0,
    rotation: float = 0.0,
    by_corners: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Extracts the crop around a box: the pixels that `pipeline` gives the network in an evaluation.

    Args:
      photo: ``[height, width, 3]`` uint8.
      box: ``[4]`` x, y, width, height in photo pixels.
      image_size: (height, width) of the crop.
      precision: of centre and scale.
      scale_factor: of the size of the crop in the photo.
      rotation: degrees, see `photo_to_crop`.
      by_corners: see `extract`.

    Returns:
      The crop ``[H, W, 3]`` uint8, and the map ``[2, 3]`` float64 from photo to crop pixels.
    """
    height, width = image_size
    center, scale = box_to_center_scale(box, width / height, precision)
    scale = scale * scale.dtype.type(scale_factor)
    return extract(photo, center, scale, rotation, image_size, by_corners=by_corners)


def _mirrored(photo: np.ndarray, matrix: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Returns the mirrored photo, filled in only where the crop reads it.

    Mirroring a cut-out and shifting the matrix would be simpler, but would change single pixels: OpenCV computes
    in float32.
    """
    (left, right), (top, bottom) = _source_ranges(invert(matrix), image_size, photo.shape[:2])
    mirrored = np.empty(photo.shape, np.uint8)
    if left < right and top < bottom:
        width = photo.shape[1]
        cv2.flip(photo[top:bottom, width - right : width - left], 1, dst=mirrored[top:bottom, left:right])
    return mirrored


def _source_ranges(
    crop_to_photo: np.ndarray, image_size: tuple[int, int], photo_size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Returns the ranges of columns and rows of the photo that the crop is interpolated from."""
    edges = crop_to_photo[:, :2] * (np.array(image_size[::-1]) - 1)  # from the first pixel to the other corners
    low = crop_to_photo[:, 2] + np.minimum(edges, 0).sum(axis=1)
    high = crop_to_photo[:, 2] + np.maximum(edges, 0).sum(axis=1)
    return [
        (max(0, int(first) - 2), min(size, int(last) + 3))
        for first, last, size in zip(low, high, photo_size[::-1], strict=True)
    ]
