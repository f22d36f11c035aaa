"""`lessons models`: what is said of weights."""

import json
from pathlib import Path

import pytest

from lessons_lib.cli import main
from lessons_lib.evaluation import against
from lessons_lib.evaluation.against import matches
from lessons_lib.evaluation.scores import read_score


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as end:
        main(["models", *arguments])
    said = capsys.readouterr()
    return int(end.value.code or 0), (said.out + said.err).splitlines()


def test_weights_are_shown_with_their_scores_and_where_bm3d_is_better(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = run(capsys, "show", "groupsc-gray-25")
    assert code == 0
    assert "parameters:  68,434" in lines
    (head,) = (line for line in lines if line.startswith("data set"))
    assert head.split() == ["data", "set", "setting", "PSNR", "print", "BM3D", "worst"]
    (drawn,) = (line for line in lines if line.startswith("Unlike12"))
    assert drawn.endswith("weave")
    (photographs,) = (line for line in lines if line.startswith("BSD68"))
    assert photographs.split()[3] == "29.20"


def test_published_weights_and_those_without_a_score(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(capsys, "show", "nlrn-gray-15@titsitits")
    assert code == 0
    assert "trained for: sigma=15" in lines
    code, lines = run(capsys, "show", "groupsc-grey-25")
    assert code == 2
    assert len(lines) == 1
    assert "groupsc-gray-25" in lines[0]


def test_multiply_accumulates_are_those_of_papers(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = run(capsys, "--macs")
    found = {line.split()[0]: line.split()[4] for line in lines if "@cszn" in line}
    assert found["dncnn-gray-25@cszn"] == "554"
    # A quarter of what its weights would cost at full size.
    assert found["ffdnet-gray@cszn"] == "121"


def kept(folder: Path, method: str, psnrs: dict[str, float]) -> None:
    source = Path(__file__).parents[1] / "data" / "scores" / "BSD68-25-bm3d.json"
    content = json.loads(source.read_text())
    row = content["per_image"][0]
    content["method"] = method
    content["per_image"] = [row | {"file": file, "psnr": psnr} for file, psnr in psnrs.items()]
    (folder / f"{method}.json").write_text(json.dumps(content))
    read_score(folder / f"{method}.json")


def test_a_match_is_image_by_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path, "bm3d", {"a": 30.0, "b": 31.0, "c": 29.0})
    kept(tmp_path, "dct", {"a": 31.0, "b": 29.5, "d": 60.0})
    monkeypatch.setattr(against, "shipped", lambda name: tmp_path)
    (found,) = matches("dct")
    assert found.mean == pytest.approx(-0.25)
    assert (found.worst, found.worst_difference) == ("b", pytest.approx(-1.5))
    assert not matches("nlm")
    (same,) = matches("bm3d")
    assert same.mean == same.worst_difference == 0
