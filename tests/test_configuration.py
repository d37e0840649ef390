import json

import pytest

from hrnet_jax import configuration, models
from hrnet_jax.fields import Field

MINIMA = {
    name: field.minimum for name, field in configuration.fields("hrnet").items() if field.minimum is not None
}


def changed(name, value) -> dict:
    config = configuration.default()
    with config.ignore_type():
        config.update_from_flattened_dict({name: value})
    return config.to_dict()


def test_every_field_has_help_and_stands_once():
    for network in models.NETWORKS:
        fields = configuration.fields(network)
        assert all(field.help.endswith(".") for field in fields.values())
        assert configuration.flatten(configuration.default(network).to_dict()).keys() == fields.keys()


@pytest.mark.parametrize("name", MINIMA)
def test_integers_below_their_minimum_or_of_another_type_are_refused(name):
    configuration.check(changed(name, MINIMA[name]), configuration.fields("hrnet"), "the configuration")
    for value in (MINIMA[name] - 1, 2.0, float("inf"), None, True, 2**63):
        with pytest.raises(ValueError, match=rf"the configuration: `{name}` \(="):
            configuration.check(changed(name, value), configuration.fields("hrnet"), "the configuration")


def test_a_group_that_is_no_object_is_refused():
    with pytest.raises(ValueError, match=r"config.json: `eval` \(=5\)"):
        configuration.check({"eval": 5}, configuration.fields("hrnet"), "config.json")


def test_defaults_complete_an_older_run():
    whole = configuration.default("simple_baseline").to_json()
    old = json.loads(whole)
    del old["task"], old["fsdp"], old["learning_rate_drops"]
    known = configuration.fields_of_file(old)
    assert known == configuration.fields("simple_baseline")
    assert configuration.with_defaults(old, known) == configuration.flatten(json.loads(whole))


@pytest.mark.parametrize(
    ("name", "resumable", "network"),
    [
        ("eval.decoder", True, False),
        ("model.remat", True, False),
        ("model.width", False, True),
        ("image_size", False, True),
        ("batch_size", False, False),
        ("learning_rate", False, False),
        ("seed", False, False),
        ("augment.flip", False, False),
        ("model.colors", False, True),
        ("model.dtype", False, False),
    ],
)
def test_fields_that_may_change_on_resume_and_those_that_weights_depend_on(name, resumable, network):
    field = configuration.fields("hrnet")[name]
    assert (field.resumable, field.network) == (resumable, network)


def test_a_file_names_no_code():
    known = configuration.fields_of_file({"model": {"name": "no_such_module:NETWORK"}})
    assert "model.width" not in known and known["model.name"] == Field(
        "no_such_module:NETWORK", known["model.name"].help, network=True, code=True
    )
