import numpy as np

from hrnet_jax.tracking import linking


def link(*rows, ids=None, threshold=0.2) -> list[int]:
    """Links the current poses, the columns, to those of one earlier frame."""
    table = np.array(rows, float)
    return linking.link(
        [table], [np.arange(len(table)) if ids is None else np.array(ids)], table.shape[1], threshold
    ).tolist()


def test_the_most_similar_pair_is_linked_first_although_the_sum_would_be_higher_otherwise():
    assert link([0.9, 0.8], [0.8, 0.1]) == [0, -1]


def test_the_threshold_is_included_and_zero_never_links():
    assert link([0.2, 0.0], [0.0, 0.19]) == [0, -1]
    assert link([0.0, 0.0], threshold=0.0) == [-1, -1]
    assert link([0.0, 1e-9], threshold=0.0) == [-1, 0]


def test_an_id_is_handed_over_once_though_older_frames_have_it_too():
    newer, older = np.array([[0.9, 0.5]]), np.array([[0.4, 0.8], [0.1, 0.3]])
    ids = [np.array([7]), np.array([7, 3])]
    assert linking.link([newer, older], ids, 2, 0.2).tolist() == [7, 3]
    assert linking.link([newer, older[:1]], [ids[0], ids[1][:1]], 2, 0.2).tolist() == [7, -1]


def test_of_equal_pairs_the_first_current_pose_then_the_newest_frame_then_the_first_pose_is_linked():
    assert link([0.5, 0.5]) == [0, -1]
    assert linking.link([np.full((1, 1), 0.5)] * 2, [np.array([4]), np.array([2])], 1, 0.2).tolist() == [4]
    assert link([0.5], [0.5], ids=[8, 6]) == [8]


def test_without_earlier_or_current_people_there_is_nothing_to_link():
    assert linking.link([], [], 2, 0.2).tolist() == [-1, -1]
    assert linking.link([np.zeros((3, 0))], [np.arange(3)], 0, 0.2).tolist() == []
    assert linking.link([np.zeros((0, 2))], [np.arange(0)], 2, 0.2).tolist() == [-1, -1]


def test_new_people_are_numbered_in_order():
    assert linking.number(np.array([-1, 5, -1]), 9).tolist() == [9, 5, 10]


def near(earlier: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Returns a similarity that falls with the distance of the first joint."""
    return np.maximum(0, 1 - np.abs(earlier[:, None, 0, 0] - current[None, :, 0, 0]) / 10)


def at(*places: float) -> np.ndarray:
    return np.array([[[x, 0, 1]] for x in places], float).reshape(-1, 1, 3)


def follow(frames, memory, **options) -> list[list[int]]:
    return [ids.tolist() for ids in linking.follow(frames, near, memory, **options)]


def test_memory_bridges_gaps_of_its_length():
    frames = [at(0, 50), at(51), at(1, 52), at(), at(), at(2)]
    assert follow(frames, 1) == [[0, 1], [1], [2, 1], [], [], [3]]
    assert follow(frames, 2) == [[0, 1], [1], [0, 1], [], [], [2]]
    assert follow(frames, 3) == [[0, 1], [1], [0, 1], [], [], [0]]


def test_of_equally_similar_people_the_one_of_the_newest_frame_is_linked():
    assert follow([at(0), at(9), at(4.5)], 2) == [[0], [1], [1]]


def test_a_number_is_never_used_again():
    assert follow([at(0), at(100), at(0), at(100)], 1) == [[0], [1], [2], [3]]


def test_flow_carries_people_over_all_remembered_frames():
    frames, flow = [at(0), at(), at(40)], np.broadcast_to([20.0, 0.0], (1, 100, 2))
    assert follow(frames, 2) == [[0], [], [1]]
    assert follow(frames, 2, flows=[flow, flow]) == [[0], [], [0]]
    assert frames[0][0, 0, 0] == 0


def link_optimally(*rows, ids=None, threshold=0.2) -> list[int]:
    table = np.array(rows, float)
    numbers = np.arange(len(table)) if ids is None else np.array(ids)
    return linking.link_optimally([table], [numbers], table.shape[1], threshold).tolist()


def test_the_optimal_assignment_has_the_largest_sum_of_similar_pairs():
    assert link_optimally([0.9, 0.8], [0.8, 0.1]) == [1, 0]
    assert link_optimally([0.9, 0.3], [0.3, 0.1]) == [0, -1]
    assert link_optimally([0.9, 0.19], [0.1, 0.1]) == [0, -1]
    assert link_optimally([0.0, 0.0], threshold=0.0) == [-1, -1]


def test_the_optimal_assignment_gives_each_id_once_by_its_most_similar_pose():
    assert link_optimally([0.3, 0.9], [0.6, 0.3], [0.5, 0.0], ids=[7, 7, 3]) == [3, 7]
    assert linking.link_optimally([], [], 2, 0.2).tolist() == [-1, -1]
    assert link_optimally(np.zeros(0)) == []
    assert linking.link_optimally([np.zeros((0, 2))], [np.arange(0)], 2, 0.2).tolist() == [-1, -1]
