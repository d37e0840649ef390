"""What the tests share: strict JAX, four simulated devices, the reference data where it is at hand."""

import gc
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

import jax
import pytest
from absl import flags

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Tests mostly wait for compilation. Without optimizations it takes a third of the time. The programs are slower
# but compute the same up to rounding. The environment passes this on to programs that the tests start.
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
flags.FLAGS.mark_as_parsed()  # grain's worker processes read absl's flags

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory) -> None:
    """Keeps what programs cache out of the user's home, in a folder for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")


@pytest.fixture(scope="module", autouse=True)
def memory() -> Iterator[None]:
    """Gives back what a module's programs and arrays took: gigabytes, with several processes beside each other."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of reference numbers and real photos beside the project."""
    if not (SHARED / "conformance").is_dir():
        pytest.skip(f"the reference data is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def coco_data(shared, tmp_path_factory) -> pathlib.Path:
    """The four real COCO photos with their detections, prepared as records."""
    from hrnet_jax import prepare

    out = tmp_path_factory.mktemp("coco_four")
    prepare.prepare_coco(shared / "real" / "coco_four", out)
    return out


@pytest.fixture(scope="session")
def made_up_records(tmp_path_factory) -> pathlib.Path:
    """A handful of made-up people, prepared."""
    from hrnet_jax import prepare
    from hrnet_jax.datasets.made_up import dataset

    root = tmp_path_factory.mktemp("made_up")
    dataset.write(root / "photos", train_photos=12, val_photos=6, workers=1)
    prepare.prepare_coco(root / "photos", root / "records")
    return root / "records"


@pytest.fixture(scope="session")
def tiny(made_up_records) -> list[str]:
    """The flags of a training run of ten steps."""
    import killing

    return [*killing.TINY, f"--config.data.dir={made_up_records}"]


@pytest.fixture(scope="session")
def whole_run(tiny, tmp_path_factory) -> pathlib.Path:
    """That run, left in peace."""
    import killing

    workdir = tmp_path_factory.mktemp("runs") / "whole"
    killing.finish(killing.start(tiny, workdir))
    return workdir


@pytest.fixture
def shallow_resnet(monkeypatch) -> Iterator[None]:
    """Makes a ResNet-50 of few blocks."""
    import made_weights

    from hrnet_jax import models
    from hrnet_jax.compare import jax_runner
    from hrnet_jax.models import simple_baseline

    monkeypatch.setitem(simple_baseline.BLOCKS, 50, (1, 1, 1, 1))
    caches = models._shapes, jax_runner._kinds, made_weights._fresh, made_weights._variables
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def torch():
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def optimized() -> Iterator[None]:
    """Compiles as users do, where rounding, memory or the time of large networks matters."""
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Debian's chromium, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no `chromium` to open the page in; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium)
        yield opened
        opened.close()


@pytest.fixture
def open_tab(browser) -> Iterator[Callable]:
    """Opens a file in the browser. At the end, checks that there was no error and no request to the network.

    `expected_error` is part of the messages that the page may cause. `fragment` is the end of the address.
    """
    contexts, messages, requests = [], [], []

    def open_page(path: pathlib.Path, expected_error: str | None = None, fragment: str = "", **options):
        def note(message: str) -> None:
            if expected_error is None or expected_error not in message:
                messages.append(message)

        contexts.append(browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(10_000)
        tab.on("console", lambda message: note(message.text))
        tab.on("pageerror", lambda error: note(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri() + fragment)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
