import cv2
import made_damage
from made_damage import Damage, annotations, photos, write_coco


def exchange_red_and_blue(folder, rng):
    for path in folder.iterdir():
        photo = cv2.imread(str(path))
        assert photo is not None
        cv2.imwrite(str(path), photo[..., ::-1])


@made_damage.cases([Damage("blue", exchange_red_and_blue, "colours")])
def test_finds_photos_with_red_and_blue_exchanged(base, tmp_path, damage, seed):
    root = write_coco(tmp_path / "root", base, annotations(base), copy_photos=True)
    damage.apply(photos(root), seed)
    made_damage.check(root, damage)
