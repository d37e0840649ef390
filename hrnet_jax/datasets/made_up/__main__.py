"""Writes made-up people in photos, laid out like COCO 2017: ``python -m hrnet_jax.datasets.made_up --out DIR``."""

import argparse

from hrnet_jax import console
from hrnet_jax.datasets.made_up import clip, contact_sheet, dataset


def main() -> None:
    """Writes the data set and, on request, a contact sheet of the validation photos and a video."""
    parser = argparse.ArgumentParser(
        prog="python -m hrnet_jax.datasets.made_up",
        description="Writes made-up people in photos, laid out like COCO 2017.",
    )
    parser.add_argument("--out", required=True, help="output directory, laid out like COCO 2017")
    parser.add_argument("--train-photos", type=int, default=2500, help="default: %(default)s")
    parser.add_argument("--val-photos", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other people; default: %(default)s")
    parser.add_argument("--contact-sheet", metavar="FILE", help="also write a picture of the validation photos")
    parser.add_argument("--video", metavar="FILE", help="also write a short video, .mp4, of one person")
    args = parser.parse_args()
    root = dataset.write(args.out, train_photos=args.train_photos, val_photos=args.val_photos, seed=args.seed)
    print(f"made-up people: {args.train_photos} + {args.val_photos} photos in {root}")
    if args.contact_sheet:
        contact_sheet.write(root, "val2017", args.contact_sheet)
        print(f"contact sheet: {args.contact_sheet}")
    if args.video:
        clip.write(args.video, seed=args.seed)
        print(f"video: {args.video}")


if __name__ == "__main__":
    console.run(main)
