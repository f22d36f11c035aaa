"""The benchmark measures what it says, and the documentation holds what it measured."""

import copy
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from lessons_lib.checkpoints import load_card
from lessons_lib.evaluation.report import fill
from lessons_lib.models import build, restore

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def speed(script):
    return script("speed")


def test_the_papers_blocks_restore_the_same_image(speed):
    """SC codes each patch by itself, and each patch of 9 pixels lies in one block only."""
    model = build("sc", {"patch": 9, "atoms": 20, "steps": 3})
    noisy = torch.rand(1, 1, 70, 120, generator=torch.Generator().manual_seed(0))
    found = speed.authors_way(model, noisy)
    assert found.shape == noisy.shape
    whole = restore(model, noisy, tile=200, precision="fp32")
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_the_photograph_has_any_size(speed):
    assert speed.photograph().shape == (1, 1, 321, 481)
    large = speed.photograph(700, 1300)
    assert large.shape == (1, 1, 700, 1300)
    assert large[..., :512, :512].equal(large[..., :512, 512:1024].flip(-1))


def test_the_slope_is_the_exponent(speed):
    rows = [{"megapixels": x, "seconds": 3 * x**1.5} for x in (0.1, 1.0, 7.0)]
    assert abs(speed.slope(rows) - 1.5) < 1e-5


@pytest.fixture(scope="module")
def kept():
    return json.loads((ROOT / "data" / "speed.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")


def test_the_documentation_holds_what_was_measured(speed, kept, page):
    assert fill(page, speed.tables(kept)) == page


def test_the_page_says_which_sections_are_of_earlier_weights(speed, kept, page):
    blocks = dict(re.findall(r"<!-- results: (.+?) -->\n(.*?)<!-- end", page, re.DOTALL))
    for kind, sections in kept.items():
        for name, section in sections.items():
            found = re.findall(
                r"Measured with earlier weights of (.+)\.", blocks[f"{name}, {kind}"]
            )
            old = speed.replaced(name, section)
            assert found == ([", ".join(old)] if old else []), f"{name}, {kind}: measure it again"
            assert set(section.get("weights", {})) <= set(speed.WEIGHTS.get(name, ()))


def test_weights_that_are_replaced_are_told(speed, kept):
    """The section of images is of today's weights, until one of them is another."""
    image = kept["processor"]["image"]
    image = image | {"weights": {one: load_card(one).sha256 for one in speed.WEIGHTS["image"]}}
    assert speed.replaced("image", image) == []
    changed = copy.deepcopy(image)
    changed["weights"]["ffdnet-gray"] = "0" * 64
    del changed["weights"]["sc-gray-25"]
    assert speed.replaced("image", changed) == ["sc-gray-25", "ffdnet-gray"]
    told = speed.tables({"processor": {"image": changed}})["image, processor"]
    assert told.endswith("\n\nMeasured with earlier weights of sc-gray-25, ffdnet-gray.")


@pytest.mark.parametrize(("first", "others", "runs"), [(99, 1, 4), (99, 31, 2), (1, 1, 4)])
def test_the_second_run_decides_how_many_there_are(speed, monkeypatch, first, others, runs):
    now, each = [0.0], []

    def work():
        each.append(first if not each else others)
        now[0] += each[-1]
        return len(each)

    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    assert speed.timed(work, "cpu", 3) == (others, runs)


def test_linux_counts_memory_in_1024_bytes(speed, monkeypatch):
    monkeypatch.setattr(
        speed.Path, "read_text", lambda *_, **__: "VmPeak: 1 kB\nVmHWM:\t 2000 kB\n"
    )
    assert speed.memory("VmHWM") == pytest.approx(2.048)


@pytest.fixture
def run(speed, monkeypatch, tmp_path):
    """Runs the script with sections of its own, and a page that only counts."""
    shown = []
    monkeypatch.setattr(speed, "RESULTS", tmp_path / "speed.json")
    monkeypatch.setattr(speed, "show", lambda results: shown.append(sorted(results["processor"])))
    monkeypatch.setattr(speed.torch.cuda, "is_available", lambda: False)
    for name in speed.SECTIONS:
        monkeypatch.setitem(speed.SECTIONS, name, lambda device, repeats: [{"repeats": repeats}])

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["speed.py", *arguments])
        shown.clear()
        speed.main()
        return shown

    return call


def test_each_section_is_kept_and_shown_when_it_is_done(speed, run, monkeypatch):
    assert run("knobs", "gates", "--write") == [["knobs"], ["gates", "knobs"]]

    def interrupted(device, repeats):
        raise KeyboardInterrupt

    monkeypatch.setitem(speed.SECTIONS, "roofline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("step", "roofline", "--write")
    found = json.loads(speed.RESULTS.read_text(encoding="utf-8"))["processor"]
    assert set(found) == {"knobs", "gates", "step"}
    assert found["knobs"]["weights"] == {speed.MODEL: load_card(speed.MODEL).sha256}
    assert found["gates"]["weights"] == {}


def test_memory_is_left_out_where_linux_is_missing(speed, run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "CLEAR", tmp_path / "clear_refs")
    assert run("size", "gates", "--write") == [["gates"]]
    assert capsys.readouterr().out.splitlines()[0].startswith("size: left out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foo"], "invalid choice: 'foo' (choose from"),
        (["gates", "--repeats", "0"], "0 is less than 1"),
        (["image"], "unknown model"),
    ],
)
def test_wrong_arguments_are_refused(speed, run, monkeypatch, capsys, arguments, message):
    monkeypatch.setitem(speed.WEIGHTS, "image", ("nothing-gray",))
    with pytest.raises(SystemExit):
        run(*arguments)
    told = capsys.readouterr().err
    assert message in told
    assert "[]" not in told


def test_what_is_kept_is_whole(speed, tmp_path, monkeypatch):
    file = tmp_path / "kept.json"
    assert speed.kept(file) == {}
    speed.keep(file, {"a": 1})
    assert speed.kept(file) == {"a": 1}

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        speed.keep(file, {"a": 2})
    assert speed.kept(file) == {"a": 1}
