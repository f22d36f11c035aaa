"""Denoisers as modules for plug-and-play methods: the library's other doors say the same."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lessons_lib import data, denoise
from lessons_lib.checkpoints import CheckpointError, load_model
from lessons_lib.evaluation.methods import MethodError
from lessons_lib.metrics import psnr
from lessons_lib.models import restore
from lessons_lib.plug_and_play import Denoiser

SC = ("sc-gray-5", "sc-gray-15", "sc-gray-25", "sc-gray-50")
LEVEL = 25 / 255


def noisy(batch: int = 1, channels: int = 1, size: int = 24, sigma: float = LEVEL) -> Tensor:
    """Parts of a photograph, ``(batch, channels, size, size)``, with noise."""
    wide = data.sample("astronaut", gray=channels == 1, size=batch * size)
    parts = torch.cat([wide[..., :size, i * size : (i + 1) * size] for i in range(batch)])
    return parts + sigma * torch.randn(parts.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["sc-gray-25", "sc-color-25", "dncnn-gray-25", "dct"])
def test_it_is_what_arrays_get(name: str) -> None:
    rounding = 5e-3 if "sc" in name else 1e-5  # of half precision, where a processor is good at it
    for sigma in (LEVEL, 0.03):
        x = noisy(channels=3, sigma=sigma)
        array = x[0].permute(1, 2, 0).numpy()
        expected = torch.from_numpy(denoise(array, sigma, name)).permute(2, 0, 1)[None]
        assert torch.allclose(Denoiser(name)(x, sigma), expected, atol=rounding)


@pytest.mark.parametrize("name", ["sc-gray-25", "sc-color-25", "ffdnet-gray", "dct"])
def test_each_image_has_its_own_noise(name: str) -> None:
    denoiser, x = Denoiser(name).double(), noisy(batch=3, channels=3, size=12).double()
    levels = torch.tensor([0.02, 0.1, 0.4], dtype=torch.float64)
    together = denoiser(x, levels)
    alone = [denoiser(x[i : i + 1], levels[i].item()) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.equal(denoiser(x, levels[:, None, None, None]), together)
    assert torch.equal(denoiser(x, torch.tensor(0.1)), denoiser(x, torch.tensor([0.1])))
    # Gray weights see each channel as an image of its own.
    if "color" not in name:
        red = denoiser(x[:, :1].contiguous(), levels)
        if "gray" in name:
            assert torch.allclose(together[:, :1], red, atol=1e-5)


def test_other_levels_are_other_units() -> None:
    denoiser, x = Denoiser("sc-gray-25").double(), noisy().double()
    there = denoiser(x, LEVEL)
    for factor in (0.25, 2.0):
        assert torch.allclose(denoiser(factor * x, factor * LEVEL), factor * there, atol=1e-5)


def test_each_image_gets_the_weights_that_are_nearest() -> None:
    x = noisy(batch=4).double()
    levels = torch.tensor([1.0, 11.0, 33.0, 300.0], dtype=torch.float64) / 255
    found = Denoiser(*SC).double()(x, levels)
    for number, name in enumerate(SC):
        part = slice(number, number + 1)
        expected = restore(load_model(name).double(), x[part], levels[number].item())
        assert torch.allclose(found[part], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["sc-gray-25", "sc-color-25", "dncnn-gray-25", "ffdnet-gray"])
def test_with_gradients_and_without_the_estimate_is_the_same(name: str) -> None:
    # In double precision, which has no fast form of its own.
    denoiser, x = Denoiser(name).double(), noisy(batch=2, channels=3, size=16)
    levels = torch.tensor([0.05, 0.15])
    plain = denoiser(x.double(), levels)
    assert not plain.requires_grad
    wanted = denoiser(x.double().requires_grad_(), levels)
    assert wanted.requires_grad
    assert torch.allclose(wanted, plain, atol=1e-6)
    with torch.no_grad():
        assert not denoiser(x.double().requires_grad_(), levels).requires_grad


def test_training_what_it_is_part_of_changes_nothing_in_it() -> None:
    denoiser, x = Denoiser("dncnn-gray-25"), noisy()
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    apart = denoiser(x, LEVEL)
    found = denoiser.train()(x.clone().requires_grad_(), LEVEL)
    assert torch.allclose(found, apart, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in denoiser.state_dict().items())


@pytest.mark.parametrize("name", ["sc-gray-25", "groupsc-gray-25", "dncnn-gray-25", "ffdnet-gray"])
def test_gradients_are_slopes(name: str) -> None:
    denoiser, generator = Denoiser(name).double(), torch.Generator().manual_seed(1)
    x = noisy(batch=2, size=16).double()
    way, move = torch.randn(2, *x.shape, generator=generator, dtype=torch.float64)
    levels = torch.tensor([0.05, 0.15], dtype=torch.float64)
    given = x.clone().requires_grad_(), levels.clone().requires_grad_()
    (way * denoiser(*given)).sum().backward()
    for number, step in enumerate((move, torch.ones_like(levels))):
        gradient = given[number].grad
        assert gradient is not None
        moved = []
        for sign in (1, -1):
            at = [x, levels]
            at[number] = at[number] + sign * 1e-8 * step  # few codes cross a threshold
            # The path that gradients take, or tiles would be blended on one side only.
            found = denoiser(at[0].detach().requires_grad_(), at[1])
            moved.append((way * found).sum().item())
        slope = (moved[0] - moved[1]) / 2e-8
        assert (gradient * step).sum().item() == pytest.approx(slope, rel=1e-3, abs=1e-2)


def test_weights_are_fixed_until_they_are_to_learn() -> None:
    denoiser, x = Denoiser("sc-gray-25"), noisy()
    assert not any(weight.requires_grad for weight in denoiser.parameters())
    denoiser.requires_grad_(True)
    denoiser(x, 0.1).square().sum().backward()
    assert all(weight.grad is not None for weight in denoiser.parameters())
    # They are its own: what one of them learns is not in the next.
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.zero_()
    assert psnr(Denoiser("sc-gray-25")(x, LEVEL), x) > 15


@pytest.mark.parametrize("names", [("dct",), ("sc-gray-25",), SC], ids=["dct", "sc", "several"])
def test_without_noise_an_image_stays_and_nothing_is_edited(names: tuple[str, ...]) -> None:
    x = noisy(batch=2).double()
    before = x.clone()
    found = Denoiser(*names)(x, torch.tensor([0.0, 0.1]))
    assert torch.equal(x, before)
    assert found.dtype == x.dtype
    assert torch.equal(found[0], x[0])
    assert not torch.equal(found[1], x[1])


def test_a_function_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def darker(noisy, sigma): return noisy - sigma\n")
    denoiser, x = Denoiser(f"{tmp_path / 'mine.py'}:darker"), noisy(batch=2)
    found = denoiser(x, torch.tensor([0.1, 0.3]))
    assert torch.allclose(found[1], x[1] - 0.3, atol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(MethodError, match="did you mean 'sc-gray-25'"):
        Denoiser("sc-grey-25")
    with pytest.raises(MethodError, match="not for the task denoise"):
        Denoiser("groupsc-demosaic")
    with pytest.raises(CheckpointError, match="no such file"):
        Denoiser("absent.safetensors")
    for names in ((), ("sc-gray-5", "dct"), ("sc-gray-5", "sc-color-25"), ("ffdnet-gray",) * 2):
        with pytest.raises(MethodError, match="one name, or several"):
            Denoiser(*names)
    denoiser, x = Denoiser("sc-color-25"), noisy(batch=2, channels=3)
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\)"):
        denoiser(x[0], 0.1)
    with pytest.raises(ValueError, match="colour images only"):
        denoiser(x[:, :1], 0.1)
    with pytest.raises(ValueError, match="one for each of 2 images, not 3"):
        denoiser(x, torch.rand(3))
    for sigma in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite number, and not negative"):
            denoiser(x, sigma)
    with pytest.raises(ValueError, match="'dct' has no gradient"):
        Denoiser("dct")(x.requires_grad_(), 0.1)
    with pytest.raises(MethodError, match="needs 8 on each side"):
        Denoiser("dct")(torch.rand(1, 1, 7, 9), 0.1)


def test_as_a_prior_it_beats_the_filter_that_knows_no_photographs() -> None:
    """Half-quadratic splitting, written out; the blur is circular, so each step is a division."""
    clean = data.sample("camera", size=64)
    grid = torch.arange(-6, 7.0)
    line = torch.exp(-(grid**2) / 2 / 1.2**2)
    kernel = torch.zeros(64, 64)
    kernel[:13, :13] = line.outer(line) / line.sum() ** 2
    spectrum = torch.fft.fft2(kernel.roll((-6, -6), (0, 1)))
    sigma = 2 / 255
    seen = torch.fft.ifft2(spectrum * torch.fft.fft2(clean)).real
    seen += sigma * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))

    def nearest(anchor: Tensor, ratio: float) -> Tensor:
        """What explains the blurred image, and lies near an anchor."""
        above = spectrum.conj() * torch.fft.fft2(seen) + ratio * torch.fft.fft2(anchor)
        return torch.fft.ifft2(above / (spectrum.abs() ** 2 + ratio)).real

    powers = torch.fft.fft2(seen - seen.mean()).abs().square().mean() / 64**2
    wiener = nearest(torch.full_like(seen, seen.mean().item()), (sigma**2 / powers).item())
    prior, estimate = Denoiser(*SC), seen
    for level in torch.logspace(math.log10(30 / 255), math.log10(sigma), 6).tolist():
        estimate = prior(nearest(estimate, 0.3 * (sigma / level) ** 2), level)
    assert psnr(estimate, clean) > psnr(wiener, clean) + 2
    assert psnr(estimate, clean) > psnr(seen, clean) + 3


def test_deepinv_takes_it() -> None:
    deepinv = pytest.importorskip("deepinv")
    denoiser = Denoiser(*SC)
    assert isinstance(denoiser, deepinv.models.Denoiser)
    clean = data.sample("camera", size=64)
    physics = deepinv.physics.BlurFFT(
        img_size=(1, 64, 64),
        filter=deepinv.physics.blur.gaussian_blur(sigma=(1.2, 1.2)),
        noise_model=deepinv.physics.GaussianNoise(2 / 255),
    )
    seen = physics(clean)
    estimate = deepinv.optim.DPIR(sigma=2 / 255, denoiser=denoiser)(seen, physics)
    assert psnr(estimate, clean) > psnr(seen, clean) + 3
