# %% [markdown]
# # 01 · Patches: extract, denoise, average
#
# Lesson 00 blurred everything alike, because it knew nothing about pictures. Here is the first
# thing to know: seen through a window of 8 × 8 pixels, a photograph is *simple*. Written in the
# right basis, almost all of its windows need a handful of numbers, and noise needs them all. A
# denoiser follows in one sentence: cut the picture into patches, keep the large numbers, put the
# patches back.
#
# **You will be able to**
#
# - cut an image into overlapping patches and put it together again, border included;
# - explain what "sparse" means, and see that photographs are and noise is not;
# - derive hard thresholding and choose its threshold from σ;
# - derive the best linear rival, and say where it wins;
# - write a denoiser that leaves the best Gaussian filter two decibels behind, and say where it
#   fails.
#
# **Before you start**
#
# - **Time:** 75 minutes; all cells together run in seconds on a laptop.
# - **You need:** lesson 00 (noise, PSNR); orthonormal bases.
# - **Source:** B. Lecouat, J. Ponce, J. Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, 2020 (GroupSC), §2 (eq. 1, 2) and §3.1 (eq. 5).
# - **Letters:** the table in lesson 00.

# %%
# %matplotlib inline
import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import data
from lessons_lib.classical import METHODS
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check, lesson_00
from lessons_lib.metrics import psnr
from lessons_lib.ops.dictionary import dct_dictionary
from lessons_lib.ops.patches import centre, extract_patches, overlap_average
from lessons_lib.viz import figures, widgets

# %% [markdown]
# ## 1. How do we take a picture apart, and put it back?
#
# The picture and the noise are those of lesson 00: $x$ is clean, $y$ noisy.


# %% tags=["nbval-check-output"]
sigma = 25 / 255
clean = data.sample("camera")[..., 40:296, 140:396]
noisy = GaussianNoise(sigma)(clean, "camera")
crop = (20, 24, 144, 144)  # what the figures show: top, left, height, width


def decibels(estimate: Tensor, target: Tensor = clean) -> float:
    """PSNR of the estimate, clipped to [0, 1]."""
    return psnr(estimate.clamp(0, 1), target).item()


print(f"noisy: {decibels(noisy):.1f} dB")

# %% [markdown]
# A **patch** is a square window of $\sqrt m \times \sqrt m$ pixels, written as a vector
# $\mathbf y_i \in \mathbb R^m$, row below row. There is one patch for every position $i$ at which
# the window fits, so patches overlap: an image of $H \times W$ pixels has
# $N = (H - \sqrt m + 1)(W - \sqrt m + 1)$ of them. Here are three with $m = 64$.

# %%
corners = {"sky": (24, 184), "edge": (65, 4), "hair": (56, 62)}
figure = figures.new_figure(9, 2.5, columns=4)
figure.axes[0].imshow(clean[0, 0], cmap="gray", vmin=0, vmax=1)
figure.axes[0].set_title("photograph", fontsize=9)
for axes, (name, (row, column)), colour in zip(
    figure.axes[1:], corners.items(), figures.COLOURS, strict=False
):
    across, down = [column, column + 8, column + 8, column], [row, row, row + 8, row + 8]
    figure.axes[0].fill(across, down, fill=False, color=colour, linewidth=2)
    axes.imshow(clean[0, 0, row : row + 8, column : column + 8], cmap="gray", vmin=0, vmax=1)
    axes.set_title(f"{name}, from row {row}, column {column}", fontsize=9, color=colour)
for axes in figure.axes:
    axes.set_axis_off()
figure

# %% [markdown]
# **What to notice.** The sky is one number, the edge of the shoulder is two and a direction, and
# the hair is what we shall have trouble with. Most windows of most photographs look like the
# first two.
#
# *Toy example.* The image $\begin{pmatrix}0&1&2\\3&4&5\end{pmatrix}$ has two patches of 2 × 2
# pixels: $\mathbf y_1 = (0, 1, 3, 4)$ and $\mathbf y_2 = (1, 2, 4, 5)$. They become the
# *columns* of a matrix.
#
# ### Exercise 1: cut out all patches
#
# Return all overlapping patches as columns, $(B, C, H, W) \to (B, C m, N)$. Positions run row by
# row, from left to right; within a patch come the channels one after the other, each row by row.
#
# *Expect* the two columns above.
#
# <details><summary>Hint</summary>
#
# Two loops over positions and a `torch.stack` will do. PyTorch also has a function for it: read
# `help(F.unfold)`.
# </details>


# %% tags=["nbval-check-output"]
def extract(image: Tensor, size: int) -> Tensor:
    """All size x size patches as columns, (B, C, H, W) -> (B, C * size**2, N)."""
    ### BEGIN SOLUTION
    return F.unfold(image, size)
    ### END SOLUTION


extract = check("patches.extract", extract)
toy = torch.arange(6.0).view(1, 1, 2, 3)
print(extract(toy, 2)[0])

# %% [markdown]
# The way back. Let $\mathbf R_i$ put a patch at its place in an image of zeros. If every patch
# comes with an estimate $\hat{\mathbf x}_i$, each pixel has as many estimates as there are
# patches that hold it, and we take their mean:
#
# $$ \hat x(p) = \frac{1}{c(p)} \Bigl( \sum_{i=1}^N \mathbf R_i \hat{\mathbf x}_i \Bigr)(p) ,
#    \qquad c(p) = \text{number of patches that hold pixel } p . $$
#
# That is the paper's eq. 2, except that the paper divides by $m$ everywhere: "we neglect the fact
# that pixels close to the image border admit less estimates". We do not, and count.
#
# The sum is the **adjoint** of extraction: $\langle \sum_i \mathbf R_i \mathbf v_i, x\rangle =
# \sum_i \langle \mathbf v_i, \mathbf R_i^\top x\rangle$ for any patches $\mathbf v_i$, since
# $\mathbf R_i^\top$ cuts out patch $i$. Adjoints will be everywhere in this course: every gradient
# through patches is one.
#
# ### Exercise 2: average
#
# Put the patches $(B, C m, N)$ back and divide by the right count at each pixel.
#
# *Expect* the image back, if nothing was done to its patches.
#
# <details><summary>Hint</summary>
#
# `F.unfold` has a counterpart that adds patches up. The counts are such a sum, too. Of which
# patches?
# </details>


# %% tags=["nbval-check-output"]
def average(patches: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Mean of all estimates of each pixel, (B, C * size**2, N) -> (B, C, *shape)."""
    ### BEGIN SOLUTION
    counts = F.fold(torch.ones_like(patches), shape, size)
    return F.fold(patches, shape, size) / counts
    ### END SOLUTION


average = check("patches.average", average)
again = average(extract(clean, 8), (256, 256), 8)
print(f"{extract(clean, 8).shape[-1]} patches; equal to the image:", torch.allclose(again, clean))

# %%
ones = extract(torch.ones(1, 1, 24, 24), 8)
counts = F.fold(ones, (24, 24), 8)[0, 0]
figure = figures.new_figure(6.5, 2.6, columns=2)
picture = figure.axes[0].imshow(counts, cmap="gray", vmin=0)
figure.colorbar(picture, ax=figure.axes[0], label="patches per pixel")
figure.axes[0].set_axis_off()
figure.axes[1].plot(counts[12], "o-", markersize=3, label="row 12, in the middle")
figure.axes[1].plot(counts[0], "s--", markersize=3, label="row 0, the border")
figure.axes[1].set(xlabel="column", ylabel="patches per pixel", ylim=(0, 92))
figure.axes[1].legend(frameon=False, loc="upper center", fontsize=8)
figure

# %% [markdown]
# **What to notice.** A 24 × 24 image, 8 × 8 patches. Inside, each pixel is estimated 64 times, in
# the middle of an edge 8 times, in the corner once. Dividing by 64 everywhere would draw a black
# frame around the picture, and few estimates mean a noisier border: we come back to it.
#
# ## 2. In which basis is a patch simple?
#
# Choose $m$ patterns, the columns of a matrix $\mathbf D$, and write each patch as a sum of them,
# $\mathbf y_i = \mathbf D \boldsymbol\alpha_i$. The **discrete cosine transform** (DCT) takes
# waves, from slow to fast, across and down:
#
# $$ d_{fg}(r, c) \;\propto\; \cos\tfrac{\pi (r + \frac12) f}{8}\,
#    \cos\tfrac{\pi (c + \frac12) g}{8}, \qquad f, g = 0, \dots, 7 , $$
#
# at row $r$ and column $c$ of the patch.
#
# With unit length they are orthonormal, $\mathbf D^\top \mathbf D = \mathbf I$. So the **code**
# of a patch is $\boldsymbol\alpha_i = \mathbf D^\top \mathbf y_i$, and lengths are the same on
# both sides: $\lVert\boldsymbol\alpha_i\rVert = \lVert\mathbf y_i\rVert$.

# %%
basis = dct_dictionary(8, 64)
print(f"largest entry of |DᵀD − I|: {(basis.T @ basis - torch.eye(64)).abs().max():.0e}")
figures.show_dictionary(basis, 8, columns=8, width=3.2)

# %% [markdown]
# **What to notice.** The first pattern is flat: its coefficient is 8 times the mean of the patch,
# and says how bright the patch is, not what is in it. The paper takes the mean off before
# anything else and adds it back at the end (eq. 5):
#
# $$ \mathbf y_i^c = \mathbf y_i - \mu_i \mathbf 1, \qquad \mu_i = \tfrac1m \mathbf 1^\top \mathbf
#    y_i . $$
#
# `centre` does that. The other 63 coefficients tell what is *in* the patch. We sort their
# magnitudes in each patch, and average over all patches of the photograph; then the same for the
# noise alone. The dotted line is what sorting hides: the noise in any *given* coefficient is σ,
# since an orthonormal basis only turns the noise, and turned white noise is white noise.

# %% tags=["nbval-check-output"]
codes = {}
for name, image in {"photograph": clean, "noise, σ = 25": noisy - clean}.items():
    centred, mean = centre(extract_patches(image, 8))
    codes[name] = (basis.T @ centred)[0].abs().sort(dim=0, descending=True).values
    energy = codes[name].square().sum(dim=1) / codes[name].square().sum()
    print(f"{name:13s}", *[f"| {energy[:s].sum():.0%} of the energy in {s}" for s in (2, 8, 16)])
large = codes["photograph"] > sigma
share = codes["photograph"][large].square().sum() / codes["photograph"].square().sum()
print(f"photograph: {large.float().sum(dim=0).mean():.1f} a patch above σ, which hold {share:.0%}")
print(f"{(large.sum(dim=0) == 0).float().mean():.0%} of the patches have none, "
      f"{(large.sum(dim=0) >= 8).float().mean():.0%} have eight or more")

# %%
figure = figures.new_figure(6, 3)
for (name, code), style in zip(codes.items(), figures.LINE_STYLES, strict=False):
    figure.axes[0].plot(range(1, 65), code.mean(dim=1), style, label=name)
figure.axes[0].axhline(sigma, color="black", linestyle=":", label="σ: noise at any one coefficient")
figure.axes[0].set(xlabel="rank of the coefficient in its patch", ylabel="mean magnitude",
                   yscale="log", ylim=(1e-3, 1))
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Eight coefficients of 63 hold 92 % of what is in the photograph's patches:
# the photograph is **sparse** in this basis, and the noise, whose curve falls slowly, is not. Do
# not compare the two curves with each other, though. The large noise coefficients that sorting
# puts first stand anywhere in the patch, not where the photograph has its own. Compare the
# photograph with σ: on average 3.6 of its coefficients in a patch are larger, and hold 95 % of
# the energy. (Half of the patches, like the sky's, have none; a fifth have eight or more.) The
# other sixty are better replaced by zero.
#
# ## 3. Which coefficients should we keep?
#
# Ask for a code that fits the patch with few non-zero entries, where each costs $\frac12 t^2$:
#
# $$ \min_{\boldsymbol\alpha}\; \tfrac12 \lVert \mathbf y - \mathbf D \boldsymbol\alpha \rVert_2^2
#    + \tfrac12 t^2 \lVert \boldsymbol\alpha \rVert_0 . $$
#
# This is the paper's eq. 1 with the count $\lVert\cdot\rVert_0$ in place of the $\ell_1$ norm.
# For a general $\mathbf D$ it is "a combinatorially hard problem". With an orthonormal one,
# $\lVert \mathbf y - \mathbf D \boldsymbol\alpha \rVert = \lVert \mathbf z - \boldsymbol\alpha
# \rVert$ for $\mathbf z = \mathbf D^\top \mathbf y$, and every entry can be chosen alone:
# keeping $z_j$ costs $\frac12 t^2$, dropping it costs $\frac12 z_j^2$.
#
# ### Exercise 3: hard thresholding
#
# Write the minimiser $\boldsymbol\alpha$ as a function of $\mathbf z$ and the threshold $t$.
#
# *Expect* `[-3.0, 0.0, 2.0]` from `[-3.0, 0.5, 2.0]` with threshold 1.
#
# <details><summary>Hint</summary>
#
# Compare the two costs. A comparison of tensors gives a mask.
# </details>


# %% tags=["nbval-check-output"]
def hard_threshold(z: Tensor, threshold: float) -> Tensor:
    """Minimiser of ½(u − z)² + ½ threshold² [u ≠ 0], entry by entry; any shape -> same shape."""
    ### BEGIN SOLUTION
    return z * (z.abs() > threshold)
    ### END SOLUTION


hard_threshold = check("prox.hard_threshold", hard_threshold)
print(hard_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist())

# %% [markdown]
# **Predict.** A patch of pure noise has 63 coefficients besides its mean. How many of them will
# exceed $t = 3\sigma$?


# %%
def false_alarms(noise=noisy - clean, waves=basis, threshold=3 * sigma) -> tuple[str, str]:
    centred, _ = centre(extract_patches(noise, 8))
    count = ((waves.T @ centred).abs() > threshold).sum(dim=1).float().mean().item()
    right = "a" if count < 0.05 else "b" if count < 0.7 else "c"
    return right, f"Measured, over all patches of the noise: {count:.2f} in a patch."


widgets.predict({"a": "none, in practice", "b": "one in every few patches",
                 "c": "one or more in every patch"}, false_alarms)

# %% [markdown]
# **The threshold.** Each coefficient carries noise of standard deviation σ. A Gaussian exceeds 3σ
# with probability 0.27 %, so $t = 3\sigma$ lets $63 \cdot 0.0027 = 0.17$ noise coefficients per
# patch through, and drops whatever picture there is below 3σ. Let us watch it on the three patches.

# %%
shown = {}
for name, (row, column) in corners.items():
    window = (..., slice(row, row + 8), slice(column, column + 8))
    centred, mean = centre(extract_patches(noisy[window], 8))
    code = basis.T @ centred
    kept = hard_threshold(code, 3 * sigma)
    shown[f"{name}, clean"], shown[f"{name}, noisy"] = clean[window], noisy[window]
    shown[f"|codes of the {name}|, white is 6σ"] = code.abs().view(1, 1, 8, 8) / (6 * sigma)
    count = int((kept != 0).sum())
    shown[f"{name}: {count} of 63 and the mean"] = (basis @ kept + mean).view(1, 1, 8, 8)
figures.show_images(shown, columns=4, width=8)

# %% [markdown]
# **What to notice.** The codes stand as in the figure of the basis, slow waves at the top left.
# Of the sky only the mean is kept, and that is right. The edge stands out of the noise in five
# coefficients, but needs more: the five waves ripple beside it. The hair is lost. Its many small
# coefficients are where the noise is, and from one patch alone nobody can tell them apart.
#
# ## 4. One grid of patches, or all of them?
#
# Everything is there for a denoiser: cut, centre, transform, threshold, transform back, add the
# means, average. One choice is left. We could cut the image into *disjoint* blocks (a **stride**
# of 8 pixels, as JPEG does) or take *every* patch (stride 1), which is 64 times the work. The
# library's `extract_patches(image, size, stride)` and `overlap_average(patches, shape, size,
# stride)` are your functions of exercises 1 and 2, with a stride. Where the stride does not end at
# the border, `extract_patches` adds a last row and column of patches that do, so that every pixel
# has an estimate. (`F.unfold` does not: pixels that it leaves out would be divided by 0.)
#
# ### Exercise 4: the DCT denoiser
#
# Write it. Only the centred patches go through the threshold; their means are added back
# untouched.
#
# *Expect* 29.8 dB with $t = 3\sigma$, size 8 and stride 1, from 20.7 dB.
#
# <details><summary>Hint</summary>
#
# Five lines: `dct_dictionary(size, size**2)` is $\mathbf D$, `centre` returns the centred patches
# and their means, and codes are $\mathbf D^\top$ times patches.
# </details>


# %%
def dct_denoise(noisy: Tensor, threshold: float, size: int, stride: int) -> Tensor:
    """Hard-threshold the DCT of every patch, and average; (B, 1, H, W) -> (B, 1, H, W)."""
    shape = (noisy.shape[-2], noisy.shape[-1])
    ### BEGIN SOLUTION
    basis = dct_dictionary(size, size**2)
    centred, mean = centre(extract_patches(noisy, size, stride))
    kept = hard_threshold(basis.T @ centred, threshold)
    return overlap_average(basis @ kept + mean, shape, size, stride)
    ### END SOLUTION


dct_denoise = check("denoise.dct", dct_denoise)

# %% [markdown]
# **Predict.** With all patches, each pixel has 64 estimates instead of one. If their errors were
# independent, the mean of 64 would be $10 \log_{10} 64 = 18$ dB better. What will it be?


# %%
def overlap(given=noisy, threshold=3 * sigma) -> tuple[str, str]:
    once, often = (decibels(dct_denoise(given, threshold, 8, stride)) for stride in (8, 1))
    gain = often - once
    right = "a" if gain < 1 else "b" if gain < 6 else "c" if gain < 15 else "d"
    return right, f"From {once:.1f} to {often:.1f} dB."


widgets.predict({"a": "less than 1 dB", "b": "a few decibels", "c": "6 to 15 dB",
                 "d": "nearly all of the 18 dB"}, overlap)

# %% tags=["nbsphinx-thumbnail"]
blocks = dct_denoise(noisy, 3 * sigma, 8, 8)
estimate = dct_denoise(noisy, 3 * sigma, 8, 1)
shown = {"noisy": noisy, "disjoint blocks": blocks, "all patches": estimate, "clean": clean}
figures.show_images(shown, clean=clean, crop=crop)

# %% [markdown]
# **What to notice.** With disjoint blocks you see the grid: neighbouring blocks know nothing of
# each other, and where they disagree there is a step. With all patches the grid is gone, and
# three decibels are won. Each pixel's 64 estimates make *different* errors, since each patch saw
# the pixel at another place among other neighbours, and averages of different errors are smaller.

# %% tags=["nbval-check-output"]
for stride in (8, 4, 2, 1):
    image = dct_denoise(noisy, 3 * sigma, 8, stride)
    # Move the picture, denoise, move back: would another grid have given another answer?
    moved = dct_denoise(noisy[..., 3:, 5:], 3 * sigma, 8, stride)
    difference = (moved - image[..., 3:, 5:])[..., 8:-8, 8:-8].abs().max()
    per_pixel = (8 // stride) ** 2
    print(f"stride {stride}: {per_pixel:2d} per pixel, {decibels(image):.1f} dB, "
          f"moving the grid changes a pixel by up to {difference * 255:.0f} grey levels")

# %% [markdown]
# **What to notice.** Every halving of the stride helps, and the last one least. With stride 1
# there is no grid to move: away from the border the denoiser is **translation invariant**, as
# the world is that the photograph shows.
#
# Is $3\sigma$ the best threshold? And what would the best Gaussian filter do?

# %%
factors = [1.5, 1.8, 2.1, 2.4, 2.7, 3.0, 3.3, 3.6, 4.0, 4.5]
figure = figures.new_figure(6.5, 3.2)
for (stride, label), style in zip(((1, "all patches"), (8, "disjoint blocks")), "os", strict=True):
    curve = [decibels(dct_denoise(noisy, t * sigma, 8, stride)) for t in factors]
    figure.axes[0].plot(factors, curve, "-" + style, markersize=4, label=label)
filtered = {w: lesson_00.gaussian_filter(noisy, w) for w in (0.6, 0.7, 0.8, 0.9, 1.0, 1.2)}
best = max(filtered, key=lambda w: decibels(filtered[w]))
figure.axes[0].axhline(decibels(filtered[best]), color="black", linestyle=":",
                       label=f"Gaussian filter, width {best}")
figure.axes[0].set(xlabel="threshold / σ", ylabel="PSNR in dB")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** The rule is good: no threshold on this grid beats $3\sigma$ by 0.1 dB. A
# little less than $3\sigma$ is best with all patches, since their average removes some of the
# noise that slips through. Disjoint blocks stay below the Gaussian filter at *every* threshold:
# sparsity alone does not make a denoiser, sparsity and averaging do.
#
# Choose a threshold and a patch size. At 0 you see the noisy image; at 6σ, a mosaic of means,
# blurred. What do large patches do better than small ones, and what worse?


# %%
def draw(threshold: float, size: int, given=noisy, photo=clean):
    image = dct_denoise(given, threshold * sigma, size, 1)
    shown = {"noisy": given, f"{threshold} σ, {size} × {size}": image, "clean": photo}
    return figures.show_images(shown, clean=photo, crop=crop)


widgets.explore(draw, threshold=[3.0, 0.0, 1.5, 2.0, 2.5, 3.5, 4.5, 6.0], size=[8, 4, 6, 12, 16])

# %% [markdown]
# ## 5. Keep it, drop it, or something between?
#
# Thresholding knows two answers, and gives them to each coefficient of each patch. Let us try the
# opposite: any factor between 0 and 1, but one for each wave, the same in all patches,
# $\hat\alpha_j = g_j z_j$. What is the most that this can do?
#
# ### Exercise 5: the best factor
#
# Look at one wave. Its noisy coefficient in a patch is $z = \alpha + \eta$, where $\eta$ has mean
# zero and deviation σ and is independent of $\alpha$. Which $g$ makes the expected error
# $\mathbb E\,(g z - \alpha)^2$ smallest? Derive it; it is not on this page. Nobody tells you how
# large the $\alpha$ are. You are given what can be measured: the mean of $z^2$ over the patches of
# the *noisy* picture, and σ.
#
# Such a mean fluctuates and may come out smaller than any picture with noise of σ could make it.
# For some waves it may be 0. The factor is between 0 and 1 all the same.
#
# *Expect* 0.5 for a wave that has as much of the picture in it as of the noise.
#
# <details><summary>Hint</summary>
#
# Put $\alpha + \eta$ in place of $z$, multiply out, and take the mean of each term. One of them
# vanishes, and what is left is a parabola in $g$. It contains two mean squares: you know one of
# them, and how do you get the other?
# </details>


# %%
def best_factor(measured: Tensor, sigma: float) -> Tensor:
    """Factors in [0, 1] from mean squares of noisy coefficients; any shape -> same shape."""
    ### BEGIN SOLUTION
    picture = (measured - sigma**2).clamp_min(0)
    return picture / measured.clamp_min(1e-30)  # where nothing is measured, 0
    ### END SOLUTION


best_factor = check("shrinkage.best_factor", best_factor)


def shrink(noisy: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The estimate (B, 1, H, W) by one factor for each wave, and the factors (B, 64, 1)."""
    centred, mean = centre(extract_patches(noisy, 8))
    z = basis.T @ centred
    factors = best_factor(z.square().mean(dim=2, keepdim=True), sigma)
    estimate = basis @ (factors * z) + mean
    return overlap_average(estimate, (noisy.shape[-2], noisy.shape[-1]), 8), factors


# %%
shown = {}
for name in ("brick", "astronaut", "grass"):
    version = GaussianNoise(sigma)(data.sample(name, size=256), name)
    shown[f"{name}: factors"] = shrink(version, sigma)[1].view(1, 1, 8, 8)
figures.show_images(shown, columns=3, width=7)

# %% [markdown]
# **What to notice.** White is 1, black is 0, and the waves stand as in the figure of the basis.
# (The corner is black because the mean is kept apart.) Bricks keep waves that go straight across,
# a few that go straight down, and hardly any slanted one; the astronaut keeps slow waves, and grass
# a little of all. No window of lesson 00 adapts like that, and all of it was found in the noisy
# pictures. It makes a **Wiener filter** (1949): it weakens a wave in all patches alike, in those
# with picture and in those with nothing but noise.
#
# ## Results: against the best Gaussian filter
#
# The opponent is the filter of lesson 00, at the width that is best for *this* picture. We grant
# ourselves no such luxury: $t = 3\sigma$ it stays.

# %% tags=["nbval-check-output"]
rows = {
    "noisy": noisy,
    f"Gaussian filter, width {best}": filtered[best],
    "DCT, one factor for each wave": shrink(noisy, sigma)[0],
    "DCT, disjoint blocks": blocks,
    "DCT, all patches": estimate,
    "library: lessons denoise --method dct": METHODS["dct"].function(noisy, sigma),
}
for name, image in rows.items():
    print(f"{name:38s}{decibels(image):5.1f} dB")
margin = decibels(estimate) - decibels(filtered[best])
print(f"all patches against the Gaussian filter: {margin:+.1f} dB")
assert margin > 2, "the DCT denoiser must beat the best Gaussian filter by 2 dB"
pair = {"Gaussian filter": filtered[best], "DCT, all patches": estimate}
figures.show_images(pair, clean=clean, crop=crop, residual=True, width=6.5)

# %% [markdown]
# **What to notice.** The filter leaves noise in the sky and blurs the profile; the DCT cleans the
# one and keeps the other. Its error is quiet where the picture is simple and sits in the hair,
# and in ripples along edges: a step needs many waves, a slanted one more of them, and those below
# the threshold are missing.
#
# One factor for each wave beats the Gaussian filter, though not by much. What thresholding gains,
# it gains by deciding anew *in each patch*.
#
# The library gains a little more. It takes $2.7\sigma$, and has one more idea: a patch that kept
# $s$ coefficients and its mean carries the noise of $s + 1$ numbers out of 64, so the fewer it
# kept, the more we trust it. It takes a weighted mean of the estimates, with weights $1 / (s + 1)$.
#
# ## What breaks
#
# **Texture.** Sparsity is a bet on what is in a patch. On bricks and astronauts it pays. Gravel
# and grass are less sparse in cosines, and $3\sigma$ drops their many small coefficients with the
# noise. There even a Gaussian filter (at its best width) does better, and the factors of exercise 5
# better still. Part of it is the rule's fault: with $2.4\sigma$ gravel has 25.8 dB and grass 24.2,
# as much as the factors have or more. No one threshold suits all pictures.
#
# **σ unknown.** We were told σ. Whoever takes it for half of what it is keeps the noise; whoever
# doubles it falls behind the Gaussian filter. The estimate of lesson 00 is good enough.

# %% tags=["nbval-check-output"]
print("             Gaussian    factors  threshold  (dB)")
for name in ("brick", "astronaut", "gravel", "grass"):
    target = data.sample(name, size=256)
    version = GaussianNoise(sigma)(target, name)
    linear = max(decibels(lesson_00.gaussian_filter(version, w), target) for w in filtered)
    wiener = decibels(shrink(version, sigma)[0], target)
    sparse = decibels(dct_denoise(version, 3 * sigma, 8, 1), target)
    print(f"{name:12s} {linear:8.1f} {wiener:10.1f} {sparse:10.1f}")
assert wiener > sparse, "on grass, a factor for each wave must beat thresholding"
for taken in (0.5 * sigma, sigma, 1.5 * sigma, 2 * sigma, lesson_00.noise_level(noisy).item()):
    image = dct_denoise(noisy, 3 * taken, 8, 1)
    print(f"camera, when σ = 25 is taken for {255 * taken:.1f}: {decibels(image):.1f} dB")

# %% [markdown]
# **The border.** A corner pixel has one estimate, not 64. What does that cost? Denoise a larger
# photograph, of which ours is the middle, and then the middle alone: the same pixels with the
# same noise, once with their surroundings and once without.

# %% tags=["nbval-check-output"]
wide = data.sample("camera")[..., 24:312, 124:412]
inside = (..., slice(16, -16), slice(16, -16))
version = GaussianNoise(sigma)(wide, "wide")
cut = (dct_denoise(version[inside], 3 * sigma, 8, 1) - clean).square()
whole = (dct_denoise(version, 3 * sigma, 8, 1)[inside] - clean).square()
depth = torch.minimum(torch.arange(256), torch.arange(255, -1, -1))
depth = torch.minimum(depth[:, None], depth)  # distance of each pixel from the border
for name, ring in {"0": depth == 0, "1 to 2": (depth > 0) & (depth < 3),
                   "3 to 6": (depth > 2) & (depth < 7), "7 or more": depth > 6}.items():
    loss = 10 * torch.log10(cut[..., ring].mean() / whole[..., ring].mean()).item()
    print(f"{name:>9s} pixels from the border: {abs(loss):.1f} dB lost")

# %% [markdown]
# From seven pixels inward all 64 patches are there, and nothing is lost. Papers leave the border
# out, or pad; a network that works on tiles must let them overlap. Lesson 05 weighs its loss by
# the counts of exercise 2.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("01")

# %% [markdown]
# ## Problems
#
# **1. Three decibels, and not eighteen.** Say the 64 estimates of a pixel have errors of mean
# square $v$, and the mean product of the errors of two of them is $\rho v$. What is the mean square
# of the error of their mean? Which $\rho$ belongs to the three decibels that all patches gain on
# disjoint blocks? Measure $\rho$, by denoising with each of the 64 grids alone. How much could
# be gained with as many grids as one likes?
#
# <details><summary>Solution</summary>
#
# The square of the mean of 64 errors has $64^2$ products, of which 64 are squares:
#
# $$ \frac{64\,v + 64 \cdot 63\,\rho v}{64^2} = v\,\Bigl(\rho + \frac{1 - \rho}{64}\Bigr) . $$
#
# A gain of 3.2 dB is a factor of 0.48, so $\rho \approx 0.47$: the errors come from the same noise
# and the same picture, and nearly half of their energy is common to all grids. The next cell leaves
# out the border, where there are fewer patches, and finds 0.45. An infinite number of grids would
# leave $\rho v$, only 0.1 dB better: 64 of them have used the idea up.
#
# ```python
# errors = []
# for row in range(8):
#     for column in range(8):
#         own = dct_denoise(noisy[..., row : row + 248, column : column + 248], 3 * sigma, 8, 8)
#         error = own - clean[..., row : row + 248, column : column + 248]
#         errors.append(error[..., 8 - row : 240 - row, 8 - column : 240 - column].flatten())
# products = torch.stack(errors) @ torch.stack(errors).T / len(errors[0])
# v = products.diagonal().mean()
# rho = (products.sum() - products.trace()) / (64 * 63 * v)
# gains = [-10 * torch.log10(part) for part in (rho + (1 - rho) / 64, rho)]
# print(f"ρ = {rho:.2f}: 64 grids gain {gains[0]:.1f} dB, infinitely many {gains[1]:.1f} dB")
# ```
#
# </details>
#
# **2. A factor for the sky, and one for the hair.** The factors of exercise 5 are the same in all
# patches. Sort the noisy patches by the energy of their coefficients, cut the list into 16 groups
# of equal size, and find the factors in each group from its own patches. How does that do on the
# camera man, and on the textures?
#
# <details><summary>Solution</summary>
#
# ```python
# def shrink_in_groups(noisy, sigma, groups=16):
#     centred, mean = centre(extract_patches(noisy, 8))
#     z = (basis.T @ centred)[0]
#     kept = torch.zeros_like(z)
#     for group in z.square().sum(dim=0).argsort().chunk(groups):
#         measured = z[:, group].square().mean(dim=1, keepdim=True)
#         kept[:, group] = best_factor(measured, sigma) * z[:, group]
#     return overlap_average(basis @ kept[None] + mean, (noisy.shape[-2], noisy.shape[-1]), 8)
#
# for name in ("camera", "brick", "astronaut", "gravel", "grass"):
#     target = clean if name == "camera" else data.sample(name, size=256)
#     version = GaussianNoise(sigma)(target, name)
#     versions = (shrink(version, sigma)[0], shrink_in_groups(version, sigma),
#                 dct_denoise(version, 3 * sigma, 8, 1))
#     print(f"{name:10s}", *[f"{decibels(image, target):6.1f}" for image in versions])
# ```
#
# The camera man gains 2.1 dB and comes within 0.2 dB of thresholding. On gravel and grass, where
# thresholding loses, groups are better than anything else in this lesson. Which factor a patch
# gets now depends on the patch: this denoiser is not linear any more. (The groups are chosen by
# noisy energy, so that the quiet ones have less noise than σ, and the loud ones more; the factors
# are a little off.)
#
# </details>

# %% [markdown]
# ## Further reading
#
# - D. Donoho, I. Johnstone, *Ideal spatial adaptation by wavelet shrinkage*, Biometrika 1994: why
#   thresholding, and how high.
# - R. Coifman, D. Donoho, *Translation-invariant de-noising*, 1995: why all positions of the
#   grid.
# - O. Guleryuz, *Nonlinear approximation based image recovery using adaptive sparse
#   reconstructions and iterated denoising*, 2006: the weights $1 / (s+1)$.
# - G. Yu, G. Sapiro, *DCT image denoising: a simple and effective image denoising algorithm*,
#   Image Processing On Line 2011.
#
# **Next:** [02 · ISTA and FISTA](02_ista.ipynb) adds patterns that are not waves. Then
# $\mathbf D^\top \mathbf y$ no longer solves anything, and we need an algorithm.
