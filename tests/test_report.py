"""Published rows, kept scores, the tables made of them, and the conventions behind a gap."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lessons_lib import checkpoints, data
from lessons_lib.checkpoints import cards
from lessons_lib.cli import main
from lessons_lib.evaluation import Inference, Score, denoising, evaluate
from lessons_lib.evaluation.ablations import STUDIES
from lessons_lib.evaluation.benchmark import ImageScore
from lessons_lib.evaluation.explain_gap import (
    NOT_ROUNDED,
    Convention,
    conventions,
    explain_gap,
    explain_training,
    split_gap,
)
from lessons_lib.evaluation.methods import MethodError
from lessons_lib.evaluation.paper import published, rows
from lessons_lib.evaluation.protocols import jpeg_restoration
from lessons_lib.evaluation.report import ReportError, fill, tables
from lessons_lib.evaluation.scores import read_score, store, stored
from lessons_lib.evaluation.unfinished import Unfinished
from lessons_lib.models import GROUPSC_PIXELS, MODELS
from lessons_lib.published import published_weights
from lessons_lib.training.files import Files
from lessons_lib.training.log import Log
from lessons_lib.training.queue import read_queue

ROOT = Path(__file__).parents[1]
SCORES = ROOT / "data" / "scores"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


# What was published --------------------------------------------------------------------------


def test_published_rows_of_the_proposing_paper():
    bm3d = published("bm3d", denoising("Set12", 25))
    assert (bm3d.psnr, bm3d.ssim) == (29.97, 0.8504)
    assert published("sc-gray-25", denoising("BSD68", 25)).psnr == 28.90
    assert published("bm3d", denoising("CBSD68", 50)).method == "CBM3D"
    assert published("dct", denoising("BSD68", 25)) is None
    assert published("bm3d", denoising("BSD68", 26)) is None
    assert published("bm3d", replace(denoising("BSD68", 25), task="jpeg")) is None
    # Two tables of one paper print 33.75, its authors' weights and another paper 33.77.
    assert published("dncnn-3@cszn", jpeg_restoration("Classic5", 40)).psnr == 33.77


def test_an_ssim_of_another_definition_is_not_shown_as_ours():
    # NSR's 0.7800 is that of uniform windows, and GroupSC, which prints the PSNR, has none.
    files = published("noisy", jpeg_restoration("Classic5", 10))
    assert (files.psnr, files.ssim, files.source) == (27.82, None, "GroupSC-T4")
    other = published("dncnn-3@cszn", jpeg_restoration("Classic5", 10))
    assert other.ssim is not None


def test_a_network_for_all_noise_is_another_row_than_one_for_this():
    assert published("dncnn-gray-25@cszn", denoising("Set12", 25)).psnr == 30.44
    assert published("dncnn-gray-blind@cszn", denoising("Set12", 25)) is None
    assert published("ffdnet-gray@cszn", denoising("BSD68", 25)).psnr == 29.19


def test_no_row_of_the_published_table_is_lost_to_a_missing_number():
    assert len(rows()) > 700
    assert all(float(row["psnr"]) > 10 for row in rows() if row["psnr"])


# Kept scores and tables ----------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    score = evaluate("noisy", denoising("samples", 25), limit=2)
    store(score, tmp_path, "a processor")
    store(evaluate("noisy", denoising("samples", 50), limit=2), tmp_path, "a processor")
    store(evaluate("dct", denoising("samples", 25), limit=2), tmp_path, "a processor")
    return tmp_path


def test_a_kept_score_is_what_was_measured(kept):
    score = evaluate("noisy", denoising("samples", 25), limit=2)
    (found,) = (s for s in stored(kept) if (s.method, s.setting) == ("noisy", "sigma=25"))
    assert found.psnr == pytest.approx(score.psnr, abs=1e-12)
    assert found.ssim == pytest.approx(score.ssim, abs=1e-12)
    assert (found.dataset, found.images, found.stale) == ("samples", 2, False)


def test_tables_hold_every_score_once_in_the_order_of_the_course(kept):
    made = tables(kept)
    assert list(made) == [
        *("PSNR on samples", "SSIM on samples", "seconds on samples"),
        *("pictures of samples, σ = 25", "pictures of samples, σ = 50"),
    ]
    head, _, *body = made["PSNR on samples"].splitlines()
    assert head == "| method | σ = 25 | σ = 50 |"
    assert [line.split(" | ")[0] for line in body] == [
        "| noisy image",
        "| DCT thresholding (lesson 01)",
    ]
    assert re.fullmatch(r"\| noisy image \| 20\.\d\d \| 14\.\d\d \|", body[0])
    assert body[1].endswith("| – |")


def test_two_methods_are_compared_picture_by_picture(kept):
    head, _, *body, mean = tables(kept)["pictures of samples, σ = 25"].splitlines()
    assert head == "| picture | noisy image | DCT thresholding | difference |"
    assert len(body) == 2
    noisy, better, apart = (
        [float(line.split(" | ")[column].removesuffix(" |")) for line in [*body, mean]]
        for column in (1, 2, 3)
    )
    assert [b - a for a, b in zip(noisy, better, strict=True)] == pytest.approx(apart, abs=0.011)
    assert sum(apart[:2]) / 2 == pytest.approx(apart[2], abs=0.011)


@pytest.mark.parametrize(
    ("model", "options", "name"),
    [
        ("nsr", {}, "NSR baseline"),
        ("nsr", {"expansion": 1, "groups": 2, "cardinality": 16}, "NSR sparse-"),
        ("nsr", {"groups": 2, "cardinality": 16, "channels": 3}, "NSR sparse+"),
        ("nsr", {"blocks": 8, "expansion": 4, "scale": 2}, "NSR, 8 blocks"),
        ("cbdnet", {}, "CBDNet"),
        ("cbdnet", {"width": 32}, "CBDNet, 32 channels"),
    ],
)
def test_networks_of_one_kind_are_told_apart(model, options, name):
    assert MODELS[model].name_in_tables(options, "denoise", False) == name


def test_a_network_of_another_size_than_the_printed_has_no_print():
    assert published("nlrn-small-gray-25", denoising("Set12", 25)) is None
    assert published("nsr-gray-25-plus", denoising("Set12", 25)).psnr == 30.68


def test_what_most_papers_print_of_others_methods_is_believed():
    """GroupSC's Table 3 has 29.22, four others 29.23."""
    assert published("dncnn-gray-25", denoising("BSD68", 25)).psnr == 29.23


def test_scores_of_other_overlaps_are_kept_beside_each_other(tmp_path):
    """Each has a row of its own."""
    psnrs = []
    for overlap in (None, 16, 8):
        inference = Inference(overlap=overlap)
        score = evaluate("sc-gray-25", denoising("Unlike12", 25), limit=1, inference=inference)
        store(score, tmp_path, "a processor")
        psnrs.append(score.psnr)
    assert psnrs[0] == psnrs[2]  # 8 is what a patch of 9 pixels takes by itself
    assert 0 < abs(psnrs[1] - psnrs[0]) < 0.1
    body = tables(tmp_path)["PSNR on Unlike12"].splitlines()[2:]
    assert [line.split(" | ")[0] for line in body] == [
        "| SC (lesson 05)",
        "| SC (lesson 05), tiles overlapping by 8",
        "| SC (lesson 05), tiles overlapping by 16",
    ]


def test_weights_are_shown_beside_the_paper_with_what_they_cost(kept):
    made = tables(SCORES)["trained weights"].splitlines()
    assert "trained weights" not in tables(kept)  # nobody scored any there
    (row,) = (line for line in made if line.startswith("| groupsc-gray-25 | Set12, σ = 25 |"))
    _, _, psnr, difference, parameters, hours, *_ = row.split(" | ")
    assert psnr.endswith(" (30.44)")
    assert parameters == "68,434"
    assert float(difference) == pytest.approx(float(psnr[:5]) - 30.44, abs=0.011)
    assert float(hours) == round(sum(cards()["groupsc-gray-25"].hours.values()), 2)
    # Below the table it may say that a training is unfinished.
    methods = [line.split(" | ")[0][2:] for line in made[2:] if line.startswith("| ")]
    assert set(methods) <= set(cards())
    assert "lista-gray-25" not in methods  # nothing published to be compared with


def test_weights_show_all_the_training_behind_them():
    made = tables(SCORES)["trained weights"].splitlines()
    (line,) = (line for line in made if line.startswith("| sc-color-25 | CBSD68"))
    *_, hours, in_all, pixels, _, _ = line.split(" | ")
    end = Log(Files(ROOT / "runs", "sc-color-25").log).rows[-1]
    own, before = end["seconds"] / 3600, end["hours_before"]
    assert hours == f"{own:.2f}"
    assert in_all == f"{before + own:.2f}" != hours
    share = float(pixels.removesuffix(" %")) / 100
    assert share * 120_000 * 32 * 56**2 > end["crops"] * 42**2


def test_scores_of_other_weights_are_refused(kept):
    path = kept / "samples-25-dct.json"
    content = json.loads(path.read_text()) | {"method": "sc-gray-25", "weights_sha256": "0" * 64}
    path.write_text(json.dumps(content))
    with pytest.raises(ReportError, match="sc-gray-25 on samples, sigma=25"):
        tables(kept)


def test_a_score_that_is_not_finite_is_not_kept(tmp_path):
    score = evaluate("noisy", denoising("samples", 0.01), limit=1)
    with pytest.raises(MethodError, match="not finite"):
        store(score, tmp_path, "a processor")
    assert not list(tmp_path.iterdir())


def test_tables_go_where_a_text_has_a_place_for_them(kept, tmp_path):
    text = "a\n<!-- results: PSNR on samples -->\nbefore\n<!-- end of results -->\nb\n"
    made = tables(kept)
    once = fill(text, made)
    assert fill(once, made) == once
    assert made["PSNR on samples"] in once
    assert "before" not in once
    assert once.startswith("a\n")
    assert once.endswith("\nb\n")
    with pytest.raises(ReportError, match="no table 'PSNR on Mars'"):
        fill(text.replace("samples", "Mars"), made)
    with pytest.raises(ReportError, match="no place"):
        fill("nothing", made)
    # Without its end a place would swallow all up to the next one's.
    with pytest.raises(ReportError, match="does not end"):
        fill(text.replace("<!-- end of results -->\nb", "b") + text, made)


def test_the_report_command_renews_files_and_refuses_odd_ones(kept, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- results: SSIM on samples -->\n<!-- end of results -->\n")
    assert run("report", page, "--scores", kept) == 0
    assert "| noisy image | 0." in page.read_text()
    assert run("report", "--scores", kept) == 0
    assert "PSNR on samples" in capsys.readouterr().out
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for bad in (tmp_path / "missing.md", tmp_path / "binary", tmp_path):
        assert run("report", bad, "--scores", kept) == 2
    assert run("report", "--scores", tmp_path / "nowhere") == 2


def write_log(path, *stages):
    """A log from the step, the seconds and the dB of each look of each stage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ["stage,step,seconds,crops,held_out_psnr"]
    for number, looks in enumerate(stages, 1):
        rows += [f"{number},{step},{seconds},{step * 8},{psnr}" for step, seconds, psnr in looks]
    path.write_text("\n".join(rows))


def test_trainings_are_shown_over_hours_and_short_ones_step_by_step(kept, tmp_path):
    runs = tmp_path / "runs"
    long = [(0, 10, 20.0), (100, 720, 29.0), (200, 1440, 30.0)]
    write_log(runs / "long.csv", long, [(0, 10, 30.0), (50, 720, 30.5)])
    write_log(runs / "tried" / "other.csv", long)
    write_log(runs / "choices" / "that.csv", [(0, 10, 20.0), (50, 80, 28.0), (100, 160, 29.0)])
    write_log(runs / "choices" / "this.csv", [(0, 10, 20.0), (100, 170, 29.5)])
    made = tables(kept, runs)
    *_, first, second, tried = made["training"].splitlines()
    assert first.startswith("| long, stage 1 | 1.1 | 0.40 | 20.00 | 29.00 |  |")
    assert first.endswith("|  | 30.00 |")
    assert second.startswith("| long, stage 2 | 0.6 | 0.20 | 30.00 |  |")
    assert second.endswith("|  | 30.50 |")
    assert tried == first.replace("long, stage 1", "tried/other")
    assert "training, tried" not in made
    assert made["training, choices"].splitlines() == [
        "| run | 0 steps | 50 steps | 100 steps |",
        "|---|---|---|---|",
        "| this | 20.00 |  | 29.50 |",
        "| that | 20.00 | 28.00 | 29.00 |",
    ]


def test_ablations_stand_beside_the_paper(kept, tmp_path):
    runs = tmp_path / "runs"
    took = {"groupsc": 360, "atoms-512": 180, "patch-7": 100, "no-refresh": 0}
    for name, steps in took.items():
        looks = [(0, 10, 20.0), (steps, 300, 30 + steps / 3600)]
        write_log(runs / "ablations" / f"{name}.csv", looks)
        shutil.copy(ROOT / "runs" / "ablations" / f"{name}.toml", runs / "ablations")
    # The last two are not finished.
    assert tables(kept, runs)["ablations"].splitlines()[2:] == [
        "| GroupSC as it is | 360 | 30.10 |  |  |",
        "| 512 atoms | 180 | 30.05 | -0.05 | +0.03 |",
    ]


def test_seeds_are_averaged(kept, tmp_path):
    runs = tmp_path / "runs"
    ends = {"nlrn": 28.0, "nlrn-seed-1": 28.2, "dot": 27.9, "states-1": 27.0, "euclidean": 29.0}
    source = ROOT / "runs" / "ablations-nlrn"
    for name, psnr in ends.items():
        steps = tomllib.loads((source / f"{name}.toml").read_text())["stage"][0]["steps"]
        write_log(runs / source.name / f"{name}.csv", [(0, 10, 20.0), (steps, 300, psnr)])
        shutil.copy(source / f"{name}.toml", runs / source.name)
    # Of this one the other seed is still to come.
    shutil.copy(source / "euclidean-seed-1.toml", runs / source.name)
    table = tables(kept, runs)["ablations-nlrn"].splitlines()[2:]
    assert [line.split(" | ")[0] for line in table] == [
        "| NLRN, small",
        "| inner product",
        "| 1 state",
    ]
    assert "28.10 ± 0.10" in table[0]
    assert table[1].endswith("| 27.90 | -0.20 | -0.12 |")
    assert table[2].endswith("| 27.00 | -1.10 |  |")


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_ablations_name_runs_and_differ_in_one_thing(study):
    queue = {run.name: run for run in read_queue(ROOT / "runs" / study.name)}
    named = {*study.usual, *(ablation.run for ablation in study.ablations)}
    assert named == {name.partition("-seed-")[0] for name in queue}
    for ablation in study.ablations:
        usual, changed = queue[ablation.beside], queue[ablation.run]
        assert changed.model == usual.model
        names = changed.options.keys() | usual.options.keys()
        differ = {name for name in names if changed.options.get(name) != usual.options.get(name)}
        if study.name == "ablations":
            assert (usual.options, usual.model) == ({}, ablation.beside)
        if ablation.beside == "plain":
            # NSR's groups come with their cardinality, and with a gate besides.
            assert {"groups", "cardinality"} <= differ
            assert len(differ) <= 3
        else:
            assert len(differ) == 1
    for name, run in queue.items():
        first = queue[name.partition("-seed-")[0]]
        assert (run.options, run.model, run.goal) == (first.options, first.model, first.goal)


def test_published_ablations():
    published = {
        (study.name, ablation.run): round(ablation.published, 2)
        for study in STUDIES
        for ablation in study.ablations
        if ablation.published is not None
    }
    # GroupSC, Tables 14 to 16.
    assert published["ablations", "no-refresh"] == -0.10
    assert published["ablations", "own-estimates"] == -0.02
    assert published["ablations", "atoms-128"] == -0.05
    assert published["ablations", "steps-36"] == 0.0
    assert published["ablations", "sc-steps-12"] == -0.01
    # NLRN, Tables 1 and 2.
    assert published["ablations-nlrn", "dot"] == -0.12
    assert published["ablations-nlrn", "no-module"] == -0.19
    assert published["ablations-nlrn", "every-3"] == -0.08
    # NSR, Tables 1 to 3, and Table 1 of the supplement.
    assert published["ablations-nsr", "gumbel"] == -0.31
    assert published["ablations-nsr", "groups-4"] == 0.16
    assert published["ablations-nsr", "shared"] == -0.02
    assert published["ablations-nsr", "narrow-4"] == -0.08
    assert published["ablations-nsr", "depth-2"] == 0.01


def test_shipped_pages_show_what_the_kept_scores_say():
    made = tables(SCORES, ROOT / "runs")
    for page in ("README.md", "docs/results.md", "docs/training.md", "docs/unlike.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert fill(text, made) == text, f"run: lessons report --runs runs {page}"


# Evaluations that are broken off -------------------------------------------------------------


def evaluate_until(images: int, folder: Path, *arguments: object) -> None:
    """The command, broken off when so many images are done."""
    done = [0]

    def interrupted(self: Unfinished, score: Score, image: ImageScore) -> None:
        keep(self, score, image)
        done[0] += 1
        if done[0] == images:
            raise KeyboardInterrupt

    keep = Unfinished.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unfinished, "add", interrupted)
        assert run("evaluate", *arguments, "--store", folder) == 130
    assert done == [images]


def measured(folder: Path, *arguments: object) -> list[str]:
    """Files that the command measures, as it ends its work."""
    files = []

    def listed(self: Unfinished, score: Score, image: ImageScore) -> None:
        files.append(image.file)
        keep(self, score, image)

    keep = Unfinished.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unfinished, "add", listed)
        assert run("evaluate", *arguments, "--store", folder) == 0
    return files


def test_an_evaluation_goes_on_where_it_was_broken_off(tmp_path, capsys):
    arguments = ["--method", "noisy", "--sigma", 25]
    files = [file.name for file in data.load("samples").files]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert measured(whole, *arguments) == files
    evaluate_until(2, parts, *arguments)
    assert list(stored(parts)) == []
    evaluate_until(1, parts, *arguments)
    (path,) = parts.iterdir()
    # Killed in the middle of a line.
    path.write_text(path.read_text(encoding="utf-8") + '{"file": "co', encoding="utf-8")
    assert measured(parts, *arguments) == files[3:]
    (kept,) = (json.loads(path.read_text(encoding="utf-8")) for path in parts.iterdir())
    (wanted,) = (json.loads(path.read_text(encoding="utf-8")) for path in whole.iterdir())
    for score in (kept, wanted):
        del score["seconds_per_image"]
        for row in score["per_image"]:
            del row["seconds"]
    assert kept == wanted


def test_what_was_measured_otherwise_is_measured_again(tmp_path):
    """With other noise, other weights or images, on another device, nothing is known."""
    arguments = ["--method", "noisy", "--sigma", 25]
    evaluate_until(2, tmp_path, *arguments)
    files = [file.name for file in data.load("samples").files]
    assert measured(tmp_path, "--method", "noisy", "--sigma", 15) == files
    (path,) = tmp_path.glob("*.jsonl")
    device = json.loads(path.read_text(encoding="utf-8").split("\n")[0])["device"]
    blank = Score("noisy", denoising("samples", 25), (), data.load("samples").sha256)
    assert len(Unfinished(tmp_path, device).known(blank)) == 2
    assert Unfinished(tmp_path, "another device").known(blank) == []
    for change in ({"weights_sha256": "0"}, {"data_sha256": "0"}, {"precision": "bf16"}):
        evaluate_until(2, tmp_path, *arguments)
        assert Unfinished(tmp_path, device).known(replace(blank, **change)) == []
    path.write_text("not what was written here\n", encoding="utf-8")
    assert Unfinished(tmp_path, device).known(blank) == []


# Several processes, one score ----------------------------------------------------------------


def evaluate_by_two(*arguments: object) -> Any:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "lessons_lib", "evaluate", "--json", "--device", "cpu", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_two_processes_share_the_images_and_agree_with_one():
    together = evaluate_by_two("--method", "dct", "--sigma", 25, "--limit", 3)
    alone = evaluate("dct", denoising("samples", 25), limit=3).as_dict()
    assert [row["file"] for row in together["per_image"]] == [
        row["file"] for row in alone["per_image"]
    ]
    for key in ("psnr", "ssim"):
        # Threads are shared out too, and sums over them round differently.
        assert [row[key] for row in together["per_image"]] == pytest.approx(
            [row[key] for row in alone["per_image"]], abs=1e-4
        )
    assert together["data_sha256"] == alone["data_sha256"]


@pytest.mark.slow
def test_two_processes_share_what_is_missing(tmp_path):
    arguments = ["--method", "noisy", "--sigma", 25, "--store", tmp_path]
    together = evaluate_by_two(*arguments)
    files = [row["file"] for row in together["per_image"]]
    (kept,) = tmp_path.iterdir()
    device = json.loads(kept.read_text(encoding="utf-8"))["device"]
    kept.unlink()
    # As if one of them had been ahead: its two images are there, of the other's none.
    blank = replace(evaluate("noisy", denoising("samples", 25), limit=1), per_image=())
    blank = replace(blank, data_sha256=together["data_sha256"])
    unfinished = Unfinished(tmp_path, device)
    assert unfinished.known(blank) == []
    for file in (files[0], files[2]):
        unfinished.add(blank, ImageScore(file, 1.0, 0.5, 2.0))
    rows = {row["file"]: row for row in together["per_image"]}
    for row in evaluate_by_two(*arguments)["per_image"]:
        known = row["file"] in (files[0], files[2])
        assert (row["psnr"] == 1.0) == known
        assert known or row["psnr"] == pytest.approx(rows[row["file"]]["psnr"], abs=1e-6)
    (kept,) = tmp_path.iterdir()
    assert kept.suffix == ".json"


# Why numbers differ --------------------------------------------------------------------------


def test_each_convention_differs_from_ours_in_what_it_says():
    ours = denoising("CBSD68", 25)
    ways = conventions(ours)
    assert ways.pop("our protocol") == ours
    assert len(set(map(repr, ways.values()))) == len(ways)
    assert ways["scored on luma only"].channel == "y"
    assert "scored on luma only" not in conventions(denoising("BSD68", 25))


def test_gaps_have_the_sign_and_size_that_theory_gives():
    ways = {way.name: way for way in explain_gap("dct", denoising("samples", 25), 2, seeds=1)}
    ours = ways["our protocol"]
    score = evaluate("dct", denoising("samples", 25), limit=2)
    assert (ours.psnr, ours.ssim) == pytest.approx((score.psnr, score.ssim), abs=1e-9)
    # Rounding adds 1/12 of a squared grey level, some hundredths of a dB at this PSNR.
    rounding = ways["estimates not rounded to 8 bits"].psnr - ours.psnr
    mse = 255**2 / 10 ** (ours.psnr / 10)
    assert rounding == pytest.approx(10 * torch.log10(torch.tensor(1 + 1 / 12 / mse)), rel=0.5)
    assert ways["estimates neither rounded nor clipped"].psnr < ours.psnr + rounding
    assert ways["SSIM over uniform 7 x 7 windows"].psnr == ours.psnr
    assert ways["SSIM over uniform 7 x 7 windows"].ssim != ours.ssim
    assert 0 < abs(ways["noise drawn with seed 1"].psnr - ours.psnr) < 0.1


def test_the_explain_gap_command(capsys):
    arguments = ["explain-gap", "--method", "noisy", "--sigma", 25, "--limit", 1, "--seeds", 1]
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    assert out.count(" dB ") == 6
    assert "published" not in out
    assert "training" not in out


def test_a_gap_of_trained_weights_is_also_that_of_their_training(capsys):
    arguments = ["--model", "sc-gray-25", "--sigma", 25, "--limit", 1, "--seeds", 0]
    assert run("explain-gap", *arguments) == 0
    assert explain_training(cards()["sc-gray-25"]) in capsys.readouterr().out
    whole = {"steps": 120_000, "batch": 32, "crop": 56}
    card = replace(cards()["sc-gray-25"], steps=120_000, run=whole, curve=[[0, 28], [120_000, 31]])
    text = explain_training(card)
    assert "from a dictionary: 120000 of 120000 steps; from the very beginning 1.1 hours" in text
    assert "and 100 % of the pixels" in text
    later = replace(card, pixels_before=GROUPSC_PIXELS, hours_before=10.0)
    assert "from the very beginning 11 hours, and 200 % of the pixels" in explain_training(later)
    assert "31.00 dB, of which +3.000 dB in the last quarter" in text


def test_a_gap_tells_what_other_tiles_would_change():
    protocol = denoising("samples", 25)
    ways = explain_gap("sc-gray-25", protocol, 1, seeds=0, overlap=20)
    found = {way.name: way.psnr for way in ways}
    # Each patch is coded by itself, so tiles only decide how often.
    assert found["tiles overlapping by 20"] == pytest.approx(found["our protocol"], abs=0.05)
    score = evaluate("sc-gray-25", protocol, limit=1, inference=Inference(overlap=20))
    assert found["tiles overlapping by 20"] == pytest.approx(score.psnr, abs=1e-9)
    rounding = found[NOT_ROUNDED] - found["our protocol"]
    not_rounded = found["tiles overlapping by 20, not rounded"]
    assert not_rounded == pytest.approx(score.psnr + rounding, abs=2e-3)


def test_a_gap_is_split_into_scoring_and_training():
    protocol = denoising("BSD68", 25)
    ways = [Convention("our protocol", 30.0, 0.9), Convention(NOT_ROUNDED, 30.01, 0.9)]
    score = next(
        score
        for score in stored(SCORES)
        if (score.method, score.dataset, score.overlap) == ("sc-gray-25", "BSD68", None)
    )
    gap = score.psnr - 28.90

    def numbers(text):
        return [float(number) for number in re.findall(r"([+-]\d\.\d{3}) dB", text)]

    whole, scoring, training = numbers(split_gap("sc-gray-25", protocol, ways))
    assert whole == pytest.approx(gap, abs=1e-3)
    assert (scoring, training) == pytest.approx((-0.01, gap + 0.01), abs=1e-3)
    # Where other tiles were tried, they are part of the paper's way.
    ways.append(Convention("tiles overlapping by 44, not rounded", 30.05, 0.9))
    assert numbers(split_gap("sc-gray-25", protocol, ways))[1] == -0.05
    # DnCNN's paper rounds as we do.
    (whole,) = numbers(split_gap("dncnn-gray-25", protocol, ways))
    dncnn = read_score(SCORES / "BSD68-25-dncnn-gray-25.json").psnr
    assert whole == pytest.approx(dncnn - 29.23, abs=1e-3)
    assert split_gap("lista-gray-25", protocol, ways) is None
    assert split_gap("sc-gray-25", denoising("samples", 25), ways) is None


# Trained weights at the command line ---------------------------------------------------------


def test_a_model_is_scored_beside_the_paper(capsys):
    assert run("evaluate", "--model", "sc-gray-25", "--sigma", 25, "--limit", 1, "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["method"] == "sc-gray-25"
    assert scores["weights_sha256"] == cards()["sc-gray-25"].sha256
    assert scores["paper"] is None
    assert scores["precision"] in ("fp32", "bf16")


def test_models_are_listed_with_all_their_hours(capsys):
    assert run("models") == 0
    ours, published = capsys.readouterr().out.split("\n\n")
    head, *lines = ours.splitlines()
    listed = {line.split()[0]: line for line in lines}
    assert set(listed) == set(cards())
    assert [line.split()[0] for line in published.splitlines()[1:]] == list(published_weights())
    place = head.index("in all")
    for name in ("sc-color-blind", "groupsc-gray-5"):
        assert listed[name][place:].split()[0] == f"{cards()[name].hours_in_all:.2f}"


@pytest.mark.parametrize("precision", ["reference", "fp32"])
def test_a_score_says_how_its_model_computed(capsys, precision):
    arguments = ["--model", "sc-gray-25", "--sigma", 25, "--limit", 1, "--precision", precision]
    assert run("evaluate", *arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["precision"] == precision


def test_what_is_no_model_is_refused(capsys, tmp_path):
    for arguments, message in [
        (["--model", "sc-grey-25"], "sc-gray-25"),
        (["--model", "dct"], "unknown model"),
        (["--model", "sc-gray-25", "--method", "dct"], "give one of"),
        (["--model", "sc-gray-25", "--device", "tpu"], "cpu"),
        (["--model", "sc-gray-25", "--precision", "fp8"], "bf16"),
        (["--model", "sc-gray-25", "--overlap", "56"], "overlap"),
        (["--method", "dct", "--overlap", "8"], "does not work in tiles"),
        (["--limit", "1", "--store", str(tmp_path)], "whole data sets"),
    ]:
        assert run("evaluate", "--sigma", 25, *arguments) == 2
        assert message in capsys.readouterr().err


def test_weights_and_methods_share_no_name():
    from lessons_lib.classical import METHODS

    assert not set(METHODS) & set(checkpoints.cards())


def test_ours_beside_authors_weights_were_measured_on_the_same_task():
    """Weights for one level of noise are no answer to weights that must find it out."""
    table = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    lines = [line for line in table.splitlines() if line.endswith("dncnn-gray-blind@cszn |")]
    ours = [line.split(" | ")[5] for line in lines]
    assert lines
    if "dncnn-gray-blind" not in cards():
        assert set(ours) == {"–"}
