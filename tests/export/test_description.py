import pytest

from hrnet_jax import skeletons
from hrnet_jax.export import description
from hrnet_jax.export.description import Settings

SETTINGS = Settings(skeletons.MPII, (256, 192), flip_test=False, flip_shift=0.75, decoder="dark")


def test_settings_return_from_json():
    assert description.from_json(SETTINGS.to_json(), "x") == SETTINGS


def test_the_flip_order_is_the_skeletons_if_there_is_a_flip_test():
    assert SETTINGS.flip_order is None
    assert (Settings(skeletons.MPII, (64, 64)).flip_order == skeletons.MPII.flip_order).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder": "os:system"}, "x: `decoder` (='os:system') is none of argmax, quarter, dark"),
        ({"decoder": 3}, "`decoder` (=3) must be a string"),
        ({"flip_test": 1}, "`flip_test` (=1) must be true or false"),
        ({"flip_shift": 2}, "`flip_shift` (=2) must be between 0 and 1"),
        ({"image_size": [256]}, "`image_size` must be 2 finite numbers"),
        ({"image_size": [256.5, 192]}, "must be height and width in pixels"),
        ({"image_size": [0, 192]}, "must be height and width in pixels"),
        ({"skeleton": "coco"}, "`skeleton` (='coco') must be an object"),
        ({"skeleton": {"name": "fox"}}, "x: `skeleton`: a skeleton file needs the fields"),
    ],
)
def test_impossible_values_are_refused(change, message):
    with pytest.raises(ValueError) as caught:
        description.from_json(SETTINGS.to_json() | change, "x")
    assert message in str(caught.value)


@pytest.mark.parametrize("field", ["skeleton", "image_size", "flip_test", "flip_shift", "decoder"])
def test_missing_fields_are_named(field):
    content = SETTINGS.to_json()
    del content[field]
    with pytest.raises(ValueError, match=f"`{field}`"):
        description.from_json(content, "x")
