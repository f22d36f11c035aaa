# %% [markdown]
# # 00 · Start here: images, noise, PSNR, SSIM, and why a protocol is part of a number
#
# A camera never hands you the scene. It hands you the scene plus noise, and *denoising* is the
# art of guessing what was there. Before we guess, this lesson settles two things: what the noise
# is, and how to say in a number how good a guess is.
#
# **You will be able to**
#
# - add noise to a photograph in a way that you, and others, can repeat;
# - compute PSNR and SSIM, and say what each of them sees and misses;
# - remove noise with the simplest filter there is, and explain why it cannot do better;
# - find σ in a single noisy picture;
# - look at a table of decibels in a paper and ask the right questions about it.
#
# **Before you start**
#
# - **Time:** 60 minutes; all cells together run in seconds on a laptop.
# - **You need:** Python, a little PyTorch (tensors and indexing), means and variances.
# - **Source:** G. Boracchi, *Convolutional neural networks for image restoration*, lecture
#   slides, 2022: the observation model.
#
# **How exercises work.** Replace `raise NotImplementedError` by your answer and run the cell. Its
# last line, `check(...)`, tests your function and says `PASS`, or which property it breaks. Until
# it passes, the rest of the notebook uses the library's version, so you can always read on.
#
# **Letters.** Papers differ; all lessons keep to these. In the last column is what they are called
# in GroupSC, the paper that lessons 01 to 10 build up, where it has another letter.
#
# | Letter | Stands for | in GroupSC |
# |---|---|---|
# | $x$, $y$, $\hat x$ | clean image, noisy (or else degraded) image, estimate | |
# | $\sigma$ | standard deviation of the noise | |
# | $m$, $N$ | numbers in a patch; patches of an image | $m$; $n$ or $N$ |
# | $\mathbf y_i$, $\mathbf Y$ | patch $i$; all patches, as columns, $m \times N$ | |
# | $\mathbf D$, $\mathbf d_j$ | dictionary, its atom $j$ | |
# | $K$ | how many atoms a dictionary has | $p$; there $K$ is the number of steps |
# | $\boldsymbol\alpha_i$, $\mathbf A$ | code of patch $i$; all codes, $K \times N$ | |
# | $k$ | number of an iteration or a layer | |
# | $\lambda$, $S_\lambda$ | price of a code; soft thresholding at $\lambda$ | |
# | $\Lambda_k$ | learned thresholds of layer $k$, one for each atom | |
# | $\mathbf C$, $\mathbf W$ | learned matrices: residuals to codes, codes to estimates | |
# | $S_i$, $n$ | group of the patches that resemble patch $i$; how many there are in a group | |
# | $\boldsymbol\Sigma$, $\boldsymbol\kappa$ | similarities, $N \times N$; weights of the pixels | |
# | $\nu$ | share of a later look at the picture in $\boldsymbol\Sigma$ | |
#
# In code, the letters have names: `clean`, `noisy`, `patches`, `dictionary`, `codes`, `lam`.

# %%
# %matplotlib inline
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.degradations import JPEG, GaussianNoise
from lessons_lib.evaluation.protocols import denoising
from lessons_lib.exercises import check
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.viz import figures, widgets

generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## 1. What is an image, and what is noise?
#
# Throughout this course an image is a tensor of shape $(B, C, H, W)$: $B$ images with $C$
# channels (1 for grey, 3 for colour), $H$ rows and $W$ columns. Its numbers are floats from 0
# (black) to 1 (white). Files store 256 grey levels, and papers give noise in these levels:
# "$\sigma = 25$" means $\sigma = 25/255 \approx 0.098$ on our scale.
#
# A man behind a camera is the test picture of a thousand papers. This photograph is a free remake
# of it, and ships with scikit-image.

# %% tags=["nbval-check-output"]
clean = data.sample("camera")[..., 40:296, 140:396]
crop = (20, 24, 144, 144)  # what the figures show: top, left, height, width
print("shape", tuple(clean.shape), "of", clean.dtype)
print("darkest", round(clean.min().item(), 3), "brightest", round(clean.max().item(), 3))
print("a corner, in grey levels:")
print((clean[0, 0, :3, :6] * 255).round().int())

# %% [markdown]
# The **observation model** of the slides is one line. At every pixel $p$ we observe
#
# $$ y(p) = x(p) + \eta(p), \qquad \eta(p) \sim \mathcal N(0, \sigma^2), $$
#
# where $x$ is the unknown clean image, $y$ the noisy one, and the $\eta(p)$ are independent:
# knowing the noise at one pixel tells nothing about its neighbour. This independence is what
# every denoiser lives on, because pictures are the opposite: neighbouring pixels resemble each
# other. (The slides call the clean image $y$ and the noisy one $z$.)
#
# ### Exercise 1: add noise
#
# Write the observation model. The noise must be drawn from the given `generator`, so that the
# same seed gives the same noise, and every pixel of every channel of every image gets noise of
# its own. Nothing is clipped: noisy values below 0 and above 1 stay as they are.
#
# *Expect* a standard deviation of about 0.098 below.
#
# <details><summary>Hint</summary>
#
# `torch.randn` draws numbers of mean 0 and standard deviation 1. It takes a shape and
# `generator=`.
# </details>


# %%
def add_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Noisy version of ``image`` (B, C, H, W), same shape; sigma is on the [0, 1] scale."""
    ### BEGIN SOLUTION
    return image + sigma * torch.randn(image.shape, generator=generator)
    ### END SOLUTION


add_noise = check("noise.add_noise", add_noise)

# %% tags=["nbsphinx-thumbnail"]
noisy = add_noise(clean, 25 / 255, generator)
print(f"standard deviation of the noise: {(noisy - clean).std():.3f}")
print(f"values below black or above white: {((noisy < 0) | (noisy > 1)).float().mean():.1%}")
levels = {f"σ = {s}": add_noise(clean, s / 255, generator) for s in (10, 25, 50)}
figures.show_images({"clean": clean, **levels}, crop=crop)

# %% [markdown]
# **What to notice.** At σ = 10 you see grain, at σ = 50 the ear begins to drown, and your eye
# still finds the man: you average over regions without thinking about it. Some noisy values have
# left $[0, 1]$. A screen cannot show them, but denoising benchmarks keep them, and the
# end of this lesson shows why.
#
# ## 2. How far is an estimate from the truth?
#
# A denoiser returns an estimate $\hat x$ of $x$. The oldest measure of its quality is the mean
# squared error over all values of the image (all channels together), and the **peak
# signal-to-noise ratio** puts it on a logarithmic scale relative to white, which is 1:
#
# $$ \mathrm{MSE} = \operatorname{mean}_p \bigl(\hat x(p) - x(p)\bigr)^2, \qquad
#    \mathrm{PSNR} = 10 \log_{10} \frac{1^2}{\mathrm{MSE}} \ \text{dB}. $$
#
# *Toy example.* An error of 0.1 at each pixel: MSE 0.01, so 20 dB. An error of 0.01: 40 dB. Ten
# times closer is 20 dB more, twice as close is 6 dB more.
#
# ### Exercise 2: PSNR
#
# Compute the PSNR of each image of a batch. Do not clip, and add no small constant: equal images
# have infinite PSNR.
#
# *Expect* 20.2 dB for the camera man at σ = 25.
#
# <details><summary>Hint</summary>
#
# `mean(dim=(1, 2, 3))` averages over all axes but the first.
# </details>


# %%
def psnr(estimate: Tensor, target: Tensor) -> Tensor:
    """PSNR in dB of each image, (B, C, H, W) twice -> (B,); white is 1."""
    ### BEGIN SOLUTION
    error = (estimate - target).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(1 / error)
    ### END SOLUTION


psnr = check("metrics.psnr", psnr)
print(f"{psnr(noisy, clean).item():.1f} dB")

# %% [markdown]
# **Predict.** The same noise, σ = 25, on three photographs: a man before a pale sky, coins on
# cloth, a rocket at night. Which of the noisy pictures has the lowest PSNR?


# %%
def noisiest() -> tuple[str, str]:
    scores = {}
    for key, name in {"a": "camera", "b": "coins", "c": "rocket"}.items():
        image = data.sample(name)
        scores[key] = psnr(GaussianNoise(25 / 255)(image, name), image).item()
    lowest = min(scores, key=lambda key: scores[key])
    alike = max(scores.values()) - min(scores.values()) < 0.2
    said = ", ".join(f"{score:.1f} dB" for score in scores.values())
    return "d" if alike else lowest, f"Camera, coins, rocket: {said}."


widgets.predict(
    {"a": "the man, with most detail", "b": "the coins", "c": "the rocket, which is darkest",
     "d": "they are equal to 0.2 dB"}, noisiest)

# %% tags=["nbval-check-output"]
print("  σ   expected   camera    coins   rocket")
for s in (5, 15, 25, 50):
    row = f"{s:3d} {-20 * math.log10(s / 255):10.1f}"
    for name in ("camera", "coins", "rocket"):
        image = data.sample(name)
        row += f" {psnr(GaussianNoise(s / 255)(image, name), image).item():8.1f}"
    print(row)

# %% [markdown]
# **What to notice.** The MSE of a noisy image is $\sigma^2$, whatever the photograph, so its PSNR
# is $-20 \log_{10} \sigma$: the noise level in other words. What a method is worth is the *gain*
# over this number.
#
# `GaussianNoise` is the library's version of your function. It draws from a generator whose
# numbers are the same on every machine, seeded by the file's name. Your `torch.randn` is fine for
# looking, but PyTorch does not promise the same stream on every machine and version.
#
# ## 3. Can averaging remove noise?
#
# The mean of ten independent values has a tenth of the variance. Neighbouring pixels are nearly
# equal, so replace each pixel by a weighted mean of its neighbourhood, $\hat x = h * y$, with
# weights $h$ that sum to 1. Because filtering is linear and the noise independent, the expected
# error splits:
#
# $$ \mathbb E\,\mathrm{MSE} \;=\;
#    \underbrace{\operatorname{mean}_p \bigl((h * x)(p) - x(p)\bigr)^2}_{\text{blur: detail that
#    is lost}} \;+\;
#    \underbrace{\sigma^2 \lVert h \rVert^2}_{\text{noise that is left}}. $$
#
# A wide window makes the second term small and the first one large. We use a Gaussian window,
# because weights should fade with distance.


# %% tags=["nbval-check-output"]
def gaussian_window(width: float) -> Tensor:
    """Gaussian weights of standard deviation ``width`` pixels, cut at 3 widths; they sum to 1."""
    radius = math.ceil(3 * width)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-(offsets**2) / (2 * width**2))
    return weights / weights.sum()


for width in (0.5, 1.0, 2.0):
    h = gaussian_window(width)
    left = h.square().sum().item() ** 2  # ‖h‖² of the two-dimensional window
    print(f"width {width}: {len(h):2d} weights per axis, {left:.3f} of the noise variance is left")

# %% [markdown]
# ### Exercise 3: the Gaussian filter
#
# Filter every channel of every image with `gaussian_window(width)`, first along the rows, then
# along the columns. The result has the shape of the input. At the border, reflect the picture:
# zeros there would darken its frame.
#
# *Expect* almost 7 dB more than the noisy image, at σ = 25 and width 0.8.
#
# <details><summary>Hint</summary>
#
# A two-dimensional Gaussian is a column times a row, so that two filters of one dimension will do.
# `F.conv2d` adds up the channels of an image, unless each of them is an image of its own. `F.pad`
# has a mode for the border.
# </details>


# %%
def gaussian_filter(image: Tensor, width: float) -> Tensor:
    """Weighted mean of each pixel's neighbourhood, (B, C, H, W) -> (B, C, H, W)."""
    ### BEGIN SOLUTION
    window = gaussian_window(width)
    radius = len(window) // 2
    planes = F.pad(image, (radius,) * 4, mode="reflect").flatten(0, 1)[:, None]
    rows = F.conv2d(planes, window.view(1, 1, 1, -1))
    return F.conv2d(rows, window.view(1, 1, -1, 1)).view_as(image)
    ### END SOLUTION


gaussian_filter = check("filters.gaussian_filter", gaussian_filter)

# %% tags=["nbval-check-output"]
noisy = GaussianNoise(25 / 255)(clean, "camera")
print("MSE in grey levels²:   blur + noise =  sum   measured")
for width in (0.5, 0.8, 1.0, 2.0):
    blur = (gaussian_filter(clean, width) - clean).square().mean().item() * 255**2
    left = 25**2 * gaussian_window(width).square().sum().item() ** 2
    measured = (gaussian_filter(noisy, width) - clean).square().mean().item() * 255**2
    print(f"  width {width}: {blur:16.0f} {left:7.0f} {blur + left:6.0f} {measured:10.0f}")

# %%
estimates = {"noisy": noisy, "width 0.4": gaussian_filter(noisy, 0.4)}
estimates |= {f"width {width}": gaussian_filter(noisy, width) for width in (0.8, 2.0)}
figures.show_images(estimates, clean=clean, crop=crop, residual=True)

# %% [markdown]
# **What to notice.** The lower row shows four times the error about mid-grey. At width 0.4 it is
# grain: noise that is left. At width 2 it is an outline of the man: detail that is lost. In
# between the sum of the two is smallest, but *both* are there. A single number has hidden two
# very different kinds of failure. (Titles clip to $[0, 1]$ before they measure, as a screen
# does. That alone lifts the noisy picture above its 20.2 dB; section 6 returns to this.)
#
# If the noise grows, more averaging pays. So the best width should depend on σ:

# %%
widths = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0]
curves = {}
for s in (10, 25, 50):
    version = GaussianNoise(s / 255)(clean, "camera")
    curves[s] = [psnr(gaussian_filter(version, width), clean).item() for width in widths]
figure = figures.new_figure(6.5, 3.2)
for (s, curve), style in zip(curves.items(), "o^s", strict=True):
    line = figure.axes[0].plot(widths, curve, "-" + style, markersize=4, label=f"σ = {s}")[0]
    top = curve.index(max(curve))
    figure.axes[0].plot(widths[top], curve[top], style, markersize=10, color=line.get_color())
figure.axes[0].set(xlabel="width of the window in pixels", ylabel="PSNR in dB")
figure.axes[0].legend(frameon=False)
figure

# %% tags=["nbval-check-output"]
best = {s: widths[curve.index(max(curve))] for s, curve in curves.items()}
for s, curve in curves.items():
    gain = max(curve) - psnr(GaussianNoise(s / 255)(clean, "camera"), clean).item()
    print(f"σ = {s}: best width {best[s]}, {max(curve):.1f} dB, {gain:.1f} dB above noisy")
assert best[10] < best[25] < best[50], "more noise needs a wider window"
assert max(curves[25]) > psnr(noisy, clean).item() + 6, "the filter must gain 6 dB at σ = 25"

# %% [markdown]
# **What to notice.** The large markers move to the right. With little noise the filter hardly
# helps: any blur costs more than the noise. Try it: choose σ, then look for the width that gives
# the highest number, and then for the one that *looks* best to you. Are they the same?


# %%
def draw(sigma: int, width: float, photo=clean):
    version = GaussianNoise(sigma / 255)(photo, "camera")
    shown = {"noisy": version, "filtered": gaussian_filter(version, width), "clean": photo}
    return figures.show_images(shown, clean=photo, crop=crop)


widgets.explore(draw, sigma=[25, 10, 50, 75], width=[0.8, 0.4, 0.6, 1.0, 1.4, 2.0, 3.0])

# %% [markdown]
# ## 4. Who tells us σ?
#
# The best width depends on σ, and so will every method in the lessons to come. So far we were
# told: we made the noise ourselves. A photograph comes without its σ, and without its $x$.
#
# ### Exercise 4: find the noise level
#
# Design an estimator: a noisy picture goes in, its σ comes out. There is no formula to copy here,
# and more than one good answer. This is what it has to do:
#
# - return 0 for a constant picture, and for a ramp, whose brightness changes evenly in any
#   direction; noise on a ramp is noise on a constant picture;
# - return twice as much for twice the picture;
# - find the σ of noise on a flat picture to 5 %, and with a few strong edges in it to 25 %;
# - be off by no more than 20 % on the smooth parts of photographs that the check brings along, at σ
#   from 5 to 50. (On most whole photographs the course's own answer does not manage that at σ = 5.)
#
# σ is the same in all channels of a picture.
#
# *Expect* about 25 for the noisy camera man.
#
# <details><summary>Hint</summary>
#
# Look for a weighted sum of a few neighbours that is 0 wherever the picture is constant or a ramp.
# What it makes of the noise follows from its weights: variances of independent numbers add up,
# each times its weight squared. Edges are left over, few but large. Which kind of average of sizes
# (without signs) hardly notices a few large ones? And what does it say of `torch.randn(10000)`?
# </details>


# %%
def noise_level(image: Tensor) -> Tensor:
    """Standard deviation of the white noise in each image, (B, C, H, W) -> (B,)."""
    ### BEGIN SOLUTION
    # Second differences across and down leave nothing of a ramp. Their squared weights sum to 36.
    second = torch.tensor([1.0, -2.0, 1.0]).to(image)
    kernel = second[:, None] * second / 6
    rough = F.conv2d(image.flatten(0, 1)[:, None], kernel[None, None])
    # Half of all Gaussian numbers of deviation 1 are smaller than 0.6745.
    return rough.reshape(len(image), -1).abs().median(dim=1).values / 0.6745
    ### END SOLUTION


noise_level = check("noise.noise_level", noise_level)

print(f"σ of the noise {5:6d}{10:6d}{25:6d}{50:6d}\nσ that was found")
for name in ("camera", "astronaut", "coffee", "gravel", "grass"):
    image = data.sample(name)
    found = [255 * noise_level(GaussianNoise(s / 255)(image, name)).item() for s in (5, 10, 25, 50)]
    print(f"  {name:13s}" + "".join(f"{sigma:6.1f}" for sigma in found))

# %% [markdown]
# **What to notice.** What is rough in the picture is taken for noise, so the answer is too large.
# Where the noise is strong, this hardly counts. Grass is rough everywhere, and neighbouring blades
# differ as noise does: when one looks at neighbours only, nothing can tell them apart. (The
# library's `ops.noise_level` finds 6.2 where the grass has 5. It looks for patterns of 7 × 7
# pixels that smooth patches do not contain: what is there of *them* must be noise.)
#
# Now the filter can choose its width without being told σ: the width that is best for the nearest
# of the three levels above. These came from one photograph. We try others, beside the width 0.8
# for all, and beside the best width of each picture, which needs the clean one.


# %%
def blind_filter(noisy: Tensor) -> Tensor:
    """The Gaussian filter, with a width that suits the noise it finds; one image."""
    found = 255 * noise_level(noisy).item()
    return gaussian_filter(noisy, best[min(best, key=lambda s: abs(s - found))])


rows = []
print("               σ   width 0.8   blind    best  (dB)")
for name in ("astronaut", "coins", "gravel"):
    for s in (8, 20, 60):
        target = data.sample(name, size=256)
        version = GaussianNoise(s / 255)(target, name)
        tried = [psnr(gaussian_filter(version, width), target).item() for width in widths]
        blind = psnr(blind_filter(version), target).item()
        rows.append((tried[widths.index(0.8)], blind, max(tried)))
        print(f"{name:12s}{s:4d}" + "{:12.1f}{:8.1f}{:8.1f}".format(*rows[-1]))
assert sum(row[1] - row[0] for row in rows) / 9 > 0.5, "a found σ must be worth 0.5 dB"

# %% [markdown]
# **What to notice.** At σ = 8 and 60 the found level is worth 1 to 2.5 dB. At 20 it loses up to 0.4
# against the 0.8: pictures differ at one σ, too. Problem 1 finds each one's own width.
#
# ## 5. Is one number enough?
#
# PSNR adds up errors pixel by pixel. It would not notice if the errors formed a face. **SSIM**
# (Wang et al., 2004) compares small windows of two images $a$ and $b$ instead: their means,
# variances and covariance,
#
# $$ \mathrm{SSIM} = \frac{(2\mu_a\mu_b + c_1)\,(2\sigma_{ab} + c_2)}
#    {(\mu_a^2 + \mu_b^2 + c_1)\,(\sigma_a^2 + \sigma_b^2 + c_2)},
#    \qquad c_1 = 0.01^2,\quad c_2 = 0.03^2, $$
#
# averaged over all windows that lie inside the image. Window means are what `gaussian_filter`
# computes: the original SSIM uses width 1.5, which reaches 5 pixels to each side, so cropping 5
# pixels leaves the windows that lie inside. That is `local_mean` below.
#
# ### Exercise 5: SSIM
#
# Compute the SSIM of each image of a batch, with `local_mean` for all means. A variance is
# $\sigma_a^2 = \overline{a^2} - \mu_a^2$ and the covariance $\sigma_{ab} = \overline{ab} -
# \mu_a\mu_b$, where the bar is the local mean.
#
# *Expect* 1 for equal images, and a negative value for a texture and its negative.
#
# <details><summary>Hint</summary>
#
# Compute five maps (two means, two variances, one covariance), then the fraction at each pixel,
# and take the mean at the very end.
# </details>


# %%
def local_mean(image: Tensor) -> Tensor:
    """Mean in a Gaussian window of 11 x 11 pixels, (B, C, H, W) -> (B, C, H-10, W-10)."""
    return gaussian_filter(image, 1.5)[..., 5:-5, 5:-5]


def ssim(estimate: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each image, (B, C, H, W) twice -> (B,); white is 1."""
    c1, c2 = 0.01**2, 0.03**2
    ### BEGIN SOLUTION
    mean_a, mean_b = local_mean(estimate), local_mean(target)
    variance_a = local_mean(estimate**2) - mean_a**2
    variance_b = local_mean(target**2) - mean_b**2
    covariance = local_mean(estimate * target) - mean_a * mean_b
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return (above / below).mean(dim=(1, 2, 3))
    ### END SOLUTION


ssim = check("metrics.ssim", ssim)

# %% [markdown]
# **Predict.** We spoil the picture in four ways, each to exactly the same PSNR of 26 dB: all of it
# a little brighter, noise, blur, or the blocks of JPEG. Which one will SSIM call the worst?


# %%
spoiled = {"brighter": clean + 0.05, "noise": GaussianNoise(0.05)(clean, "camera"),
           "blur": gaussian_filter(clean, 1.0), "JPEG blocks": JPEG(8)(clean)}
for name, image in spoiled.items():
    error = image - clean
    spoiled[name] = clean + 0.05 * error / error.square().mean().sqrt()


def worst(images=spoiled, target=clean) -> tuple[str, str]:
    scores = {name: ssim(image, target).item() for name, image in images.items()}
    said = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
    return "abcd"[list(scores).index(min(scores, key=lambda name: scores[name]))], f"SSIM: {said}."


widgets.predict(dict(zip("abcd", spoiled, strict=True)), worst)

# %%
shown = {}
for name, image in spoiled.items():
    shown[f"{name}: SSIM {ssim(image, clean).item():.2f}"] = image
    print(f"{name:12s} PSNR {psnr(image, clean).item():.2f} dB")
figures.show_images(shown, crop=crop)

# %% [markdown]
# **What to notice.** All four have 26.02 dB. SSIM hardly minds that everything is brighter, and
# neither do you. Of the others it dislikes noise most: grain in the flat sky destroys a structure
# that was almost constant, where the eye is more forgiving. SSIM is *another* opinion, not the
# truth. Report both, and look at the pictures.
#
# ## 6. Why is a protocol part of a number?
#
# A PSNR in a paper went through choices that its table rarely tells: is the estimate clipped to
# $[0, 1]$, rounded to 256 levels, measured on RGB or on brightness Y, with or without the border?
# Let us compute one of these effects, and measure the rest.
#
# Rounding to whole grey levels adds an error that is uniform in $[-\tfrac12, \tfrac12]$, so its
# variance is $\tfrac1{12}$, and it is nearly independent of the estimate's own error. The MSE, in
# grey levels squared, grows by $\tfrac1{12}$.
#
# ### Exercise 6: what does rounding cost?
#
# Given the PSNR of an estimate *before* rounding, how many decibels does rounding take away?
# Recover the MSE in grey levels squared (white is now 255), add $\tfrac1{12}$, and compare.
#
# *Expect* 0.035 dB at 38 dB, a good result for σ = 5, and almost nothing at 25 dB.
#
# <details><summary>Hint</summary>
#
# $\mathrm{PSNR} = 10 \log_{10}(255^2 / \mathrm{MSE})$; the difference of two logarithms
# is the logarithm of a ratio.
# </details>


# %%
def rounding_cost(decibels: Tensor) -> Tensor:
    """Loss in dB, at least 0, for estimates with these PSNRs in dB; same shape."""
    ### BEGIN SOLUTION
    error = 255**2 / 10 ** (decibels / 10)
    return 10 * torch.log10((error + 1 / 12) / error)
    ### END SOLUTION


rounding_cost = check("protocol.rounding_cost", rounding_cost)

before = torch.tensor([25.0, 30.0, 38.0, 42.9])
print("dB before rounding:", [f"{value:.1f}" for value in before.tolist()])
print("cost of rounding:  ", [f"{cost:.3f}" for cost in rounding_cost(before).tolist()])

# %% [markdown]
# **What to notice.** At 25 dB rounding is free. At 42.9 dB, where the best demosaicking methods
# meet, it costs 0.1 dB: a third of the lead of one published method over another.
#
# Now the other choices, on a colour photograph and two estimates of it: the filtered one, and one
# so close to the truth that only noise of σ = 3 remains.


# %%
def conventions(estimate: Tensor, target: Tensor) -> dict[str, float]:
    """PSNR of one and the same estimate under different conventions."""
    clipped = estimate.clamp(0, 1)
    rounded = (clipped * 255).round() / 255
    inside = (..., slice(8, -8), slice(8, -8))
    scores = {
        "as it is (RGB, float)": psnr(estimate, target),
        "clipped to [0, 1]": psnr(clipped, target),
        "clipped and rounded": psnr(rounded, target),
        "clipped, 8 pixels of border off": psnr(clipped[inside], target[inside]),
        "clipped, on brightness Y alone": psnr(rgb_to_luma(clipped), rgb_to_luma(target)),
    }
    return {name: score.item() for name, score in scores.items()}


# %%
colour = data.sample("astronaut", gray=False)
filtered = gaussian_filter(GaussianNoise(25 / 255)(colour, "astronaut"), 0.8)
better = GaussianNoise(3 / 255)(colour, "astronaut")
columns = [conventions(estimate, colour) for estimate in (filtered, better)]
print(f"{'':33s}    filtered         close")
for name in columns[0]:
    cells = [f"{c[name]:6.2f} ({c[name] - next(iter(c.values())):+5.2f})" for c in columns]
    print(f"{name:33s}{cells[0]:>13s}{cells[1]:>16s}")

# %% [markdown]
# **What to notice.** The picture never changed. Brightness alone "gains" more than three
# decibels, because Y averages the noise of three channels and spans only 219 of 255 levels.
# Clipping gains where the picture has pure black or white. Super-resolution papers report Y,
# denoising papers RGB: neither is wrong, but the numbers cannot stand in one table. The next cell
# tries what remains.

# %%
estimate = gaussian_filter(noisy, 0.8)
print("SSIM:", {d: f"{metrics.ssim(estimate, clean, d).item():.3f}"
                for d in ("gaussian", "uniform7", "uniform8")})
seeds = [psnr(gaussian_filter(GaussianNoise(25 / 255, seed=k)(clean), 0.8), clean).item()
         for k in range(8)]
print(f"eight noise seeds: from {min(seeds):.2f} to {max(seeds):.2f} dB")
pair = {name: data.sample(name) for name in ("grass", "brick")}
scores = [psnr(gaussian_filter(GaussianNoise(25 / 255)(x, name), 0.8), x)
          for name, x in pair.items()]
pooled = -10 * torch.log10(torch.stack([10 ** (-score / 10) for score in scores]).mean())
print(f"two images: mean of PSNRs {torch.stack(scores).mean():.1f} dB, "
      f"PSNR of the mean MSE {pooled:.1f} dB")

# %% [markdown]
# **What to notice.** Three definitions of SSIM circulate: the authors' Gaussian window, and flat
# windows of 7 and 8 pixels. They differ in the second decimal. Another draw of the noise moves
# this small image by several hundredths of a decibel, so a difference of 0.02 dB on one image is
# no result. And since the logarithm bends, the mean of PSNRs is not the PSNR of the mean error:
# benchmarks take the **mean of per-image PSNRs**, otherwise the hardest images would decide.
#
# ## Results: the first line of a long table
#
# **The convention of this course**, where nothing else is said, is that of most denoising tables:
# noise seeded by the file's name and not clipped; estimates clipped and rounded to 256 levels;
# PSNR over all channels, per image, then the mean; SSIM with the Gaussian window. The library
# keeps it in a `Protocol`, and stores that beside every number.
#
# Nine photographs, one width for all. Every later method has to beat this table.

# %% tags=["nbval-check-output"]
protocol = denoising("samples", 25)
gains = []
print(f"{'':14s} noisy   filtered    gain   SSIM noisy  filtered")
for name, image in data.load("samples"):
    target = protocol.clean(image)
    version = protocol.degradation(target, name)
    before, after = (protocol.score(e, target) for e in (version, gaussian_filter(version, 0.8)))
    gains.append(after[0] - before[0])
    print(f"{name:14s} {before[0]:5.1f} {after[0]:10.1f} {gains[-1]:+7.1f} "
          f"{before[1]:12.2f} {after[1]:9.2f}")
print(f"mean gain: {sum(gains) / len(gains):+.1f} dB")
assert min(gains) > 2, "the filter must beat every noisy image"

# %% [markdown]
# ## What breaks
#
# **Texture.** The filter gains 8 dB on the cat (`chelsea`) and 3 dB on grass, where neighbouring
# pixels do *not* resemble each other. One window for all pixels is the wrong idea; the next
# lessons look for representations that adapt.
#
# **The wrong range.** Estimate and target both from 0 to 255, scored as if white were 1, lose
# $20 \log_{10} 255 = 48.1$ dB. If a PSNR comes out negative, look at the range first.
#
# **Clipped noise.** If the noisy image is clipped to $[0, 1]$, the noise no longer has mean zero:
# on black only its positive half survives, with mean $\sigma / \sqrt{2\pi}$. Averaging cannot
# remove a mean:

# %% tags=["nbval-check-output"]
night = torch.zeros(1, 1, 128, 128)
starless = GaussianNoise(25 / 255)(night)
for name, version in (("not clipped", starless), ("clipped", starless.clamp(0, 1))):
    level = gaussian_filter(version, 3.0).mean().item() * 255
    print(f"{name:12s} a black sky becomes grey level {abs(level):.0f}")
print(f"predicted    {25 / math.sqrt(2 * math.pi):.0f}")

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("00")

# %% [markdown]
# ## Problems
#
# **1. The best width, without the clean picture.** In section 3 we needed $x$ to find the best
# width. Let $\hat x = h * y$ be any filter, and $h(0)$ the weight of the pixel itself. What is the
# expected value of $\operatorname{mean}_p (\hat x(p) - y(p))^2$, which you *can* measure? Solve for
# the MSE, and find the best width of the camera man at σ = 10, 25 and 50 from $y$ and σ alone.
#
# <details><summary>Solution</summary>
#
# Write $\hat x - y = (\hat x - x) - \eta$ and square. The mean of the first square is the MSE, and
# that of the second is $\sigma^2$. In the product of the two, $\hat x(p) - x(p)$ contains the noise
# of pixel $p$ as $h(0)\,\eta(p)$. All else in it is independent of $\eta(p)$, which has mean zero.
# So the product has the mean $h(0)\,\sigma^2$, and
#
# $$ \mathbb E\,\mathrm{MSE} \;=\; \mathbb E \operatorname{mean}_p \bigl(\hat x(p) - y(p)\bigr)^2
#    - \sigma^2 + 2\,\sigma^2 h(0) . $$
#
# There is no $x$ on the right. The last term matters: without it, the best filter would be the one
# that does nothing. (For linear filters this is Mallows's $C_L$, 1973. Stein found in 1981 what
# takes the place of $h(0)$ where the filter is not linear.)
#
# ```python
# for s in (10, 25, 50):
#     version, guesses, truths = GaussianNoise(s / 255)(clean, "camera"), [], []
#     for width in widths:
#         filtered = gaussian_filter(version, width)
#         own = gaussian_window(width).max().item() ** 2  # h(0) in two dimensions
#         guess = (filtered - version).square().mean().item() + (s / 255) ** 2 * (2 * own - 1)
#         guesses.append(guess)
#         truths.append((filtered - clean).square().mean().item())
#     chosen, right = (widths[v.index(min(v))] for v in (guesses, truths))
#     lost = 10 * math.log10(truths[widths.index(chosen)] / min(truths))
#     print(f"σ = {s}: chosen {chosen}, best {right}, {lost:.2f} dB lost")
#     assert lost < 0.05
# ```
#
# It chooses the best width of the list at all three levels.
#
# </details>
#
# **2. Rounding that pays.** By exercise 6, rounding costs the more the better an estimate is. Give
# the camera man Gaussian errors, so that the PSNR is 50, 55, 59, 62 or 65 dB, and measure what
# rounding costs. Where does the formula fail, and why?
#
# <details><summary>Solution</summary>
#
# ```python
# draws = torch.Generator().manual_seed(1)
# for level in (50.0, 55.0, 59.0, 62.0, 65.0):
#     error = 10 ** (-level / 20) * torch.randn(clean.shape, generator=draws)
#     near = clean + error
#     cost = psnr(near, clean) - psnr((near * 255).round() / 255, clean)
#     print(f"{level} dB: costs {cost.item():+.2f} dB, "
#           f"formula {rounding_cost(torch.tensor(level)).item():.2f} dB")
# ```
#
# At 50 dB the formula is right. At 59 dB rounding costs nothing, and from there on it *pays*: 5 dB
# at 62. The clean picture comes from a file and has whole grey levels itself, so rounding removes
# every error below half a level. The formula supposes that what rounding adds is independent of the
# error that is there. This is so where the error spreads over several levels. Where it is
# small, rounding adds the error once more, with the opposite sign. At 59 dB the error has deviation
# $255 \cdot 10^{-59/20} = 0.286$ levels and mean square 0.082, and 8.1 % of the errors are beyond
# half a level and become 1.
#
# </details>

# %% [markdown]
# ## Further reading
#
# - G. Boracchi, *Convolutional neural networks for image restoration*, 2022: the slides this
#   lesson opens with; lesson 13 takes up their networks.
# - Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, *Image quality assessment: from error visibility
#   to structural similarity*, 2004.
# - B. Lecouat, J. Ponce, J. Mairal, *Fully trainable and interpretable non-local sparse models
#   for image restoration*, 2020 (GroupSC): lessons 01 to 10 build it up.
#
# **Next:** [01 · Patches](01_patches.ipynb) looks at the picture through small windows, finds a
# basis in which they are simple, and gains what a blur cannot.
