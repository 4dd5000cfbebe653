"""Every test has a cache of its own; slow ones run with --slow, those for a GPU or a browser where there is one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("charrnn", deadline=None)  # no test is about time
settings.load_profile("charrnn")

# The networks of the tests are so small that more threads would only wait for each other. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LEFT_OUT = pytest.StashKey[list[str]]()
REASONS = {
    "slow": "--slow runs them",
    "gpu": "this machine has no CUDA or Apple GPU",
    "browser": "this machine has no Chromium or Chrome; on Debian or Ubuntu: sudo apt-get install chromium",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_BROWSERS = ("Google Chrome", "Chromium")


@pytest.fixture
def use_threads() -> Iterator[Callable[[int], None]]:
    """Lets torch have so many threads, until the test ends."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    wanted = {
        "slow": config.getoption("--slow"),
        "gpu": torch.cuda.is_available() or torch.backends.mps.is_available(),
        "browser": find_browser() is not None,
    }
    config.stash[LEFT_OUT] = [
        f"left out: {count} tests marked {marker} ({REASONS[marker]})"
        for marker, on in wanted.items()
        if not on and (count := sum(item.get_closest_marker(marker) is not None for item in items))
    ]
    left_out = [item for item in items if any(item.get_closest_marker(m) and not on for m, on in wanted.items())]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash.get(LEFT_OUT, [])  # none where collecting failed


def find_browser() -> str | None:
    """The program of a Chromium or Chrome that is installed."""
    on_mac = [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in MAC_BROWSERS]
    return next(filter(None, map(shutil.which, [*BROWSERS, *on_mac])), None)


@pytest.fixture(scope="session")
def browser_program() -> str:
    found = find_browser()
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
