"""Sound data sets for the tests of the doctor."""

import functools
import pathlib

import cv2
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets.made_up import dataset


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> pathlib.Path:
    """Made-up people, enough of them for the statistical checks."""
    return dataset.write(tmp_path_factory.mktemp("made_up"), train_photos=8, val_photos=48, seed=7, workers=1)


@pytest.fixture(scope="session", params=["made_up", "real"])
def base(request) -> pathlib.Path:
    """A sound data set in COCO's layout."""
    if request.param == "made_up":
        return request.getfixturevalue("made_up")
    return request.getfixturevalue("shared") / "real" / "coco_mini"


@pytest.fixture(scope="session")
def mpii_five(shared) -> pathlib.Path:
    """A sound data set in MPII's layout, of five people."""
    return shared / "real" / "mpii_five"


@pytest.fixture(scope="session")
def prepared(made_up, tmp_path_factory) -> pathlib.Path:
    """The made-up people as prepared splits, with decoded photos."""
    out = tmp_path_factory.mktemp("records")
    prepare.prepare_coco(made_up, out, decode=True)
    return out


@pytest.fixture(scope="session", autouse=True)
def decode_once():
    """Decodes equal bytes once: hundreds of tests examine the same photos."""
    decode = cv2.imdecode
    cached = functools.lru_cache(200)(lambda encoded, flags: decode(np.frombuffer(encoded, np.uint8), flags))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cv2, "imdecode", lambda encoded, flags: cached(encoded.tobytes(), flags))
        yield
