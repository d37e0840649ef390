import pytest
from absl.testing import flagsaver

from hrnet_jax import distributed

distributed.define_flags()


def test_a_single_process_is_primary_and_does_not_wait(capsys):
    distributed.initialize()
    assert distributed.is_primary()
    distributed.log_once("text")
    assert capsys.readouterr().out == "text\n"
    distributed.barrier("name")
    assert distributed.broadcast(True) is True and distributed.broadcast(False) is False


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
