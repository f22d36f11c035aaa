"""The comparison of losses, on an image of its own, and the page that holds its table."""

import sys

import pytest
import torch

from lessons_lib import data, metrics
from lessons_lib.evaluation.report import fill
from lessons_lib.training.losses import LOSSES


@pytest.fixture(scope="module")
def benchmark(script):
    return script("losses")


@pytest.fixture
def images(benchmark, monkeypatch):
    photos = [("a.png", data.sample("astronaut", gray=False)[..., :180, 100:280])]
    monkeypatch.setattr(benchmark.data, "load", lambda name: photos)
    return photos


def test_a_network_gains_on_interpolation(benchmark, images):
    before = benchmark.score(torch.nn.Identity(), "any")
    after = benchmark.score(benchmark.train("l1", [images[0][1][0]], 120, seed=0), "any")
    assert after["PSNR"] > before["PSNR"] + 0.3
    assert after["1000 ℓ1"] < before["1000 ℓ1"]
    assert set(after) == set(benchmark.MEASURES)


def test_scores_are_those_of_the_estimate(benchmark, images):
    """Of a method that gives mid-grey, whatever it sees."""
    clean = images[0][1]
    found = benchmark.score(lambda seen: torch.full_like(seen, 0.5), "any")
    assert found["1000 ℓ2"] == pytest.approx(1000 * (clean - 0.5).square().mean().item())
    assert found["PSNR"] == pytest.approx(metrics.psnr(torch.full_like(clean, 0.5), clean).item())


def test_what_the_network_sees(benchmark):
    """Measured pixels stay, noise and all; the others lie between their neighbours."""
    clean, noise = torch.rand(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    mask = benchmark.MOSAIC.mask((8, 8)).bool()
    noisy = clean + benchmark.SIGMA * noise
    seen = benchmark.seen(noisy)
    torch.testing.assert_close(seen[mask], noisy[mask])
    flat = benchmark.seen(torch.full((1, 3, 8, 8), 0.3))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_the_best_is_bold(benchmark):
    def row(sign):
        measures = benchmark.MEASURES.items()
        return {name: sign if more else -sign for name, (_, more) in measures}

    results = {
        "interpolated": row(0.0),
        "losses": {"l2": [row(1.0), row(2.0)], "mix": [row(0.5), row(2.25)]},
    }
    lines = benchmark.table(results).splitlines()
    assert lines[0] == "| measure | interpolated | l2 | mix |"
    assert all(line.count("**") == 2 for line in lines[2:-2])
    assert lines[-2] == "| PSNR over l2, by seed |  |  | -0.50, +0.25 |"
    assert lines[-1] == "| in print |  |  | +1.43 |"
    del results["losses"]["l2"]
    assert "over l2" not in benchmark.table(results)
    assert all(line.split(" | ")[2].startswith("**") for line in lines[2:-2])


def test_the_page_holds_what_was_measured(benchmark):
    kept = benchmark.kept(benchmark.RESULTS)
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert fill(text, {"losses": benchmark.table(kept)}) == text
    assert set(kept["losses"]) <= set(LOSSES)
    assert benchmark.table({"losses": {}}) == "Not measured."


@pytest.fixture
def run(benchmark, monkeypatch, tmp_path):
    """Runs the script without training, in a folder of its own."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "losses.json")
    monkeypatch.setattr(benchmark, "renew", lambda page, made: None)
    monkeypatch.setattr(benchmark.data, "load", lambda name: [])
    monkeypatch.setattr(benchmark, "train", lambda *_: None)
    monkeypatch.setattr(benchmark, "score", lambda *_: dict.fromkeys(benchmark.MEASURES, 1.0))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["losses.py", "--steps", "5", *arguments])
        benchmark.main()

    return call


def test_kept_results_are_of_one_experiment(benchmark, run, capsys):
    run("--losses", "l2", "--write")
    before = benchmark.RESULTS.read_bytes()
    run("--losses", "l1", "--seeds", "3")  # is not written
    for other in (["--seeds", "3"], ["--steps", "6"], ["--dataset", "Set12"]):
        with pytest.raises(SystemExit):
            run("--losses", "l1", "--write", *other)
        assert "holds another experiment" in capsys.readouterr().err
    assert benchmark.RESULTS.read_bytes() == before
    run("--losses", "l1", "--write")
    assert list(benchmark.kept(benchmark.RESULTS)["losses"]) == ["l2", "l1"]


def test_processes_side_by_side_keep_each_others_losses(benchmark, run, monkeypatch):
    def meanwhile(loss, *_):
        if loss == "l1":
            monkeypatch.setattr(benchmark, "train", lambda *_: None)
            run("--losses", "mix", "--write")

    monkeypatch.setattr(benchmark, "train", meanwhile)
    run("--losses", "l2", "l1", "--write")
    assert set(benchmark.kept(benchmark.RESULTS)["losses"]) == {"l2", "l1", "mix"}


@pytest.mark.parametrize("option", ["--seeds", "--steps"])
def test_nothing_is_not_measured(run, option, capsys):
    with pytest.raises(SystemExit):
        run(option, "0")
    assert "0 is less than 1" in capsys.readouterr().err


def test_an_unknown_data_set_is_refused(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["losses.py", "--dataset", "Kodak42"])
    monkeypatch.setattr(benchmark, "score", lambda *_: pytest.fail("measured"))
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "'Kodak42'" in capsys.readouterr().err.splitlines()[-1]
