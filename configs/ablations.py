"""Rows of the paper's ablations: table 6, figure 5 and figure 6, on COCO, val2017, with a detector's boxes.

    python train.py --config configs/ablations.py:across_stages_w32_256x192 --workdir runs/across_stages
    python eval.py --config configs/ablations.py:across_stages_w32_256x192 --workdir runs/across_stages

Table 6 and the variants beside it in the text (`hrnet_jax/models/ablation.py`) are trained from scratch. Compare
them with `configs/coco.py:hrnet_w32_256x192_scratch`, AP 0.734, which is table 6 (c).

Figure 5 reads heatmaps at 1x, 2x, 4x (and 8x, "below 10") of the finest branch's pixels. The paper does not say
whether its heads were trained together, nor how wide the Gaussians are. Rows `heads` train them together, on the
sum of their losses; rows `head` train one. Sigma is 2 pixels of each map. Evaluation has the AP of each head, such
as ``val2017/detector_boxes_2x/AP``.

Figure 6 has six image sizes. Figures are published for 256x192 and 384x288 alone, see `configs/coco.py`; those of
the other sizes are only drawn. The release draws Gaussians of sigma 2 and 3 there; these rows scale sigma with the
height. `hrnet figures` draws both figures.
"""

from ml_collections import ConfigDict

from hrnet_jax import rows
from hrnet_jax.models import ablation

PAPER, JOURNAL = "Sun et al. 2019, table 6 and section 4.4", "Wang et al. 2020, section 4 and appendix"
FIGURE_5, FIGURE_6 = "Sun et al. 2019, figure 5", "Sun et al. 2019, figure 6, where the point is only drawn"
SIZE = (256, 192)
OTHER_SIZES = ((128, 96), (192, 128), (320, 224), (352, 256))
BY_RESOLUTION = {32: (0.744, 0.689, 0.55), 48: (0.751, 0.696, 0.554)}
"""AP of figure 5 at 1x, 2x and 4x, by width."""


def _variant(variant: str, source: str, ap: float) -> rows.Row:
    return rows.Row(rows.ablation(32, SIZE, variant), {"AP": ap}, source)


def _head(width: int, heads: tuple[int, ...], **figures: float) -> rows.Row:
    return rows.Row(rows.resolutions(width, SIZE, heads), figures, FIGURE_5)


def _figure_5() -> dict[str, rows.Row]:
    found = {}
    for width, (one, two, four) in BY_RESOLUTION.items():
        found |= {
            f"heads_w{width}_256x192": _head(width, (0, 1, 2, 3), AP=one, AP_2x=two, AP_4x=four),
            f"head_2x_w{width}_256x192": _head(width, (1,), AP=two),
            f"head_4x_w{width}_256x192": _head(width, (2,), AP=four),
            f"head_8x_w{width}_256x192": _head(width, (3,)),
        }
    return found


ROWS = {
    "final_exchange_w32_256x192": _variant(ablation.FINAL, PAPER, 0.708),
    "across_stages_w32_256x192": _variant(ablation.ACROSS, PAPER, 0.719),
    "four_branches_w32_256x192": _variant(ablation.FOUR, PAPER, 0.725),
    "bilinear_w32_256x192": _variant(ablation.BILINEAR, JOURNAL, 0.726),
    "product_w32_256x192": _variant(ablation.PRODUCT, JOURNAL, 0.547),
    **_figure_5(),
    **{
        f"hrnet_w32_{height}x{width}": rows.Row(rows.hrnet(32, (height, width)), {}, FIGURE_6)
        for height, width in OTHER_SIZES
    },
    **{
        f"resnet50_{height}x{width}": rows.Row(rows.simple_baseline(50, (height, width)), {}, FIGURE_6)
        for height, width in OTHER_SIZES
    },
}


def get_config(row: str = "across_stages_w32_256x192") -> ConfigDict:
    """Returns the configuration of a row."""
    return rows.select(ROWS, row)
