"""The comparison of classes of photographs, and the page that holds its table."""

import sys

import pytest
import torch

from lessons_lib import data
from lessons_lib.evaluation.report import fill
from lessons_lib.metrics import psnr
from lessons_lib.models import ClassAware, ClassAwareConfig

CLASSES = {"animals", "buildings", "people"}


@pytest.fixture(scope="module")
def benchmark(script):
    return script("classes")


@pytest.mark.parametrize("dataset", ["CBSD400", "CBSD68"])
def test_a_photograph_is_of_one_class_at_most(benchmark, dataset):
    labels = benchmark.labels(dataset)
    assert set(labels) == CLASSES
    files = [file for some in labels.values() for file in some]
    assert len(set(files)) == len(files)
    assert set(files) <= {file.name for file in data.entry(dataset).files}
    # As the page says.
    sizes = {"CBSD400": (134, 46, 96), "CBSD68": (27, 7, 9)}[dataset]
    assert tuple(len(labels[name]) for name in sorted(labels)) == sizes


def test_gains_are_over_the_control_and_ones_own_are_bold(benchmark):
    tests = ["people", "animals", "buildings", "all"]

    def row(*values):
        return dict(zip(tests, values, strict=True))

    results = {
        "before": row(28.0, 29, 30, 29),
        "scores": {
            "all": [row(28.0, 29, 30, 29), row(28.5, 29, 30, 29)],
            "people": [row(28.25, 28, 29, 28), row(28.25, 28, 30, 28)],
        },
    }
    lines = benchmark.table(results).splitlines()
    order = [cell.removesuffix(", dB") for cell in lines[0].strip("| ").split(" | ")[1:]]
    cells = [line.strip("| ").split(" | ") for line in lines[2:]]
    before, control, people = (dict(zip(order, row[1:], strict=True)) for row in cells)
    assert (before["people"], control["people"]) == ("28.00", "28.25")
    assert (people["people"], people["buildings"]) == ("**+0.25, -0.25**", "-1.00, +0.00")
    del results["scores"]["all"]
    assert benchmark.table(results) == "Not measured."


def test_the_page_holds_what_was_measured(benchmark):
    text = benchmark.PAGE.read_text(encoding="utf-8")
    kept = benchmark.kept(benchmark.RESULTS)
    made = {"classes": benchmark.table(kept), "layers": benchmark.table_of_layers(kept)}
    assert fill(text, made) == text


def test_layers_are_measured_one_by_one(benchmark, monkeypatch):
    """Of three that take nothing, three quarters of the noise, and the rest and too much light."""
    clean = data.sample("camera", size=32)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(benchmark.data, "load", lambda name: [("a.png", clean)])
    monkeypatch.setattr(benchmark, "GaussianNoise", lambda sigma: lambda image, name: noisy)
    after = [noisy + 1e-6 * noisy, clean + (noisy - clean) / 4, clean + 0.01]
    network = type("Network", (), {"gradual": lambda self, image: after})()
    first, second, third = benchmark.layer_by_layer(network)
    assert second["dB"] == pytest.approx(psnr(after[1].clamp(0, 1), clean).item())
    rms = 255 * (noisy - clean).square().mean().sqrt().item()
    assert (first["rms"], second["rms"]) == pytest.approx((0, 0.75 * rms), abs=1e-3)
    assert second["like the noise"] == pytest.approx(1, abs=1e-4)
    assert third["like the noise"] == pytest.approx(1, abs=1e-4)
    assert third["dB"] == pytest.approx(40, abs=0.1)
    lines = benchmark.table_of_layers({"layers": [second]}).splitlines()
    assert lines[-1].startswith(f"| 1 | {second['dB']:.2f} | {0.75 * rms:.1f} | +1.00 | ")
    assert benchmark.table_of_layers({}) == "Not measured."


@pytest.mark.parametrize("name", ["all", "people"])
def test_only_photographs_of_the_class_are_learned_from(benchmark, monkeypatch, tmp_path, name):
    """Of a data set of four, of which two show people."""
    for file in "abcd":
        (tmp_path / f"{file}.jpg").write_bytes(file.encode())
    shown = type("Photographs", (), {"folder": tmp_path})
    monkeypatch.setattr(benchmark.data, "load", lambda name: shown)
    monkeypatch.setattr(benchmark, "labels", lambda dataset: {"people": ["b.jpg", "d.jpg"]})
    seen = []

    def train(run, folder):
        seen.append(run)
        assert not list(folder.glob("*"))
        if name != "all":
            files = sorted(benchmark.Path(run.dataset).iterdir())
            assert [file.read_bytes() for file in files] == [b"b", b"d"]

    monkeypatch.setattr(benchmark, "train", train)
    monkeypatch.setattr(benchmark, "trained_model", lambda run, folder: run.name)
    benchmark.train_on(name, 7, seed=3)
    ((stage,), sigma) = seen[0].stages, seen[0].sigma_255
    assert (stage.start, stage.steps, stage.seed, sigma) == (benchmark.START, 7, 3, 25)
    assert (seen[0].dataset == "CBSD400") == (name == "all")


def test_kept_results_are_of_one_experiment(benchmark, monkeypatch, tmp_path, capsys):
    tests = [*benchmark.labels("CBSD68"), "all"]
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "classes.json")
    monkeypatch.setattr(benchmark, "renew", lambda page, made: None)
    monkeypatch.setattr(benchmark, "need", lambda *_: None)
    network = ClassAware(ClassAwareConfig(layers=2, width=2))
    monkeypatch.setattr(benchmark, "load_model", lambda name: network)
    monkeypatch.setattr(benchmark, "layer_by_layer", lambda network: [])
    card = type("Card", (), {"sha256": "abc"})
    monkeypatch.setattr(benchmark, "load_card", lambda name: card)
    monkeypatch.setattr(benchmark, "train_on", lambda *_: None)
    monkeypatch.setattr(benchmark, "score", lambda *_: dict.fromkeys(tests, 29.0))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["classes.py", "--steps", "5", *arguments])
        benchmark.main()

    run("--classes", "all", "--write")
    before = benchmark.RESULTS.read_bytes()
    for other in (["--seeds", "3"], ["--steps", "6"]):
        with pytest.raises(SystemExit):
            run("--classes", "people", "--write", *other)
        assert "holds another experiment" in capsys.readouterr().err
    card.sha256 = "def"
    with pytest.raises(SystemExit):
        run("--classes", "people", "--write")
    card.sha256 = "abc"
    assert benchmark.RESULTS.read_bytes() == before
    run("--classes", "people", "--write")
    assert list(benchmark.kept(benchmark.RESULTS)["scores"]) == ["all", "people"]
