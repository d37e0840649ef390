"""Rows on COCO, val2017, with a detector's boxes: HRNets, SimpleBaselines, Hourglasses and CPNs.

    python train.py --config configs/coco.py:hrnet_w32_256x192 --workdir runs/coco_hrnet_w32_256x192
    python eval.py --config configs/coco.py:hrnet_w32_256x192 --workdir runs/coco_hrnet_w32_256x192

HRNets and SimpleBaselines start from ImageNet weights, except for the one from scratch. Hourglasses start from
scratch. Their figures are those of Chen et al., who did not publish how they trained: these rows train them as
HRNet. The paper's table 1 repeats the figure of eight stacks with 25.1 M parameters, which no known code has, and
14.3 G multiply-adds, those of Newell's network of June 2016 (`model.residual_before_head=False`).

CPNs start from ImageNet weights and train as HRNet, on the crops and boxes of the other rows, so that rows compare
networks. Their authors train for 24 million crops with a learning rate of 5e-4 (Adam) that is halved every 3.6
million, weight decay 1e-5 and other augmentation. Paper and table 1 give 6.20 G multiply-adds for what counts as
6.73 G here; part of that is the stride in the first instead of the second convolution of blocks. Their decoding:
`--config.model.original_targets=True --config.eval.decoder=cpn --config.eval.flip_shift=0
--config.eval.joint_score_threshold=0 --config.eval.nms_threshold=1`, the first of them when training.

Figures of rows named "udp" are mmpose's, with its wider blur in decoding. Those of "udp_offset" are the authors',
on the boxes of a better detector (person AP 65.1 instead of 56.4): with these, plain HRNet-W32 at 256x192 has
0.756 instead of 0.744.
"""

from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import rows

PAPER, RELEASE = "Sun et al. 2019, table 1", "release of Sun et al. 2019"
CPN = "Chen et al. 2018, tables 3 and 8"
MMPOSE, UDP = "mmpose 1.x, UDP", "release of Huang et al. 2020, person AP 65.1"
FOUR_GPUS_OF_24 = {"batch_size": 96, "model.norm_group_size": 24}
METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")


def _row(changes: dict[str, Any], source: str, *figures: float) -> rows.Row:
    return rows.Row(changes, dict(zip(METRICS, figures, strict=False)), source)


# fmt: off
ROWS = {
    "hrnet_w32_256x192_scratch": _row(
        rows.hrnet(32, (256, 192), pretrained=False), PAPER, 0.734, 0.895, 0.807, 0.702, 0.801, 0.789),
    "hrnet_w32_256x192": _row(rows.hrnet(32, (256, 192)), PAPER, 0.744, 0.905, 0.819, 0.708, 0.810, 0.798),
    "hrnet_w48_256x192": _row(rows.hrnet(48, (256, 192)), PAPER, 0.751, 0.906, 0.822, 0.715, 0.818, 0.804),
    "hrnet_w32_384x288": _row(rows.hrnet(32, (384, 288)), PAPER, 0.758, 0.906, 0.825, 0.720, 0.827, 0.809),
    "hrnet_w48_384x288": _row(
        rows.hrnet(48, (384, 288)) | FOUR_GPUS_OF_24, PAPER, 0.763, 0.908, 0.829, 0.723, 0.834, 0.812),
    "resnet50_256x192": _row(
        rows.simple_baseline(50, (256, 192)), RELEASE, 0.704, 0.886, 0.783, 0.671, 0.772, 0.763),
    "resnet101_256x192": _row(
        rows.simple_baseline(101, (256, 192)), RELEASE, 0.714, 0.893, 0.793, 0.681, 0.781, 0.771),
    "resnet152_256x192": _row(
        rows.simple_baseline(152, (256, 192)), RELEASE, 0.720, 0.893, 0.798, 0.687, 0.789, 0.778),
    "resnet50_384x288": _row(
        rows.simple_baseline(50, (384, 288)), RELEASE, 0.722, 0.893, 0.789, 0.681, 0.797, 0.776),
    "resnet101_384x288": _row(
        rows.simple_baseline(101, (384, 288)), RELEASE, 0.736, 0.896, 0.803, 0.699, 0.811, 0.791),
    "resnet152_384x288": _row(
        rows.simple_baseline(152, (384, 288)), RELEASE, 0.743, 0.896, 0.811, 0.705, 0.816, 0.797),
    "hrnet_w32_256x192_udp": _row(rows.hrnet(32, (256, 192), codec="udp"), MMPOSE, 0.762, 0.907, 0.829),
    "hrnet_w48_256x192_udp": _row(rows.hrnet(48, (256, 192), codec="udp"), MMPOSE, 0.768, 0.908, 0.833),
    "hrnet_w32_384x288_udp": _row(rows.hrnet(32, (384, 288), codec="udp"), MMPOSE, 0.768, 0.909, 0.832),
    "hrnet_w48_384x288_udp": _row(
        rows.hrnet(48, (384, 288), codec="udp") | FOUR_GPUS_OF_24, MMPOSE, 0.773, 0.911, 0.836),
    "hrnet_w32_256x192_udp_offset": _row(
        rows.hrnet(32, (256, 192), codec="udp_offset"), UDP, 0.768, 0.919, 0.837, 0.731, 0.833, 0.816),
    "hrnet_w32_256x192_udp_offset_v1": _row(
        rows.hrnet(32, (256, 192), codec="udp_offset_v1"), UDP, 0.772, 0.916, 0.842, 0.737, 0.837, 0.825),
    "hrnet_w48_256x192_udp_offset": _row(
        rows.hrnet(48, (256, 192), codec="udp_offset"), UDP, 0.772, 0.918, 0.837, 0.738, 0.837, 0.820),
    "hrnet_w32_384x288_udp_offset": _row(
        rows.hrnet(32, (384, 288), codec="udp_offset"), UDP, 0.778, 0.917, 0.845, 0.742, 0.843, 0.824),
    "hrnet_w48_384x288_udp_offset": _row(
        rows.hrnet(48, (384, 288), codec="udp_offset") | FOUR_GPUS_OF_24,
        UDP, 0.778, 0.920, 0.843, 0.742, 0.845, 0.825),
    "hourglass2_256x192": _row(rows.hourglass(2, (256, 192)), CPN, 0.665),
    "hourglass8_256x192": _row(rows.hourglass(8, (256, 192)), CPN, 0.669),
    "hourglass8_256x256": _row(rows.hourglass(8, (256, 256)), CPN, 0.671),
    "cpn_resnet50_256x192": _row(rows.cpn(50, (256, 192), ohkm=False), CPN, 0.686),
    "cpn_ohkm_resnet50_256x192": _row(rows.cpn(50, (256, 192)), CPN, 0.694),
    "cpn_ohkm_resnet101_256x192": _row(rows.cpn(101, (256, 192)), CPN),
    "cpn_ohkm_resnet152_256x192": _row(rows.cpn(152, (256, 192)), CPN),
    "cpn_resnet50_384x288": _row(rows.cpn(50, (384, 288), ohkm=False), CPN, 0.706),
    "cpn_ohkm_resnet50_384x288": _row(rows.cpn(50, (384, 288)), CPN, 0.716),
    "cpn_ohkm_resnet101_384x288": _row(rows.cpn(101, (384, 288)), "chenyilun95/tf-cpn", 0.729),
    "cpn_ohkm_resnet152_384x288": _row(rows.cpn(152, (384, 288)), CPN),
}
# fmt: on


def get_config(row: str = "hrnet_w32_256x192") -> ConfigDict:
    """Returns the configuration of a row."""
    return rows.select(ROWS, row)
