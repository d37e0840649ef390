"""Settings of the tracker. Each threshold has its source: a paper, or "ours" where the papers do not tell.

The named ones in `PRESETS` are the rows of SimpleBaselines' table of ablations (Xiao et al., ECCV 2018, table 5),
its best row as ``paper``, and our own tracker as ``ours``.
"""

import dataclasses
import math

NONE, VELOCITY, FLOW = "none", "velocity", "flow"
MOTIONS = (NONE, VELOCITY, FLOW)
SIMILARITIES = ("oks", "iou")
ASSIGNMENTS = ("greedy", "optimal")
HISTORIES = ("frames", "latest")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of `tracker.step`. The defaults are the paper's algorithm with flow and memory.

    Attributes:
      propagation: how poses of the last frame are moved to propose boxes: "none" proposes nothing, "velocity",
        "flow" (Xiao et al., section 3.1).
      growth: of the box of a moved pose's joints, in all. 0.15: Xiao et al., section 3.1.
      propagation_frames: frames in a row for which a person is proposed without a detection. At most
        `memory_frames`. Ours: without a limit, a wrong box would live for ever.
      box_score: boxes below are dropped. 0.5: Xiao et al., chosen for their detector.
      box_nms: IoU above which the lower-scored box is dropped. 0.5: ours.
      pose_nms: OKS above which the lower-scored pose is dropped. 0.6: ours, between the usual 0.5 and 0.7; the 0.9
        of COCO's evaluation lets duplicates from merged boxes pass. 1 for none.
      pose_score: poses are dropped if the mean of their joint scores, of those above `joint_threshold`, is below.
        0: Xiao et al.
      joint_score: joints below are left out of the results; the tracker keeps them. 0.4: Xiao et al., chosen for
        their network.
      joint_threshold: joints below do not count in similarities and in the box of a pose. 0.2: ours.
      similarity: "oks" or "iou" of an earlier pose and a current one. With `motion` "flow", "oks" is the
        flow-based similarity of Xiao et al., section 3.2.
      motion: how earlier poses are moved before they are compared: "none", "velocity", "flow".
      velocity_gain: weight in (0, 1] of the newest displacement in a person's velocity. 0.5: ours.
      min_similarity: least similarity of a link. 0.2: ours.
      assignment: "greedy" (Xiao et al., algorithm 1) or "optimal", the largest sum of similarities.
      memory_frames: frames that are remembered, the papers' L_Q. Its value is not published. 5: ours.
      memory_seconds: the same in seconds. The shorter of both counts.
      history: "frames" compares with a person's poses in all remembered frames (Xiao et al.), "latest" with the
        last one only.
      flow: source of optical flow, see `flow.open_source`. "dis": ours; the papers' networks need weights.
      cut_error: `shots.Comparison.error` from which a new shot begins. 0.025: ours, see there. 1 for none.
      new_score: unlinked poses whose box score is below get no id and are dropped. 0: Xiao et al.
    """

    propagation: str = FLOW
    growth: float = 0.15
    propagation_frames: int = 5
    box_score: float = 0.5
    box_nms: float = 0.5
    pose_nms: float = 0.6
    pose_score: float = 0.0
    joint_score: float = 0.4
    joint_threshold: float = 0.2
    similarity: str = "oks"
    motion: str = FLOW
    velocity_gain: float = 0.5
    min_similarity: float = 0.2
    assignment: str = "greedy"
    memory_frames: int = 5
    memory_seconds: float = math.inf
    history: str = "frames"
    flow: str = "dis"
    cut_error: float = 0.025
    new_score: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` (={getattr(self, name)!r}) must be one of {', '.join(known)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` (={getattr(self, name)}) must be from 0 to 1")
        if self.velocity_gain <= 0 or self.memory_frames < 1 or not self.memory_seconds > 0 or self.growth < 0:
            raise ValueError(
                f"`velocity_gain` (={self.velocity_gain}), `memory_seconds` (={self.memory_seconds}) must be above"
                f" 0, `memory_frames` (={self.memory_frames}) at least 1, `growth` (={self.growth}) at least 0"
            )
        if not 0 <= self.propagation_frames <= self.memory_frames:
            raise ValueError(
                f"`propagation_frames` (={self.propagation_frames}) must be from 0 to `memory_frames`"
                f" (={self.memory_frames})"
            )
        if self.propagation == VELOCITY != self.motion:
            raise ValueError(
                f"`propagation` {VELOCITY!r} needs `motion` {VELOCITY!r}, which measures it, not {self.motion!r}"
            )

    @property
    def needs_flow(self) -> bool:
        """Whether the optical flow from frame to frame is read."""
        return FLOW in (self.propagation, self.motion)


_CHOICES = {
    "propagation": MOTIONS,
    "motion": MOTIONS,
    "similarity": SIMILARITIES,
    "assignment": ASSIGNMENTS,
    "history": HISTORIES,
}
_SHARES = (
    *(
        "box_score",
        "box_nms",
        "pose_nms",
        "pose_score",
        "joint_score",
        "joint_threshold",
        "min_similarity",
        "new_score",
    ),
    *("velocity_gain", "cut_error"),
)

PAPER = Settings()

_SINGLE = dataclasses.replace(PAPER, memory_frames=1, propagation_frames=1)
ROWS = {
    "off/bbox": dataclasses.replace(_SINGLE, propagation=NONE, motion=NONE, similarity="iou"),
    "off/pose": dataclasses.replace(_SINGLE, propagation=NONE, motion=NONE),
    "on/bbox": dataclasses.replace(_SINGLE, motion=NONE, similarity="iou"),
    "on/pose": dataclasses.replace(_SINGLE, motion=NONE),
    "on/flow": _SINGLE,
    "on/multi-flow": PAPER,
}
"""The ablations of the paper: propagated boxes off or on, and the similarity."""

OURS = dataclasses.replace(
    PAPER,
    propagation=VELOCITY,
    motion=VELOCITY,
    velocity_gain=0.3,
    memory_frames=30,
    memory_seconds=2.0,
    box_nms=0.7,
    pose_nms=0.5,
    pose_score=0.4,
)
"""Chosen on made-up videos other than those of the tables in docs/posetrack.md."""

PRESETS = ROWS | {"paper": PAPER, "ours": OURS}


def parse(text: str) -> Settings:
    """Returns the settings of a preset and changes to it: ``ours``, ``paper,memory_frames=3,box_score=0.3``.

    Raises ValueError for a name or value that there is not.
    """
    name, *changes = text.split(",")
    if name not in PRESETS:
        raise ValueError(f"there are no settings {name!r} of the tracker: choose one of {', '.join(PRESETS)}")
    types = {field.name: type(field.default) for field in dataclasses.fields(Settings)}
    changed = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in types:
            raise ValueError(f"the tracker has no setting {key!r}: choose some of {', '.join(types)}")
        try:
            changed[key] = types[key](value)
        except ValueError as error:
            raise ValueError(f"`{key}` (={value}) must be of type {types[key].__name__}") from error
    return dataclasses.replace(PRESETS[name], **changed)
