import os

import pytest

from hrnet_jax import fields

KNOWN = {"one": 1, "two": 2}


def test_a_value_is_found_by_its_key_or_in_a_module():
    assert fields.find("count", "two", KNOWN) == 2
    assert fields.find("count", "os:R_OK", KNOWN) == os.R_OK


@pytest.mark.parametrize("name", ["three", "", ":", "math:", ":pi", "math:tau2", "no_such_module:x", "math", None])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"`count` \(=.*\) must be one of one, two, or `module:name` of your own"):
        fields.find("count", name, KNOWN)


def test_errors_within_a_users_module_are_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        fields.find("count", "broken:x", KNOWN)


@pytest.mark.parametrize(("known", "name"), [({"sum": sum}, "math:pi"), (KNOWN, "math:sin"), (KNOWN, "math:pi")])
def test_a_value_of_another_kind_is_refused(known, name):
    with pytest.raises(ValueError, match=rf"`count` \(='{name}'\) is .*, and must be (a function or class|a int)"):
        fields.find("count", name, known)
