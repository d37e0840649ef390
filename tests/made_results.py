"""Random people of any category with detections of them, and their metrics by pycocotools."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_jax import skeletons
from hrnet_jax.evaluation import coco

COUNT = 10  # joints: numpy sums more than eight numbers in another order
SKELETON = skeletons.Skeleton(
    name="ten",
    joints=tuple(f"joint {k}" for k in range(COUNT)),
    flip_pairs=(),
    limbs=(),
    sigmas=tuple(np.linspace(0.025, 0.107, COUNT).tolist()),
    upper_body=(),
)


def pycocotools_metrics(content, found):
    """Returns the ten metrics of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(found)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(SKELETON.sigmas)
        evaluation.params.catIds = sorted({result["category_id"] for result in found})
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(coco.METRICS, map(float, evaluation.stats), strict=True))


def person(rng, number, photo_id, category_id=1, **fields):
    """Returns an annotation of any size with some or no labelled joints."""
    size = np.exp(rng.uniform(np.log(10), np.log(300)))
    corner = rng.uniform(0, 400, 2)
    joints = np.round(corner + rng.uniform(0, 1, (COUNT, 2)) * size * [0.5, 1])
    labels = rng.choice([0, 1, 2], COUNT) * (rng.random() < 0.8)
    return {
        "id": number,
        "image_id": photo_id,
        "category_id": category_id,
        "bbox": [*corner.tolist(), size / 2, size],
        "area": float(size**2 * rng.uniform(0.1, 0.4)),
        "iscrowd": int(rng.random() < 0.1),
        "num_keypoints": int(np.sum(labels > 0)),
        "keypoints": np.column_stack([joints * (labels > 0)[:, None], labels]).ravel().tolist(),
        **fields,
    }


def detect(rng, annotation, digits=8):
    """Returns a more or less exact detection of an annotation."""
    keypoints = np.array(annotation["keypoints"], float).reshape(COUNT, 3)
    size = annotation["bbox"][3]
    unlabelled = keypoints[:, 2] == 0
    keypoints[unlabelled, :2] = annotation["bbox"][:2] + rng.uniform(0, 1, (int(unlabelled.sum()), 2)) * size
    keypoints[:, :2] += rng.normal(0, 1, (COUNT, 2)) * size * rng.choice([0.0, 0.01, 0.05, 0.1, 0.3])
    return {
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "keypoints": keypoints.ravel().tolist(),
        "score": round(float(rng.random()), digits),
    }


def make(seed, photos, people, found, categories=(1,), digits=8):
    """Returns random annotations and detections. With few digits many scores are equal."""
    rng = np.random.default_rng(seed)
    photo_ids = (rng.permutation(3 * photos)[:photos] + 1).tolist()
    annotations = [
        person(rng, int(number), int(rng.choice(photo_ids)), int(rng.choice(categories)))
        for number in rng.permutation(people) + 1
    ]
    strangers = [person(rng, 0, int(rng.choice(photo_ids)), int(rng.choice(categories))) for _ in range(9)]
    results = [detect(rng, rng.choice(annotations + strangers), digits) for _ in range(found)]
    content = {
        "images": [{"id": photo_id} for photo_id in photo_ids],
        "categories": [{"id": number, "name": f"category {number}"} for number in categories],
        "annotations": annotations,
    }
    return content, results
