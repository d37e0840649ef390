import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from jax.experimental import multihost_utils

from hrnet_jax import distributed

distributed.define_flags()


def test_a_single_process_is_primary_and_does_not_wait(capsys):
    distributed.initialize()
    assert distributed.is_primary()
    distributed.log_once("text")
    assert capsys.readouterr().out == "text\n"
    distributed.barrier("name")
    assert distributed.broadcast(True) is True and distributed.broadcast(False) is False


@pytest.mark.parametrize("votes", [[True, True], [True, False], [False, False]])
def test_processes_agree_if_all_of_them_do(monkeypatch, votes):
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda _: np.array(votes))
    assert distributed.all_agree(True) == all(votes)


def test_only_process_0_is_primary(monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert not distributed.is_primary()
    distributed.log_once("text")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"coordinator": "localhost:1"}, "give --coordinator, --processes and --process together"),
        ({"process": 0, "processes": 2}, "give --coordinator, --processes and --process together"),
        ({"coordinator": "localhost:1", "processes": 2, "process": 2}, r"`--process` \(=2\) must be"),
        ({"distributed": True}, "the other processes cannot be found"),
    ],
)
def test_incomplete_or_contradictory_flags_are_refused(flags, message):
    with flagsaver.flagsaver(**flags), pytest.raises(ValueError, match=message):
        distributed.initialize()
