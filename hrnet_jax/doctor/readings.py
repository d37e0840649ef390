"""Readings: what the numbers of boxes and joints in an annotation file may mean.

A box is four numbers, a joint two. The package reads them as corner and size, in pixels from the photo's top left.
Other programs write two corners, centres, fractions of the photo, (y, x), or measure from another corner of the
photo. All are linear in the numbers, so that a reading also gives the formula that mends a file.
"""

import dataclasses
import itertools

import numpy as np

# By name: left, top, right and bottom of a box as rows, in its numbers a, b, c, d.
FORMS = {
    "corner and size": [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]],
    "two corners": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    "centre and size": [[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]],
    "lower left corner and size": [[1, 0, 0, 0], [0, 1, 0, -1], [1, 0, 1, 0], [0, 1, 0, 0]],
    "left, right, top, bottom": [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
}
TAKEN, CORNERS, CENTRE, *_ = FORMS
ORIGINS = ("the photo's corner", "the box's corner", "the box's corner, as fractions of the box")
UNITS = {1: "fractions of the photo", 100: "percent of the photo", 1000: "thousandths of the photo"}
TURNS = {
    (False, False, True): "y counted from the bottom",
    (False, True, False): "x counted from the right",
    (False, True, True): "those of the photo upside down",
    (True, False, False): "x and y exchanged",
    (True, True, False): "those of the photo turned counter-clockwise",
    (True, False, True): "those of the photo turned clockwise",
    (True, True, True): "x and y exchanged and counted from the lower right",
}


@dataclasses.dataclass(frozen=True)
class Frame:
    """The unit of coordinates and where they are counted from."""

    turn: tuple[bool, bool, bool] = (False, False, False)  # x and y exchanged; then x from the right; y from below
    unit: int = 0  # numbers along a side of the photo; 0 for pixels

    def map(self, points: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Returns the pixels [..., 2] of points [..., 2] on photos of sizes [..., 2] (width, height)."""
        exchanged, *mirrored = self.turn
        points = points[..., ::-1] if exchanged else points
        points = points * size / self.unit if self.unit else points
        return np.where(mirrored, size - points, points)

    def __str__(self) -> str:
        return " and ".join(filter(None, [TURNS.get(self.turn), UNITS.get(self.unit)]))


PIXELS = Frame()
MARKS = {1: PIXELS, **dict(zip((4, 2, 3, 5, 6, 8, 7), map(Frame, TURNS), strict=True))}
"""By a camera's orientation mark: the frame of the photo as stored on the photo as shown."""
FRAMES = [PIXELS, *map(Frame, TURNS)]
FRAMES += [Frame((exchanged, False, False), unit) for unit in UNITS for exchanged in (False, True)]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the numbers of a person mean: the form and frame of the box, and origin and frame of the joints."""

    form: str = TAKEN
    box_frame: Frame = PIXELS
    joint_frame: Frame = PIXELS
    origin: str = ORIGINS[0]

    @property
    def frames(self) -> tuple[Frame, Frame]:
        """The frames of box and joints."""
        return self.box_frame, self.joint_frame

    @property
    def is_turned(self) -> bool:
        """Whether a frame is turned or mirrored."""
        return any(any(frame.turn) for frame in self.frames)

    @property
    def changes(self) -> int:
        """In how many ways it differs from the package's; a turn of all numbers is one."""
        of_frames = sum(any(frame.turn) + bool(frame.unit) for frame in set(self.frames))
        return of_frames + (self.form != TAKEN) + (self.origin != ORIGINS[0])

    @property
    def differs(self) -> tuple[bool, bool]:
        """Whether boxes, and whether joints are not in the package's reading."""
        of_boxes = (self.form, self.box_frame) != (TAKEN, PIXELS)
        return of_boxes, (self.origin, self.joint_frame) != (ORIGINS[0], PIXELS)

    @property
    def kind(self) -> str:
        """The kind of finding: such as boxes_as_corners, joints_as_shares, people_turned."""
        things = "people" if all(self.differs) else "boxes" if self.differs[0] else "joints"
        if self.is_turned:
            return f"{things}_turned"
        if any(frame.unit for frame in self.frames):
            return f"{things}_as_shares"
        if self.origin != ORIGINS[0]:
            return f"{things}_from_boxes"
        form = {CORNERS: "corners", CENTRE: "centres"}.get(self.form, "sides")
        return f"{things}_as_{form}"

    def __str__(self) -> str:
        """Returns for example ``boxes: two corners, percent of the photo``."""
        box = ", ".join(filter(None, [self.form, str(self.box_frame)]))
        joints = str(self.joint_frame) or f"counted from {self.origin}"
        of_boxes, of_joints = self.differs
        return "; ".join([f"boxes: {box}"] * of_boxes + [f"joints: {joints}"] * of_joints)

    def boxes(self, numbers: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Returns the boxes [N, 4] (x, y, width, height) in pixels on photos of sizes [N, 2]."""
        corners = (numbers @ np.array(FORMS[self.form]).T).reshape(-1, 2, 2)
        corners = self.box_frame.map(corners, size[:, None])
        _, *mirrored = self.box_frame.turn
        first = np.where(mirrored, corners[:, 1], corners[:, 0])
        last = np.where(mirrored, corners[:, 0], corners[:, 1])
        return np.concatenate([first, last - first], axis=1)

    def joints(self, numbers: np.ndarray, box: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Returns the joints [N, K, 2] in pixels, given the boxes [N, 4] in pixels."""
        low, extent = box[:, None, :2], box[:, None, 2:]
        if self.origin == ORIGINS[0]:
            return self.joint_frame.map(numbers, size[:, None])
        return low + numbers * (extent if self.origin == ORIGINS[2] else 1)

    def box_formula(self) -> str:
        """Returns x, y, width and height in pixels of a box with the numbers a, b, c, d on a photo of W x H."""
        return _formula(self.boxes(np.eye(5, 4), np.ones((5, 2))), self.box_frame.unit)

    def joint_formula(self) -> str:
        """Returns x and y in pixels of a joint with the numbers a, b, in a box at x, y."""
        if self.origin != ORIGINS[0]:
            return "[x + a, y + b]" if self.origin == ORIGINS[1] else "[x + a * width, y + b * height]"
        return _formula(self.joint_frame.map(np.eye(3, 2), np.ones((3, 2))), self.joint_frame.unit)


def _formula(images: np.ndarray, unit: int) -> str:
    """Returns the formula of a map, given the images of the unit vectors and of 0 on a photo of 1 x 1."""
    weights = (images[:-1] - images[-1]).T * (unit or 1)
    terms = []
    for side, row, constant in zip(itertools.cycle("WH"), weights, images[-1], strict=False):
        signs = [(weight, name) for weight, name in zip(row, "abcd", strict=False) if weight]
        parts = [side] * bool(constant) + [f"{weight:+g}*{name}" for weight, name in sorted(signs, reverse=True)]
        text = " ".join(parts).replace("1*", "").replace("0.5*", "0.5 * ").removeprefix("+")
        text = text.replace("+", "+ ").replace(" -", " - ")
        factor = side if unit == 1 else f"{side} / {unit}"
        terms.append((f"({text}) * {factor}" if " " in text else f"{text} * {factor}") if unit else text)
    return f"[{', '.join(terms)}]"


SIDES = Reading(box_frame=Frame((False, True, False)), joint_frame=Frame((False, True, False)))
"""Everything counted from the right: looks like left and right exchanged, which `sides` examines."""
BOX_ALONE = [Reading(form, Frame(unit=unit)) for form in (TAKEN, CORNERS) for unit in (0, 1)][1:]
"""Readings that boxes without joints can show."""


def readings(*, with_boxes: bool = True, with_joints: bool = True) -> list[Reading]:
    """Returns the package's reading, then those that differ in boxes, in joints, or in the frame of both."""
    found = [Reading()]
    if with_boxes:
        found += [Reading(form, frame) for form in FORMS for frame in FRAMES]
    if with_joints:
        found += [Reading(joint_frame=frame) for frame in FRAMES]
        found += [Reading(origin=origin) for origin in ORIGINS[1:]] * with_boxes
        found += [Reading(form, frame, frame) for form in (FORMS if with_boxes else [TAKEN]) for frame in FRAMES]
    return list(dict.fromkeys(found))
