"""Classical denoisers: what one could do before anybody trained a network.

Each takes a noisy image and the noise's standard deviation, and nothing else. `METHODS` lists them
by name for the command line and the benchmark.
"""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lessons_lib.ops.dictionary import dct_dictionary, learn_dictionary
from lessons_lib.ops.patches import centre, extract_patches, overlap_add, patch_positions
from lessons_lib.ops.prox import hard_threshold
from lessons_lib.solvers import omp

Progress = Callable[[float], None]
Coder = Callable[[Tensor], tuple[Tensor, Tensor]]

# Patches coded at once: bounds memory to some 100 MB whatever the size of the photograph.
BATCH = 20_000
# Noise that is less than this share of the contrast (the standard deviation of the image) is
# nothing to learn by: one gray level or so in most photographs.
LEAST = 0.02
# Steps to which patches are rounded before a dictionary is learned from them, in units of contrast.
GRID = 2**28


@dataclass(frozen=True)
class Method:
    """A denoiser by name.

    Attributes:
        function: of a denoiser ``function(noisy, sigma, progress=None)``, from ``(1, C, H, W)`` and
            σ on the [0, 1] scale to an estimate of the same shape; ``progress`` is called with the
            share done, from 0 to 1. Methods of other tasks are given what their task knows, see
            `lessons_lib.tasks`.
        description: one line.
        title: what tables call it; its name, where there is none.
        lesson: the lesson that teaches it, None if none does.
        published: its names in tables of papers, for gray and for colour images; empty for none.
        smallest: least number of pixels that either side of the image must have.
        package: what has to be installed for it beyond the library's own requirements.
        faster_with: a module that makes it faster where it is installed.
    """

    function: Callable[..., Tensor]
    description: str
    title: str = ""
    lesson: int | None = None
    published: tuple[str, str] = ("", "")
    smallest: int = 1
    package: str | None = None
    faster_with: str | None = None

    def advice(self) -> str | None:
        """What would make it faster on this machine; None if nothing would."""
        if self.faster_with is None or importlib.util.find_spec(self.faster_with) is not None:
            return None
        return f"faster with {self.faster_with.upper()}, which is not installed"

    def missing(self) -> str | None:
        """The package that is needed and not installed, or None."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return self.package


def denoise_patches(
    noisy: Tensor, size: int, code: Coder, progress: Progress | None = None
) -> Tensor:
    """Cut all overlapping patches, replace each by its sparse estimate, and average.

    Works on bands of rows, so that memory does not grow with the image.

    Args:
        noisy: ``(1, C, H, W)``.
        size: side of the patches.
        code: maps patches ``(m, n)``, each channel of each centred, to their estimates ``(m, n)``
            and to positive weights ``(n,)``, how far each estimate is to be trusted.
        progress: called with the share done.

    Returns:
        ``(1, C, H, W)``.

    Raises:
        ValueError: if the image is smaller than a patch, or is several images.

    Source: GroupSC eq. 2 and 5, with weights.
    Differs from the paper: each channel keeps its own mean. With one mean for all three, sparse
    codes spend their first atoms on the colour of the patch, or lose it.
    """
    _one_image(noisy)
    height, width = noisy.shape[-2:]
    total = torch.zeros_like(noisy)
    weight_sum = torch.zeros_like(noisy[:, :1])
    rows = len(patch_positions(height, size))
    band = max(1, BATCH // len(patch_positions(width, size)))
    for top in range(0, rows, band):
        bottom = min(top + band, rows) + size - 1
        strip = noisy[..., top:bottom, :]
        centred, mean = centre_channels(extract_patches(strip, size)[0], size)
        estimate, weights = code(centred)
        shape = (bottom - top, width)
        trusted = weights * (estimate + mean)
        total[..., top:bottom, :] += overlap_add(trusted[None], shape, size)
        spread = weights.expand(size**2, -1)
        weight_sum[..., top:bottom, :] += overlap_add(spread[None], shape, size)
        if progress is not None:
            progress(min(top + band, rows) / rows)
    return total / weight_sum


def _one_image(noisy: Tensor) -> Tensor:
    if len(noisy) != 1:
        raise ValueError(f"one image is denoised at a time, not {len(noisy)}")
    return noisy[0]


def _for_numpy(noisy: Tensor) -> np.ndarray:
    """``(1, C, H, W)`` as ``(H, W, C)`` in double precision."""
    return _one_image(noisy).permute(1, 2, 0).cpu().double().numpy()


def centre_channels(patches: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Take the mean of each channel of each patch away: ``(m, n)`` to twice ``(m, n)``."""
    centred, mean = centre(patches.unflatten(0, (-1, size**2)))
    return centred.flatten(0, 1), mean.expand_as(centred).flatten(0, 1)


def dct(noisy: Tensor, sigma: float, progress: Progress | None = None) -> Tensor:
    """Hard thresholding of the orthonormal DCT of every overlapping 8 × 8 patch, at 2.7 σ.

    Source: Guleryuz, *Nonlinear approximation based image recovery using adaptive sparse
    reconstructions and iterated denoising*, 2006; the weights are those of its part II.
    """
    basis = dct_dictionary(8, 64, noisy.shape[1]).to(noisy)

    def code(patches: Tensor) -> tuple[Tensor, Tensor]:
        codes = hard_threshold(basis.T @ patches, 2.7 * sigma)
        return basis @ codes, _trust(codes)

    return denoise_patches(noisy, 8, code, progress)


def dictionary(noisy: Tensor, sigma: float, progress: Progress | None = None) -> Tensor:
    """A dictionary learned from the noisy image itself, then orthogonal matching pursuit.

    Patches are coded until the residual is as long as the noise, ``C σ √m`` with C = 1.06.

    Source: Elad and Aharon, *Image denoising via sparse and redundant representations over learned
    dictionaries*, 2006, with the online dictionary learning of Mairal et al., 2010.
    """
    if progress is not None:
        progress(0.0)
    size = 9 if noisy.shape[1] == 1 else 7
    # Below the step between two gray levels a sparse code would only describe the rounding. How
    # large that is depends on what white is: so it is taken from the image.
    atoms = learn_from_image(noisy, size, 3 * max(sigma, LEAST * float(noisy.std())))
    limit = 1.06 * sigma * math.sqrt(len(atoms))

    def code(patches: Tensor) -> tuple[Tensor, Tensor]:
        codes, _ = omp(patches, atoms, residual_norm=limit)
        return atoms @ codes, _trust(codes)

    return denoise_patches(noisy, size, code, progress)


def learn_from_image(
    image: Tensor,
    size: int,
    lam: float,
    *,
    atoms: int = 256,
    iterations: int = 200,
    seed: int = 0,
) -> Tensor:
    """Learn a dictionary from the centred patches of one image, starting from cosines.

    Args:
        image: ``(1, C, H, W)``, at least as large as a patch.
        size: side of the patches.
        lam: weight of the ℓ1 norm, on the scale of the image.
        atoms: ``K`` for gray, see `dct_dictionary`; a colour dictionary has about as many.
        iterations: batches of 512 patches to learn from.
        seed: draws the patches and their order.

    Returns:
        ``(C * size², K)``, unit columns.

    Raises:
        ValueError: if the image is smaller than a patch, or is several images.
    """
    picture, channels = _one_image(image), image.shape[1]
    rows, columns = (len(patch_positions(length, size)) for length in image.shape[-2:])
    per_channel = round((atoms / channels) ** 0.5) ** 2
    start = dct_dictionary(size, per_channel, channels).to(image)
    windows = picture.unfold(1, size, 1).unfold(2, size, 1)  # (C, rows, columns, size, size)
    chosen = torch.from_numpy(np.random.RandomState(seed).permutation(rows * columns)[:100_000])
    drawn = windows[:, chosen // columns, chosen % columns]  # (C, n, size, size)
    patches, _ = centre_channels(drawn.movedim(1, -1).flatten(0, 2), size)
    # SPAMS has limits of its own that expect images about as contrasty as most are. And it takes
    # another path for a change of the last bits, which other units bring: so these are cut off.
    unit = 4 * float(image.std()) or 1.0
    scaled, price = (patches.double() / unit * GRID).round() / GRID, round(lam / unit * GRID) / GRID
    learned = learn_dictionary(scaled, start.shape[1], price, iterations=iterations, initial=start)
    return learned.to(image)


def nlm(noisy: Tensor, sigma: float, progress: Progress | None = None) -> Tensor:
    """Non-local means: average the pixels whose surroundings look alike (scikit-image's).

    Source: Buades, Coll, Morel, *A non-local algorithm for image denoising*, 2005.
    """
    from skimage.restoration import denoise_nl_means

    pixels = _for_numpy(noisy)
    estimate = denoise_nl_means(
        pixels,
        patch_size=5,
        patch_distance=10,
        h=0.6 * sigma,
        sigma=sigma,
        fast_mode=True,
        channel_axis=-1,
    )
    # scikit-image drops a single channel.
    return torch.from_numpy(estimate.reshape(pixels.shape)).permute(2, 0, 1)[None].to(noisy)


def bm3d(noisy: Tensor, sigma: float, progress: Progress | None = None) -> Tensor:
    """Block matching and 3-D filtering, by its authors' package (licence: non-commercial use).

    Source: Dabov, Foi, Katkovnik, Egiazarian, *Image denoising by sparse 3-D transform-domain
    collaborative filtering*, 2007.
    """
    package = importlib.import_module("bm3d")
    pixels = _for_numpy(noisy)
    function = package.bm3d if noisy.shape[1] == 1 else package.bm3d_rgb
    estimate = np.asarray(function(pixels, sigma)).reshape(pixels.shape)
    return torch.from_numpy(estimate).permute(2, 0, 1)[None].to(noisy)


def unchanged(noisy: Tensor, sigma: float, progress: Progress | None = None) -> Tensor:
    """The noisy image itself, for the first row of a table."""
    return noisy


def _trust(codes: Tensor) -> Tensor:
    """Weight of each patch: an estimate that needed few atoms lets little noise through."""
    return 1 / (1 + (codes != 0).sum(dim=0)).to(codes)


METHODS = {
    "noisy": Method(unchanged, "the noisy image itself", "noisy image"),
    "dct": Method(
        dct,
        "hard thresholding of overlapping DCT patches",
        "DCT thresholding",
        lesson=1,
        smallest=8,
    ),
    "dictionary": Method(
        dictionary,
        "a dictionary learned from the image, then OMP",
        "learned dictionary",
        lesson=3,
        smallest=9,
        faster_with="spams",
    ),
    "nlm": Method(nlm, "non-local means (scikit-image)", "non-local means", lesson=6, smallest=5),
    "bm3d": Method(
        bm3d,
        "BM3D, non-commercial licence",
        "BM3D",
        published=("BM3D", "CBM3D"),
        smallest=8,
        package="bm3d",
    ),
}
