import contextlib

import numpy as np
import pytest

from hrnet_jax.benchmark import race, step, workload


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pytorch_takes_part(tiny_config, compiled_step, dtype):
    pytest.importorskip("torch", reason="the contender is PyTorch: pip install torch")
    config = tiny_config.copy_and_resolve_references()
    config.model.dtype = dtype
    for train in (True, False):
        ours = workload.train(config, compiled_step) if train else workload.predict(config)
        result = step.measure(config, 2, ours, train=train, pytorch=True)
        others = [step.EAGER, step.CHANNELS_LAST] + [step.LOOPS] * (not train)
        assert list(result.rates) == [race.OURS, *others]
        medians = {name: np.median(rates) for name, rates in result.rates.items()}
        assert result.reference == max(others, key=medians.__getitem__)
        assert dtype in race.table(result)


def test_contenders_that_run_out_of_memory_are_left_out(tiny_config, monkeypatch, capsys):
    def too_large() -> int:
        raise RuntimeError("CUDA out of memory. Tried to allocate 80 GiB")

    others = {step.EAGER: lambda: 8, step.CHANNELS_LAST: too_large}
    monkeypatch.setattr(step, "pytorch_contenders", lambda *_, **__: contextlib.nullcontext(others))
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda _: True)
    for ours, pytorch, names in (
        (lambda: 8, True, [race.OURS, step.EAGER]),
        (None, True, [step.EAGER]),
        (lambda: 8, False, [race.OURS]),
    ):
        result = step.measure(tiny_config, 2, ours, train=True, pytorch=pytorch)
        assert list(result.rates) == names and result.reference == names[-1]
    assert f"{step.CHANNELS_LAST}: left out" in capsys.readouterr().out
    others[step.EAGER] = too_large
    with pytest.raises(ValueError, match=r"nothing fits into the device's memory at batch 8"):
        step.measure(tiny_config, 2, None, train=True, pytorch=True)
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="is not installed: pip install torch"):
        step.measure(tiny_config, 2, None, train=True, pytorch=True)


def test_other_errors_are_raised(tiny_config):
    def wrong() -> int:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        step.measure(tiny_config, 2, wrong, train=True, pytorch=False)
