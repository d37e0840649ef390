import made_predictor as made
import pytest

from hrnet_jax.predict import sources


def names(found: sources.Sources) -> list[str]:
    return [found.name(path) for path in found.paths]


@pytest.fixture
def tree(tmp_path):
    for name in ("b.jpg", "a.png", "deep/c.JPG", "deep/clip.mp4", "notes.md", ".hidden.jpg", "deep/.git/x.jpg"):
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_folders_are_searched_in_order(tree):
    assert names(sources.find([str(tree)])) == ["a.png", "b.jpg", "deep/c.JPG", "deep/clip.mp4"]


def test_globs_lists_and_standard_input_name_photos(tree, monkeypatch):
    assert names(sources.find([f"{tree}/*.png"])) == ["a.png"]
    assert names(sources.find([f"{tree}/**/*.JPG"])) == ["c.JPG"]
    assert names(sources.find([f"{tree}/d*"])) == ["c.JPG", "clip.mp4"]
    (tree / "list.txt").write_text(f"{tree}/b.jpg\n\n  {tree}/deep/c.JPG \n{tree}/missing.jpg\n")
    assert names(sources.find([str(tree / "list.txt")])) == ["b.jpg", "c.JPG", "missing.jpg"]
    lines = [f"{tree}/b.jpg\n", f"{tree}/a.png\n"]
    assert names(sources.find(["-"], stdin=lines)) == ["b.jpg", "a.png"]


def test_results_have_short_names_that_differ(tmp_path):
    for name in ("a/x.png", "a/deep/y.png", "b/x.png", "b/z.png"):
        made.write_photo(tmp_path / name, made.noise(0))
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert names(sources.find([a, f"{b}/z.png"])) == ["deep/y.png", "x.png", "z.png"]
    assert names(sources.find([f"{a}/x.png", f"{b}/z.png"])) == ["x.png", "z.png"]
    assert names(sources.find([a, f"{b}/x.png"])) == ["a/deep/y.png", "a/x.png", "b/x.png"]
    assert names(sources.find([a, f"{a}/deep/y.png"])) == ["deep/y.png", "x.png"]


def test_photos_named_twice_are_predicted_once(tree):
    assert names(sources.find([f"{tree}/b.jpg", str(tree)])) == ["b.jpg", "a.png", "deep/c.JPG", "deep/clip.mp4"]


def test_a_file_with_glob_characters_is_a_file(tmp_path):
    made.write_photo(tmp_path / "what[1]?.png", made.noise(0))
    assert names(sources.find([str(tmp_path / "what[1]?.png")])) == ["what[1]?.png"]


def test_videos_are_told_by_their_suffix():
    assert sources.is_video("a/b.MP4") and sources.is_video("x.webm") and not sources.is_video("mp4.jpg")


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_processes_share_all_photos(folder, processes):
    found = sources.find([str(folder)])
    shares = [found.share(process, processes) for process in range(processes)]
    assert sorted(path for share in shares for path in share) == sorted(found.paths)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(ValueError, match=r"--process \(=9\) must be at least 0 and below --processes"):
        found.share(9, processes)


def test_mistakes_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg does not exist"):
        sources.find([str(tmp_path / "nowhere.jpg")])
    with pytest.raises(FileNotFoundError, match="no file matches it"):
        sources.find([str(tmp_path / "*.jpg")])
    with pytest.raises(ValueError, match="nothing to predict: there is no photo or video in"):
        sources.find([str(tmp_path)])
    with pytest.raises(ValueError, match="nothing to predict: give photos"):
        sources.find([])
