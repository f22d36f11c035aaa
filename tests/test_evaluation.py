"""Scores against scikit-image's, and everything of a protocol that should move or not move one."""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from lessons_lib import classical, data
from lessons_lib.classical import Method
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation import Protocol, denoising, evaluate
from lessons_lib.evaluation.methods import MethodError, restore
from lessons_lib.ops.colour import rgb_to_luma

SIGMA = 25 / 255
real = Path(os.environ.get("LESSONS_DATA", ""))


def to_bytes(image: Tensor) -> np.ndarray:
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels[0].permute(1, 2, 0).numpy().squeeze()


def test_scores_equal_those_of_scikit_image() -> None:
    score = evaluate("dct", denoising("samples", 25), limit=2)
    images = dict(data.load("samples", 2))
    assert [row.file for row in score.per_image] == list(images)
    for row in score.per_image:
        clean = data.to_gray(images[row.file])
        noisy = GaussianNoise(SIGMA)(clean, key=row.file)
        estimate = to_bytes(classical.dct(noisy, SIGMA))
        psnr = peak_signal_noise_ratio(to_bytes(clean), estimate)
        ssim = structural_similarity(
            to_bytes(clean),
            estimate,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert row.psnr == pytest.approx(psnr, abs=1e-6)
        assert row.ssim == pytest.approx(ssim, abs=1e-4)
        assert row.seconds > 0
    assert score.psnr == pytest.approx(sum(row.psnr for row in score.per_image) / 2)
    assert score.ssim == pytest.approx(sum(row.ssim for row in score.per_image) / 2)


def test_same_scores_again_and_in_any_order() -> None:
    protocol = denoising("samples", 25)
    both = evaluate("noisy", protocol, limit=3)
    again = evaluate("noisy", protocol, limit=1)
    assert both.per_image[0].psnr == again.per_image[0].psnr
    other = dataclasses.replace(protocol, degradation=GaussianNoise(SIGMA, seed=1))
    assert evaluate("noisy", other, limit=1).psnr != again.psnr


def test_noise_is_not_clipped_and_estimates_are() -> None:
    """At sigma 25 the noisy image scores 20.17 dB unclipped, and more once it is clipped."""
    protocol = denoising("samples", 25)
    clipped = evaluate("noisy", protocol, limit=1)
    loose = dataclasses.replace(protocol, clip=False, rounding=False)
    unclipped = evaluate("noisy", loose, limit=1)
    assert unclipped.psnr == pytest.approx(20 * math.log10(255 / 25), abs=0.05)
    assert clipped.psnr > unclipped.psnr + 0.1


def test_each_choice_of_a_protocol_counts() -> None:
    clean = data.sample("astronaut", gray=False, size=64)
    estimate = GaussianNoise(0.02)(clean)
    base = Protocol("samples", GaussianNoise(SIGMA), channel="rgb")
    scores = {
        base.score(estimate, clean),
        dataclasses.replace(base, rounding=False).score(estimate, clean),
        dataclasses.replace(base, clip=False).score(estimate, clean),
        dataclasses.replace(base, border=4).score(estimate, clean),
        dataclasses.replace(base, channel="y").score(estimate, clean),
        dataclasses.replace(base, ssim="uniform8").score(estimate, clean),
    }
    assert len(scores) == 6
    inner = dataclasses.replace(base, border=4).score(estimate, clean)
    assert inner == base.score(estimate[..., 4:-4, 4:-4], clean[..., 4:-4, 4:-4])
    luma = dataclasses.replace(base, channel="y", rounding=False, clip=False)
    expected = base.score(rgb_to_luma(estimate), rgb_to_luma(clean))
    assert luma.score(estimate, clean) == pytest.approx(expected, abs=0.05)


def test_colour_sets_are_scored_in_colour() -> None:
    assert denoising("CBSD68", 25).channel == "rgb"
    assert denoising("BSD68", 25).channel == "gray"
    colour = dataclasses.replace(denoising("samples", 25), channel="rgb")
    (row,) = evaluate("noisy", colour, limit=1).per_image
    clean = data.sample("astronaut", gray=False)
    noisy = to_bytes(GaussianNoise(SIGMA)(clean, key="astronaut.png"))
    # The error is averaged over the three channels together, not their decibels.
    assert row.psnr == pytest.approx(peak_signal_noise_ratio(to_bytes(clean), noisy), abs=1e-6)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(data.DataError, match="no clean references"):
        denoising("RNI15", 25)
    with pytest.raises(data.DataError, match="did you mean 'Set12'"):
        denoising("set12", 25)
    for sigma in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="sigma"):
            denoising("samples", sigma)
    with pytest.raises(MethodError, match="did you mean 'dictionary'"):
        evaluate("dictionnary", denoising("samples", 25))


def test_limits_of_a_method_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MethodError, match=r"7 x 30 pixels; method 'dct' needs 8"):
        restore("dct", torch.rand(1, 1, 30, 7), GaussianNoise(SIGMA))
    broken = Method(lambda noisy, sigma, progress: noisy * math.nan, "broken")
    absent = Method(lambda noisy, sigma, progress: noisy, "absent", package="no_such_package")
    monkeypatch.setattr(classical, "METHODS", {"broken": broken, "absent": absent})
    with pytest.raises(MethodError, match="no finite result"):
        restore("broken", torch.rand(1, 1, 30, 30), GaussianNoise(SIGMA))
    with pytest.raises(MethodError, match="pip install no_such_package"):
        restore("absent", torch.rand(1, 1, 30, 30), GaussianNoise(SIGMA))


def test_progress_runs_from_nothing_to_all() -> None:
    shares: list[float] = []
    evaluate("dct", denoising("samples", 25), limit=2, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1
    assert 0.5 in shares


def test_a_perfect_score_is_valid_json(monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise far below half a gray level vanishes in the rounding, so the PSNR is infinite.
    score = evaluate("noisy", denoising("samples", 0.01), limit=1)
    assert score.psnr == math.inf
    plain = json.loads(json.dumps(score.as_dict(), allow_nan=False))
    assert plain["psnr"] is None
    assert plain["ssim"] == 1
    assert plain["sigma"] == 0.01


def test_the_score_names_its_data() -> None:
    score = evaluate("noisy", denoising("samples", 25), limit=2)
    assert score.data_sha256 == data.load("samples", 2).sha256
    plain = score.as_dict()["protocol"]
    assert plain["degradation"]["kind"] == "GaussianNoise"
    assert plain["degradation"]["seed"] == 0
    for choice in ("clip", "rounding", "channel", "border", "ssim", "dataset", "task"):
        assert choice in plain


@pytest.mark.skipif(not (real / "Set12").is_dir(), reason="LESSONS_DATA has no Set12")
def test_noisy_set12_scores_what_theory_says() -> None:
    loose = dataclasses.replace(denoising("Set12", 25), clip=False, rounding=False)
    assert evaluate("noisy", loose).psnr == pytest.approx(20.17, abs=0.02)
