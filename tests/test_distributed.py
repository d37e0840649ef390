import pytest
from absl.testing import flagsaver

from hrnet_jax import distributed


def test_a_single_process_speaks_for_itself(capsys):
    distributed.initialize()
    assert distributed.is_primary()
    distributed.log_once("text")
    assert capsys.readouterr().out == "text\n"
    distributed.barrier("anywhere")
    assert distributed.broadcast(True) is True and distributed.broadcast(False) is False


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"coordinator": "localhost:1"}, "give --coordinator, --processes and --process together"),
        ({"process": 0, "processes": 2}, "give --coordinator, --processes and --process together"),
        (
            {"coordinator": "localhost:1", "processes": 2, "process": 2},
            r"`--process` \(=2\) must be",
        ),
        ({"distributed": True}, "the other processes cannot be found"),
    ],
)
def test_flags_that_do_not_say_who_is_there_are_refused(told, message):
    with flagsaver.flagsaver(**told), pytest.raises(ValueError, match=message):
        distributed.initialize()
