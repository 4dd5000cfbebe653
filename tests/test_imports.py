"""Who may import whom, and what a first look at the program costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
# Each imports from those before it, and from itself; the package itself (`charrnn`) is the first and the last.
ROOMS = (
    *("base", "text", "network", "model_directory", "checkpoint", "training", "generation", "tasks", "inspection"),
    *("api", "cli"),
)
BASE = {"errors", "storage", "settings"}
SEPARATE = {("generation", "training")}
HEAVY = {"torch", "numpy", "tokenizers", "numba", "safetensors", "matplotlib", "charset_normalizer", "tqdm"}

MODULES = {
    ".".join(("charrnn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
INSIDE = sorted(MODULES.keys() - {"charrnn", "charrnn.__main__"})


def imports(module: str) -> Iterator[str]:
    """Everything `module` imports at any level, as whole names of modules."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def room(module: str) -> str:
    """Where a module of the package lies; `charrnn` itself holds only a version and errors."""
    name = (module + ".").split(".")[1]
    return "base" if name in BASE or not name else name


def may_import(importer: str, imported: str) -> bool:
    a, b = room(importer), room(imported)
    return ROOMS.index(b) <= ROOMS.index(a) and (a, b) not in SEPARATE


def test_every_module_lies_in_a_room() -> None:
    assert {room(module) for module in INSIDE} == set(ROOMS)


@pytest.mark.parametrize("module", INSIDE)
def test_a_module_imports_only_from_the_rooms_before_its_own(module: str) -> None:
    inside = {name for name in imports(module) if name.split(".")[0] == "charrnn"}
    assert inside <= MODULES.keys()
    assert [name for name in sorted(inside) if not may_import(module, name)] == []


@pytest.mark.parametrize("module", [module for module in INSIDE if room(module) == "tasks"])
def test_tasks_do_not_import_each_other(module: str) -> None:
    task = module.split(".")[2:3]
    others = {name.split(".")[2] for name in imports(module) if room(name) == "tasks" and name.count(".") >= 2}
    assert others <= set(task)


@pytest.mark.parametrize("module", [module for module in INSIDE if room(module) in ("base", "text")])
def test_text_and_what_is_below_it_need_no_torch(module: str) -> None:
    assert "torch" not in {name.split(".")[0] for name in imports(module)}


def loaded_by(code: str) -> set[str]:
    """The top-level packages that are loaded when `code` has run in a new process."""
    script = f"import sys, atexit\natexit.register(lambda: print('loaded:', *sys.modules))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return {name.split(".")[0] for name in done.stdout.split("loaded: ")[-1].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import charrnn",
        "import charrnn; charrnn.UsageError, charrnn.__version__",
        "import sys; sys.argv = ['charrnn', '--help']; from charrnn.cli import main; main()",
        "import sys; sys.argv = ['charrnn', '--version']; from charrnn.cli import main; main()",
    ],
    ids=["import", "errors", "help", "version"],
)
def test_a_first_look_loads_nothing_heavy(code: str) -> None:
    loaded = loaded_by(code)
    assert "charrnn" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "command", ["train", "generate", "evaluate", "classify", "translate", "summarize", "inspect", "corpus"]
)
def test_the_help_of_a_command_loads_no_torch(command: str) -> None:
    loaded = loaded_by(
        f"import sys; sys.argv = ['charrnn', '{command}', '--help']; from charrnn.cli import main; main()"
    )
    assert "click" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize(
    "code",
    [
        "from charrnn.text import batches, corpora, dataset, download, lanes, noise, reading, tables, vocab",
        "from charrnn.generation import novelty",
    ],
    ids=["text", "novelty"],
)
def test_reading_and_comparing_text_load_no_torch(code: str) -> None:
    loaded = loaded_by(code)
    assert "numpy" in loaded
    assert "torch" not in loaded
