"""The README and its companions say what is true: links, lessons, minutes, commands, code."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lessons_lib.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md"]
DOCUMENTS += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(page: Path) -> list[str]:
    """What links within a page lead to: its headings, as GitHub spells them in an address."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def title_and_minutes(lesson: str) -> tuple[str, str]:
    """What the first cells of a notebook say of it."""
    cells = json.loads(text_of(f"notebooks/{lesson}.ipynb"))["cells"]
    opening = "\n".join("".join(cell["source"]) for cell in cells[:3])
    title = re.search(r"^# (.+)", opening, re.MULTILINE)
    minutes = re.search(r"\*\*Time:?\*\*:?\s*(?:about )?(\d+) minutes", opening)
    assert title, f"{lesson} has no title"
    assert minutes, f"{lesson} does not say how long it takes"
    return title[1], minutes[1]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_local_links_lead_somewhere(document: str):
    text = text_of(document)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    here = ROOT / document
    for link in links:
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = here.parent / name if name else here
        assert target.exists(), f"{document} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{document} links to {link}"


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_lesson_is_in_the_table_with_its_minutes(lesson: str):
    rows = [line for line in text_of("README.md").splitlines() if f"](notebooks/{lesson}" in line]
    assert len(rows) == 1
    title, minutes = title_and_minutes(lesson)
    assert rows[0].endswith(f"| {minutes} |")
    assert f"data/thumbnails/{lesson}.png" in rows[0]
    assert title.split(":")[0] in rows[0]


@pytest.mark.parametrize("lesson", LESSONS)
def test_links_between_lessons_lead_to_lessons(lesson: str):
    cells = json.loads(text_of(f"notebooks/{lesson}.ipynb"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for link in re.findall(r"\]\(([\w./]+\.ipynb)\)", text):
        name = Path(link).stem
        # A lesson may announce the one after it before that is written, and no other.
        following = f"{int(lesson[:2]) + 1:02d}_"
        assert name in LESSONS or (lesson == LESSONS[-1] and name.startswith(following))


@pytest.mark.slow
def test_the_librarys_example_runs_and_denoises():
    code = re.search(r"```python\n(import torch.+?)```", text_of("README.md"), re.DOTALL)
    assert code
    done = subprocess.run(
        [sys.executable, "-c", code[1]], capture_output=True, text=True, cwd=ROOT, check=True
    )
    noisy, estimate = (float(value) for value in re.findall(r"tensor\(\[([\d.]+)\]", done.stdout))
    assert estimate > noisy + 5


def commands_of(name: str) -> list[str]:
    """What follows ``lessons`` in a page's blocks of commands, and in its text."""
    text = text_of(name)
    blocks = "\n".join(re.findall(r"```(?:bash)?\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`(lessons [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.partition("#")[0].strip() for line in blocks.splitlines()]
    found = [line for line in lines if line.startswith("lessons ")] + inline
    return sorted({" ".join(line.split())[len("lessons ") :] for line in found})


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/teaching.md"])
def test_commands_and_options_of_the_pages_exist(page: str):
    commands = commands_of(page)
    assert commands
    for command in commands:
        known: Any = get_command(app)
        words = command.split()
        while words and hasattr(known, "commands"):
            assert words[0] in known.commands, f"lessons {command}"
            known = known.commands[words.pop(0)]
        options = {option for parameter in known.params for option in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word in options, f"{word} of lessons {command}"
