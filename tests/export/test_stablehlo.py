import subprocess
import sys

import numpy as np
import pytest

from hrnet_jax.export import stablehlo

RELOAD = """
import sys
sys.modules.update({"hrnet_jax": None, "flax": None})  # importing them fails
import jax, numpy as np
from jax import export
program = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
assert set(program.platforms) == {"cpu", "cuda", "tpu"}
for batch in (1, 3):
    images = np.arange(batch * 8, dtype=np.uint8).reshape(batch, 2, 4)
    print(np.asarray(program.call(images)).tolist())
"""


def add_weights(images):
    return images.astype(np.float32).sum(1) + np.array([[1, 2, 3, 4]], np.float32)


def test_a_program_runs_without_this_package(tmp_path):
    stablehlo.write(tmp_path / "x.stablehlo", add_weights, [((2, 4), np.uint8)])
    command = [sys.executable, "-c", RELOAD, str(tmp_path / "x.stablehlo")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[[5.0, 8.0, 11.0, 14.0]]",
        "[[5.0, 8.0, 11.0, 14.0], [21.0, 24.0, 27.0, 30.0], [37.0, 40.0, 43.0, 46.0]]",
    ]


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_file_is_refused(tmp_path, keep):
    path = tmp_path / "x.stablehlo"
    stablehlo.write(path, add_weights, [((2, 4), np.uint8)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="is not a whole StableHLO file"):
        stablehlo.read(path)
