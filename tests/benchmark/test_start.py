from hrnet_jax.benchmark import start


def test_cold_and_cached_starts_are_timed_by_stage():
    small = ["--config.image_size=(64,32)", "--config.model.width=4", "--config.model.stem=8"]
    small += ["--config.model.units=(1,0,0)", "--config.model.blocks=1"]
    found = start.measure("configs/default.py", small, 2)
    assert set(found) == {"cold", "cached"}
    assert all(tuple(stages) == start.STAGES and min(stages.values()) >= 0 for stages in found.values())


def test_the_summary_has_stages_and_total():
    text = start.summary({"cold": {"import": 1.0, "data": 0.2}})
    assert text == "  cold    import 1.0 s, data 0.2 s, in all 1.2 s"
