import dataclasses
import types

import jax
import made_predictor as made
import numpy as np
import pytest

from hrnet_jax import devices, sharding, skeletons, training, views
from hrnet_jax.export.description import Settings
from hrnet_jax.predict import boxes, compiled, opening
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.torch_interop import loading

NETWORK = {
    **{"name": "hrnet", "width": 2, "stem": 2, "units": [1, 0, 0], "blocks": 1, "colors": "RGB"},
    **{"joints": list(skeletons.COCO.joints), "codec": "udp_offset"},
}
SETTINGS = Settings(skeletons.COCO, made.SIZE, codec="udp_offset")


def member(seed: int = 0, **changes) -> types.SimpleNamespace:
    """A trained network, as far as it is asked for."""
    settings = dataclasses.replace(SETTINGS, **changes)
    variables = training.init_variables(loading.build(NETWORK), made.SIZE, seed)
    return types.SimpleNamespace(source=f"{seed}.pth", network=NETWORK, variables=variables, settings=settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skeleton": skeletons.MPII}, "`skeleton` is .*nose.* there and .* here; leave one of them out"),
        (
            {"image_size": (96, 64)},
            r"`image_size` is \(64, 32\) there and \(96, 64\) here; give --image_size for all",
        ),
        ({"codec": "udp"}, "`codec` is 'udp_offset' there and 'udp' here; leave one"),
        ({"decoder": "dark"}, "`decoder` .* give --decoder for all"),
        ({"flip_test": False}, "`flip_test` .* give --flip_test for all"),
    ],
)
def test_members_of_an_ensemble_must_belong_together(changes, message):
    with pytest.raises(ValueError, match=f"heatmaps of '0.pth' and '1.pth' cannot be averaged: {message}"):
        compiled.compile_network([member(0), member(1, **changes)], sharding.make_mesh())  # type: ignore[list-item]


def test_a_network_for_whole_photos_is_refused():
    of_photos = member(1)
    of_photos.network = NETWORK | {"name": "higher_hrnet", "deconvolutions": 1}
    with pytest.raises(ValueError, match=r"'1\.pth' is a network that finds all people of a photo, and"):
        compiled.compile_network([member(0), of_photos], sharding.make_mesh())  # type: ignore[list-item]


def test_programs_have_the_options_of_the_device(monkeypatch):
    monkeypatch.setattr(devices, "compiler_options", lambda _: {"xla_unheard_of": 1})
    mesh = sharding.make_mesh()
    network = compiled.compile_network([member()], mesh)  # type: ignore[list-item]
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_unheard_of'"):
        network.step(np.zeros((mesh.size, *made.SIZE, 3), np.uint8), np.zeros((mesh.size, 2, 3), np.float32))


def test_heatmaps_of_other_strides_are_not_averaged():
    coarse = member(1)
    coarse.network = NETWORK | {"name": "hrnet_resolutions", "units": [1, 1, 1], "heads": [1]}
    with pytest.raises(ValueError, match="cannot be averaged: `stride` is 4 there and 8 here; leave one"):
        compiled.compile_network([member(0), coarse], sharding.make_mesh())  # type: ignore[list-item]


def test_an_ensemble_predicts_several_views_of_a_person():
    mesh, chosen = sharding.make_mesh(jax.devices()[:1]), views.make((1.0, 0.5), (0.0,))
    network = compiled.compile_network([member(0), member(1)], mesh, views=chosen)  # type: ignore[list-item]
    photo, box = made.noise(3, 60, 40), np.array([5.0, 5.0, 20.0, 40.0])
    images, _ = network.crop(photo, box)
    assert images.shape == (2, *made.SIZE, 3)
    assert (images == 0).mean(axis=(1, 2, 3)).argmax() == 1  # the smaller scale shows what is beyond the photo
    predictor = BoxPredictor(network=network, find_boxes=boxes.whole, batch_size=2, threads=0)
    result = predictor.result(photo, heatmaps=True)
    assert result.crops.shape == (1, *made.SIZE, 3) and np.isfinite(result.poses.joints).all()
    assert result.heatmaps is not None and result.heatmaps.shape == (1, 16, 8, skeletons.COCO.num_joints)


@pytest.mark.parametrize(("source", "options"), [(["x.onnx", "y.pth"], {}), ("x.stablehlo", {"scales": (1, 0.9)})])
def test_programs_predict_alone_and_one_crop(source, options):
    with pytest.raises(ValueError, match="exported program, which predicts alone and one crop of a person"):
        opening.load(source, **options)
