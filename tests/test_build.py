"""The build script: what it strips, what it refuses, and that `--check` notices edits."""

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import setuptools
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

LESSON = '''\
# %% [markdown]
# # 42 · A tiny lesson

# %%
# %matplotlib inline
import os

import matplotlib.pyplot as plt

# %%
def answer() -> int:
    """The answer."""
    ### BEGIN SOLUTION
    return 6 * 7
    ### END SOLUTION


try:
    print(answer())
except NotImplementedError:
    print("no answer", os.environ.get("LESSONS_STRICT"))

# %% tags=["solution"]
print("only in the solution", os.environ["LESSONS_STRICT"])

# %% tags=["nbsphinx-thumbnail"]
figure = plt.figure(figsize=(6, 4))
plt.plot([1, 2])

# %%
1

# %%
1
'''


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / "solutions" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load()


def lesson(root: Path, text: str = LESSON) -> Path:
    source = root / "solutions" / "42_tiny.py"
    source.parent.mkdir(exist_ok=True)
    source.write_text(text, encoding="utf-8")
    return source


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files that building the tiny lesson writes (once: starting kernels takes seconds)."""
    root = tmp_path_factory.mktemp("built")
    lesson(root)
    assert build.main(["42"], root) == 0
    with Image.open(root / "data" / "thumbnails" / "42_tiny.png") as thumbnail:
        assert thumbnail.width == 320
    return {
        folder: (root / folder / "42_tiny.ipynb").read_text(encoding="utf-8")
        for folder in ("solutions", "notebooks")
    }


@pytest.fixture
def course(built: dict[str, str], tmp_path: Path) -> Path:
    """A folder that holds the tiny lesson and its two committed notebooks."""
    lesson(tmp_path)
    for folder, text in built.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "42_tiny.ipynb").write_text(text, encoding="utf-8")
    return tmp_path


def outputs(text: str) -> str:
    cells = nbformat.reads(text, as_version=4).cells
    return "".join(o.get("text", "") for cell in cells for o in cell.get("outputs", []))


def test_the_student_gets_stubs_and_the_solution_runs_strictly(built: dict[str, str]) -> None:
    assert "6 * 7" in built["solutions"]
    assert "42" in outputs(built["solutions"])
    assert "only in the solution 1" in outputs(built["solutions"])
    student = built["notebooks"]
    assert build.STUB in student
    assert "no answer None" in outputs(student)
    for hidden in ("6 * 7", "only in the solution", "SOLUTION"):
        assert hidden not in student


def test_nothing_that_varies_is_kept(built: dict[str, str]) -> None:
    for text in built.values():
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata.keys() == {"kernelspec", "language_info"}
        assert notebook.metadata.language_info == {"name": "python"}
        assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


def test_ids_are_unique_and_depend_on_the_text_alone(tmp_path: Path) -> None:
    first, again = build.solved(lesson(tmp_path)), build.solved(lesson(tmp_path))
    ids = [cell.id for cell in first.cells]
    assert len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in again.cells]
    inserted = build.solved(lesson(tmp_path, "# %%\n0\n\n" + LESSON))
    assert ids == [cell.id for cell in inserted.cells][1:]
    student = [cell.id for cell in build.stripped(first).cells]
    assert [i for i in ids if i in student] == student


def test_check_accepts_what_was_built(course: Path) -> None:
    assert build.main(["--check"], course) == 0


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"source": "print('edited')"}, "cell 3: source differs"),
        ({"id": "0123456789ab"}, "cell 3: id differs"),
        ({"metadata": {"tags": ["other"]}}, "cell 3: tags differ"),
        ({"execution_count": None}, "cell 3 was never executed"),
    ],
)
def test_check_names_the_first_difference(
    course: Path, folder: str, edit: dict, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = course / folder / "42_tiny.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][2].update(edit)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert build.main(["42", "--check"], course) == 1
    assert f"{folder}/42_tiny.ipynb, {says}" in capsys.readouterr().err


def test_check_notices_an_edited_source_and_missing_cells(course: Path) -> None:
    lesson(course, LESSON.replace("6 * 7", "7 * 6"))
    assert build.main(["--check"], course) == 1
    lesson(course, LESSON + "\n# %%\n2\n")
    assert build.main(["--check"], course) == 1
    lesson(course)
    (course / "notebooks" / "42_tiny.ipynb").unlink()
    assert build.main(["--check"], course) == 1


def test_text_alone_is_written_without_executing_anything(
    course: Path, built: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    lesson(course, LESSON.replace("A tiny lesson", "A small lesson"))
    assert build.main(["42", "--text"], course) == 0
    assert build.main(["42", "--check"], course) == 0
    for folder, before in built.items():
        after = (course / folder / "42_tiny.ipynb").read_text(encoding="utf-8")
        assert "A small lesson" in after
        assert outputs(after) == outputs(before)
    lesson(course, LESSON.replace("6 * 7", "7 * 6"))
    assert build.main(["42", "--text"], course) == 1
    assert "code has changed" in capsys.readouterr().err
    text = (course / "notebooks" / "42_tiny.ipynb").read_text(encoding="utf-8")
    assert "A small lesson" in text, "nothing is written then"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    ### END SOLUTION\n", "", "do not pair up"),
        ("    ### BEGIN SOLUTION\n", "", "do not pair up"),
        ("# %matplotlib inline", "# %matplotlib widget", "only %matplotlib inline"),
        ("# %matplotlib inline", "# !ls", "only %matplotlib inline"),
        ("import os\n", "import os\n" * 20, "lines of code"),
    ],
)
def test_a_lesson_that_breaks_a_rule_is_refused_before_it_runs(
    tmp_path: Path, old: str, new: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in LESSON
    lesson(tmp_path, LESSON.replace(old, new, 1))
    assert build.main(["42"], tmp_path) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ipynb"))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; print('!', file=sys.stderr)", "a warning"),
        ("raise ValueError('broken lesson')", "broken lesson"),
    ],
)
def test_a_lesson_that_warns_or_fails_writes_nothing(
    tmp_path: Path, code: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lesson(tmp_path, f"# %%\n{code}\n")
    assert build.main(["42"], tmp_path) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ipynb"))


def test_an_unknown_lesson_is_an_error(course: Path) -> None:
    assert build.main(["77", "--check"], course) == 1


@pytest.mark.parametrize(
    ("printed", "compared"),
    [
        ("restored in 12.5 s on cuda:0", "restored in SECONDS on DEVICE"),
        ("3 minutes, 0.2ms, 1e-3 seconds", "SECONDS, SECONDS, SECONDS"),
        ("/home/me/.cache/x.png and ~/data/x", "PATH and PATH"),
        (r"C:\Users\me\x.png", "PATH"),
        ("<Figure at 0x7f3a12bc4d90>", "<Figure at ADDRESS>"),
        (" 40%|████      | 4/10 [00:01<00:02,  3.1it/s]", "PROGRESS"),
        ("camera 27.1 dB, +6.5 dB, 25/255, and/or", "camera 27.1 dB, +6.5 dB, 25/255, and/or"),
        ("shape (1, 1, 256, 256), 0.59", "shape (1, 1, 256, 256), 0.59"),
    ],
)
def test_nbval_masks_what_varies_and_never_a_score(printed: str, compared: str) -> None:
    rules = configparser.RawConfigParser()
    rules.read(ROOT / "tests" / "nbval_sanitize.cfg", encoding="utf-8")
    for name in rules.sections():
        printed = re.sub(rules[name]["regex"], rules[name]["replace"], printed)
    assert printed == compared


def test_the_playground_has_no_solution(tmp_path: Path) -> None:
    text = LESSON.replace("### BEGIN SOLUTION\n    return", "return")
    text = text.replace("    ### END SOLUTION\n", "").replace(', os.environ["LESSONS_STRICT"]', "")
    lesson(tmp_path, text).rename(tmp_path / "solutions" / "playground.py")
    assert build.main(["playground"], tmp_path) == 0
    assert [path.name for path in tmp_path.rglob("*.ipynb")] == ["playground.ipynb"]
    assert build.main(["--check"], tmp_path) == 0
    (tmp_path / "notebooks" / "playground.ipynb").unlink()
    assert build.main(["--check"], tmp_path) == 1


# Elsewhere ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_first_cell_installs_the_library_where_it_is_missing(
    built: dict[str, str], tmp_path: Path
) -> None:
    """In an environment that has what the library needs but not the library, as Colab does."""
    cell = nbformat.reads(built["notebooks"], as_version=4).cells[1].source
    assert build.REPOSITORY in cell
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    folder = "Scripts" if os.name == "nt" else "bin"
    python = tmp_path / "bare" / folder / "python"
    packages = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    shutil.rmtree(Path(packages) / "setuptools", ignore_errors=True)
    shutil.copytree(Path(setuptools.__file__).parent, Path(packages) / "setuptools")
    # The repository is this one, and what is installed beside the library is as it is.
    environment = os.environ | {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": build.REPOSITORY,
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "without"
    }
    environment.pop("PYTHONPATH", None)
    after = "import lessons_lib, lessons_data; print(lessons_lib.__version__)"
    for _ in range(2):
        ran = subprocess.run(
            [python, "-c", f"{cell}\n{after}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.strip() == "0.1.0"
        assert not ran.stderr
        environment["PIP_NO_INDEX"] = "1"  # now it is there, and nothing is called
        environment["GIT_CONFIG_KEY_0"] = "url.file:///nowhere.insteadOf"
