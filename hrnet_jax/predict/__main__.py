"""Finds the poses of people in photos and videos.

    python -m hrnet_jax.predict photo.jpg --checkpoint pose_hrnet_w32_256x192.pth --out results
    python -m hrnet_jax.predict FOLDER 'more/*.png' clip.mp4 list.txt --checkpoint runs/w32 --boxes detector.onnx \
        --out results
    python -m hrnet_jax.predict clip.mp4 FOLDER_OF_FRAMES --track --checkpoint runs/w32 --out results

SRC are photos, folders, globs, videos, text files (.txt) with a path in each line, or ``-`` for such lines on
standard input. OUT then holds pictures, poses.json and index.html, and what else ``--write`` names. The exit
status is 1 if a photo or video could not be read, 2 for a mistake on the command line, and 75 after Ctrl-C.
"""

import os
import pathlib
import re
import sys
import warnings

from absl import flags
from PIL import Image

from hrnet_jax import console
from hrnet_jax.predict import boxes, job, opening, photos, sources
from hrnet_jax.predict.options import OUTPUTS, VIDEO, Options
from hrnet_jax.predict.poses import JOINT_SCORE
from hrnet_jax.predict.track_options import FRAME_RATE, SMOOTHERS, TrackOptions
from hrnet_jax.tracking.settings import PRESETS, parse

_PHOTOS, _VIDEOS = ("pictures", "json", "html"), ("json", "html", VIDEO)
_TRACKED = ("json", VIDEO, "tracks")
"""What is written by default."""


def define_flags() -> None:
    """Defines the command line."""
    flags.DEFINE_multi_string(
        "checkpoint",
        None,
        "A run, a checkpoint, a .pth or .safetensors file, or a program. Repeated: an ensemble.",
    )
    flags.DEFINE_string("out", None, "Folder of the results.")
    flags.DEFINE_string("boxes", boxes.WHOLE, "People: `whole` photos, FILE.json, or a person detector FILE.onnx.")
    flags.DEFINE_list("write", None, f"Some of {', '.join(OUTPUTS)}. Default: {', '.join(_PHOTOS)}; or video.")
    flags.DEFINE_boolean("resume", False, "Continue a run: skip what is done.")
    flags.DEFINE_integer(
        "batch_size", 0, "People, or photos of bottom-up networks, at a time on all devices. 0: by their kind."
    )
    flags.DEFINE_integer("threads", 4, "Threads that read photos while the network runs.")
    flags.DEFINE_float("joint_score", JOINT_SCORE, "Joints of lower score are drawn as uncertain.")
    flags.DEFINE_float(
        "box_score", None, "Boxes, or people without, of lower score are left out. Default: 0.3 for .onnx, else 0."
    )
    flags.DEFINE_float("nms_threshold", None, "OKS above which one of two people is a duplicate. Default: 0.9.")
    flags.DEFINE_string("detector_kind", None, "Kind of the detector, if its outputs do not tell it.")
    flags.DEFINE_string("images", None, "COCO annotation file with names and ids of photos.")
    flags.DEFINE_integer("every", 1, "Predict every so many frames of a video.")
    flags.DEFINE_integer("detect_every", 1, "Detect people in every so many of these frames.")
    flags.DEFINE_boolean(
        "track", False, "Follow people through videos and folders of frames, with an id for each."
    )
    flags.DEFINE_string("tracker", "ours", f"{', '.join(PRESETS)}; changed as in ours,memory_seconds=3.")
    flags.DEFINE_boolean("offline", False, "Tracks may be smoothed with a look at later frames.")
    flags.DEFINE_string("smooth", "", f"{', '.join(SMOOTHERS)}. Default: none; the last one with --offline.")
    flags.DEFINE_float("frame_rate", FRAME_RATE, "Frames per second of folders of frames to track in.")
    flags.DEFINE_string(
        "truth", None, "PoseTrack's annotations, a file or folder, that pages of tracks compare with."
    )
    flags.DEFINE_integer("max_pixels", photos.MAX_PIXELS, "Larger photos are refused.")
    flags.DEFINE_integer("processes", 1, "Number of processes that share SRC, each with this command.")
    flags.DEFINE_integer("process", 0, "Index of this process, from 0.")
    flags.DEFINE_string(
        "image_size",
        None,
        "HEIGHTxWIDTH of the crops, if the checkpoint does not tell it. Bottom-up: the short side.",
    )
    flags.DEFINE_string("skeleton", "", "Name or JSON file of the joints, if the checkpoint does not tell them.")
    flags.DEFINE_string("colors", "", "RGB or BGR, if the checkpoint does not tell it.")
    flags.DEFINE_string("codec", "", "That the network was trained with, if the checkpoint does not tell it.")
    flags.DEFINE_string("network", "", "`module:name` of a network outside this package.")
    flags.DEFINE_string("decoder", "", "argmax, quarter, dark or cpn. Default: as in training.")
    flags.DEFINE_boolean("flip_test", None, "Average with the mirrored image. Default: as in training.")
    flags.DEFINE_list(
        "scales",
        ["1"],
        "Sizes of the person in crops whose heatmaps are averaged, such as 0.9,1,1.1; of the photo.",
    )
    flags.DEFINE_list("rotations", ["0"], "Likewise, degrees, such as -15,0,15.")
    flags.DEFINE_boolean("averaged", False, "Use the moving average of a run's weights.")
    flags.DEFINE_string("dtype", "float32", "Precision of the activations: float32 or bfloat16.")
    bottom_up = "Bottom-up networks only. Default: as in training."
    flags.DEFINE_float("joint_threshold", None, f"Joints have a higher score. {bottom_up}")
    flags.DEFINE_float("tag_threshold", None, f"Joints whose tags differ more are of several people. {bottom_up}")
    flags.DEFINE_integer(
        "most_people", None, f"People that joints are compared with; 0 for all, of up to 64. {bottom_up}"
    )
    flags.DEFINE_boolean("refine", None, f"Fill missing joints, which are marked. {bottom_up}")
    flags.DEFINE_boolean("adjust", None, f"Move joints by a quarter of a pixel. {bottom_up}")
    flags.DEFINE_boolean("full_size", None, f"Read heatmaps at the size of the image. {bottom_up}")


def main(names: list[str]) -> int:
    """Runs the command line and returns the exit status."""
    given = flags.FLAGS
    for name in ("checkpoint", "out"):
        if given[name].value is None:
            raise ValueError(f"--{name} is missing: see --help")
    if given.network:
        sys.path.append(os.getcwd())  # as `hrnet convert` does
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # --max_pixels is the limit
    found = sources.find(names)
    videos = any(map(sources.is_video, found.paths))
    default = _VIDEOS if all(map(sources.is_video, found.paths)) else (*_PHOTOS, *[VIDEO] * videos)
    options = Options(
        out=pathlib.Path(given.out),
        write=given.write or (_TRACKED if given.track else default),
        track=track_options(given),
        **{name: getattr(given, name) for name in _JOB},
    )
    about = {name: getattr(given, name) for name in _DECISIVE} | {"checkpoint": ",".join(given.checkpoint)}
    about |= {name: getattr(given, name) for name in _DECISIVE_IF_GIVEN if not given[name].using_default_value}
    about |= {name: getattr(given, name) for name in _TRACK_DECISIVE} if given.track else {}
    loaded = {name: getattr(given, name) for name in _LOADED if getattr(given, name) is not None}
    several = {name: numbers(name, getattr(given, name)) for name in ("scales", "rotations")}
    size = image_size(given.image_size)
    predictor = opening.load(given.checkpoint, given.boxes, image_size=size, **several, **loaded)
    print("\n".join(predictor.notes), flush=True)
    return job.run(predictor, found, options, about)


_JOB = ("joint_score", "every", "detect_every", "resume", "process", "processes", "images")
_LOADED = (
    *("images", "detector_kind", "box_score", "batch_size", "threads", "max_pixels", "nms_threshold", "dtype"),
    *("skeleton", "colors", "codec", "network", "decoder", "flip_test", "averaged"),
    *opening.OF_PHOTOS,
)
_DECISIVE = (
    *("boxes", "box_score", "nms_threshold", "detector_kind", "images", "every", "detect_every"),
    *("image_size", "skeleton", "colors", "codec", "network", "decoder", "flip_test", "averaged", "dtype"),
)
"""Flags that a resumed run must repeat, since the poses depend on them."""

_DECISIVE_IF_GIVEN = ("scales", "rotations", *opening.OF_PHOTOS)
"""Those that earlier versions do not have."""

_TRACK = ("tracker", "offline", "smooth", "frame_rate", "truth")
_TRACK_DECISIVE = ("track", "tracker", "offline", "smooth", "frame_rate")


def track_options(given: flags.FlagValues) -> TrackOptions | None:
    """Returns how to follow people, None if that is not asked for. Raises ValueError for flags that do not fit."""
    if not given.track:
        if unused := [name for name in _TRACK if not given[name].using_default_value]:
            raise ValueError(f"--{unused[0]} (={given[unused[0]].value}) needs --track")
        return None
    if given.nms_threshold is not None:
        raise ValueError(
            f"--nms_threshold (={given.nms_threshold:g}): the tracker drops duplicates itself: give it as"
            f" --tracker={given.tracker},pose_nms={given.nms_threshold:g}"
        )
    try:
        settings = parse(given.tracker)
    except ValueError as error:
        raise ValueError(f"--tracker (={given.tracker}): {error}") from error
    truth = None if given.truth is None else pathlib.Path(given.truth)
    return TrackOptions(settings, given.offline, given.smooth, given.frame_rate, truth)


def numbers(name: str, texts: list[str]) -> list[float]:
    """Parses the numbers of a flag. Raises ValueError for other text."""
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"--{name} (={','.join(texts)}) must be numbers with commas between them") from error


def image_size(text: str | None) -> tuple[int, int] | None:
    """Parses HEIGHTxWIDTH, or one number for both. Raises ValueError for other text."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found:
        raise ValueError(f"--image_size (={text}) must be HEIGHTxWIDTH, such as 256x192, or one number for both")
    return int(found[1]), int(found[2] or found[1])


if __name__ == "__main__":
    define_flags()
    console.start(main, takes_arguments=True)
