# %% [markdown]
# # 14 · Losses, noise maps, biases
#
# Lesson 13 built a network and trained it. Three decisions were taken on the way without much
# thought. What is the network asked for? The loss says it. What is it told about its task besides
# the picture? And what does it know that it should not? Each of the three is one line of code,
# and each is measured here.
#
# **You will be able to**
#
# - say which estimate L1, L2, SSIM and their mixtures ask for, and draw what each would change;
# - write SSIM from its definition, and derive how much contrast it asks for;
# - build FFDNet's input, phases and a noise map, and measure what a wrong map costs;
# - make a network homogeneous, and show why it then works beyond the noise that it was trained for.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in a minute on a laptop.
# - **You need:** lesson 13 (DnCNN, batch normalisation); lesson 05 (SC) for the comparison.
# - **Source:** Zhao, Gallo, Frosio, Kautz, *Loss functions for image restoration with neural
#   networks*, 2017; Zhang, Zuo, Zhang, *FFDNet: toward a fast and flexible solution for CNN-based
#   image denoising*, 2018; Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda, *Robust and
#   interpretable blind image denoising via bias-free convolutional neural networks*, 2020;
#   G. Boracchi, *Convolutional neural networks for image restoration*, lecture, 2022.

# %%
# %matplotlib inline
import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from lessons_lib import checkpoints, data, metrics
from lessons_lib.degradations import GaussianNoise, VaryingNoise
from lessons_lib.exercises import check
from lessons_lib.models import restore
from lessons_lib.models.convolutional import start_convolutions
from lessons_lib.training.losses import LOSSES
from lessons_lib.viz import figures, widgets

# %%
torch.set_grad_enabled(False)  # switched on where something is trained or differentiated
sigma = 25 / 255
clean = data.sample("camera")[..., 60:188, 140:268]
noisy = GaussianNoise(sigma)(clean, "camera")
ffdnet, sc = (checkpoints.load_model(name) for name in ("ffdnet-gray", "sc-gray-25"))


def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


print(f"FFDNet: {sum(one.numel() for one in ffdnet.parameters()):,} parameters, "
      f"for σ up to {255 * ffdnet.loudest:.0f}/255")

# %% [markdown]
# ## 1. What does a loss ask for?
#
# A network sees a noisy picture $\mathbf y$. Many clean pictures could have become this one. The
# training shows it some of them, each as often as it is likely, and asks for one answer. What it
# learns, if it learns all there is to learn, is
#
# $$ \hat x(\mathbf y) = \operatorname{argmin}_{u} \; \mathbb E \bigl[ \ell(u, x) \mid \mathbf y
#    \bigr] . $$
#
# So the loss ℓ decides which summary of the possible pictures we get. With $\ell = (u - x)^2$ the
# derivative is $2\,(u - \mathbb E[x \mid \mathbf y])$: the answer is the *mean*. With
# $\ell = |u - x|$ the derivative is the probability that $x$ lies below $u$ minus the probability
# that it lies above. It is zero where both are one half: the answer is the *median*.
#
# *Toy example.* A pixel lies at the border of a dark letter. Given what is seen it is ink, 0.2,
# with a probability of 60 %, and paper, 0.8, with 40 %. The mean is 0.44, which is neither.

# %% tags=["nbval-check-output"]
values, chances = torch.tensor([0.2, 0.8]), torch.tensor([0.6, 0.4])
u = torch.linspace(0, 1, 1001)
errors = u[:, None] - values
toy = {"L2": errors.square(), "L1": errors.abs(), "Charbonnier": (errors.square() + 1e-6).sqrt(),
       "√|error|": errors.abs().sqrt()}
for name, cost in toy.items():
    print(f"{name:12s} asks for {u[(cost @ chances).argmin()]:.2f}")

# %% [markdown]
# Charbonnier's loss $\sqrt{e^2 + \varepsilon^2}$ is L1 with its kink made round: L2 for errors far
# below ε = 0.001, L1 above.
#
# Now a whole edge. It runs from dark to bright, and nine places are equally likely. `asked_for`
# finds the answer that a loss asks for by going downhill, as training does.


# %%
def asked_for(loss, truths: Tensor, steps: int = 300) -> Tensor:
    """The signal (1, 1, H, W) with the least mean loss to equally likely truths (n, 1, H, W)."""
    answer = truths.mean(dim=0, keepdim=True).requires_grad_()
    optimizer = Adam([answer], lr=0.01)
    with torch.enable_grad():
        for _ in range(steps):
            total = loss(answer.expand_as(truths), truths, torch.ones_like(truths[:1]))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    return answer.detach()


edges = torch.stack([torch.where(torch.arange(32) < place, 0.2, 0.8) for place in range(12, 21)])
edges = edges[:, None, None]  # (9, 1, 1, 32)

# %%
figure = figures.new_figure(7, 2.8)
for edge in edges:
    figure.axes[0].step(range(32), edge.flatten(), where="mid", color="0.8", linewidth=0.8)
for name, style in (("l2", "-"), ("l1", "--")):
    figure.axes[0].plot(asked_for(LOSSES[name], edges).flatten(), style, label=name.upper())
figure.axes[0].set(xlabel="pixel", ylabel="grey", title="nine possible edges, and two answers")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Every truth is sharp (grey). L2 answers with a ramp across all nine places,
# the mean of all possible edges, though no possible picture has a ramp. This is the blur that
# denoisers trained with L2 are known for, and no larger network removes it: it is the right answer
# to the question. L1 answers with a step at the median place. It is sharp here, because all pixels
# agree about the median edge. It is no cure in general: a thin bright line that may lie in three
# places is dark at each pixel in two cases of three, and L1 deletes it.
#
# ## 2. Can a loss ask for structure?
#
# L1 and L2 look at each pixel alone. Zhao and others train with the structural similarity of the
# patches around a pixel $p$:
#
# $$ \operatorname{SSIM}(p) = \underbrace{\frac{2 \mu_x \mu_y + c_1}{\mu_x^2 + \mu_y^2 +
#    c_1}}_{l(p)} \cdot \underbrace{\frac{2 \sigma_{xy} + c_2}{\sigma_x^2 + \sigma_y^2 +
#    c_2}}_{cs(p)}, \qquad c_1 = 0.01^2, \quad c_2 = 0.03^2 . $$
#
# Means, variances and the covariance are weighted by a Gaussian around $p$, of the deviation
# $\sigma_G$, whose weights sum to 1. The loss of a patch is $1 - \operatorname{SSIM}$ at its centre
# pixel alone: all the other pixels are in it already.
#
# *Toy example.* Two flat patches, 0.3 and 0.5. All variances are 0, so $cs = 1$, and $l = 0.3001 /
# 0.3401 = 0.88$.
#
# ### Exercise 1: SSIM at the centre
#
# Write it for a batch of patches. The centre of a side of $H$ pixels is at $(H - 1)/2$.
#
# *Expect* 0.88 for the toy.
#
# <details><summary>Hint</summary>
#
# The window is a product of a column and a row, `torch.exp(-(side**2) / (2 * deviation**2))`,
# divided by its sum. Then every mean is `(window * values).sum(dim=(-2, -1))`; a variance is the
# mean of the squared difference from the mean.
# </details>


# %% tags=["nbval-check-output"]
def centre_ssim(x: Tensor, y: Tensor, deviation: float) -> Tensor:
    """SSIM at the centre of patches (B, 1, H, W) on the [0, 1] scale -> (B,)."""
    ### BEGIN SOLUTION
    rows, columns = (torch.arange(n) - (n - 1) / 2 for n in x.shape[-2:])
    window = torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * deviation**2))
    window = window / window.sum()
    mean_x, mean_y = ((window * z).sum(dim=(-2, -1), keepdim=True) for z in (x, y))
    x, y = x - mean_x, y - mean_y
    squares = (window * (x**2 + y**2)).sum(dim=(-2, -1), keepdim=True)
    product = (window * x * y).sum(dim=(-2, -1), keepdim=True)
    light = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    return (light * (2 * product + 9e-4) / (squares + 9e-4)).flatten()
    ### END SOLUTION


centre_ssim = check("losses.centre_ssim", centre_ssim)
flat = torch.full((1, 1, 9, 9), 0.3)
print(f"{float(centre_ssim(flat, flat + 0.2, 1.5)[0]):.2f}")

# %% [markdown]
# **Predict.** Two estimates of a patch have the same squared error. One is 10 grey levels too
# bright everywhere. The other has noise with a deviation of 10 levels. How do their losses
# $1 - \operatorname{SSIM}$ compare, with $\sigma_G = 5$?

# %%
patch = data.sample("camera")[..., 60:92, 180:212]
estimates = {"10 levels too bright": patch + 10 / 255,
             "noise of 10 levels": GaussianNoise(10 / 255)(patch, "camera"),
             "blurred": F.avg_pool2d(F.pad(patch, (1, 1, 1, 1), mode="replicate"), 3, stride=1)}


def around(image: Tensor) -> Tensor:
    """The 31 × 31 pixels around each pixel, mirrored at the border: (1024, 1, 31, 31)."""
    return F.unfold(F.pad(image, (15,) * 4, mode="reflect"), 31)[0].T.reshape(-1, 1, 31, 31)


def compare(estimates=estimates, patch=patch, around=around, ssim=centre_ssim) -> tuple[str, str]:
    bright, noise = (1 - float(ssim(around(one), around(patch), 5.0).mean())
                     for one in list(estimates.values())[:2])
    ratio = noise / bright
    right = "a" if ratio < 1.5 else "b" if ratio < 5 else "c"
    return right, f"{noise:.3f} for the noise, {bright:.3f} for the brightness: {ratio:.0f} times."


widgets.predict({"a": "they are about equal", "b": "noise costs two to five times as much",
                 "c": "noise costs more than five times as much"}, compare)

# %% [markdown]
# **What would each loss change?** Its gradient says it. The library has the paper's losses.
# MS-SSIM multiplies $cs$ for five deviations, $\sigma_G$ = 0.5, 1, 2, 4 and 8, and $l$ for the
# widest, so that nobody has to choose one. Mix adds L1:
#
# $$ \mathcal L^{\text{Mix}} = \alpha\, \mathcal L^{\text{MS-SSIM}} + (1 - \alpha)\, G_{8} \cdot
#    \mathcal L^{\ell_1}, $$
#
# L1 being weighted by the Gaussian of deviation 8, to make it comparable. The paper prints α =
# 0.84; the code that its authors published has 0.025. The figure has both. Each pixel has been the
# centre once, and the gradients are added up. Red says: make this pixel brighter; blue: darker.
# Each panel is stretched to its own range. The numbers are the losses.

# %% tags=["nbsphinx-thumbnail"]
kinds = ("l2", "l1", "charbonnier", "ssim-5", "ms-ssim", "mix", "mix-0.025")
figure = figures.new_figure(12, 5, 3, 8)
_ = [axes.set_axis_off() for axes in figure.axes]
for row, (name, estimate) in enumerate(estimates.items()):
    figure.axes[8 * row].imshow(estimate[0, 0, 1:-1, 1:-1], cmap="gray", vmin=0, vmax=1)
    figure.axes[8 * row].set_title(name, fontsize=8)
    for column, kind in enumerate(kinds, start=1):
        with torch.enable_grad():
            given = estimate.clone().requires_grad_()
            loss = LOSSES[kind](around(given), around(patch), torch.ones(1, 1, 31, 31))
        change = -torch.autograd.grad(loss, given)[0][0, 0, 1:-1, 1:-1]
        axes, top = figure.axes[8 * row + column], float(change.abs().quantile(0.98))
        axes.imshow(change, cmap="RdBu_r", vmin=-top, vmax=top)
        axes.set_title(f"{kind}: {loss:.3g}", fontsize=8)
figure

# %% [markdown]
# **What to notice.** *Too bright:* L2, L1 and Charbonnier darken all pixels alike. SSIM and its
# relatives care in the dark hair and hardly in the sky, for $l$ compares means by their ratio. And
# they care little: SSIM counts 0.011, and 0.073 for noise with the same squared error. A network
# trained with them alone may shift the brightness; that is why Mix has L1 in it.
#
# *Noise:* L2 pulls at each pixel in proportion to its error, L1 with one strength, Charbonnier as
# L1, but for errors near ε (white dots). SSIM pulls where its window sees little but noise, in the
# faint hair below. Along the bright edge $\sigma_y^2$ is large, and the same noise is forgiven. The
# paper saw what follows: with a large $\sigma_G$ networks keep noise in the proximity of edges.
# MS-SSIM looks through windows of one or two pixels, too, and pulls everywhere.
#
# *Blur:* L2 wants the edge back, SSIM the hair. With α = 0.84 Mix is MS-SSIM, except for the
# brightness; with 0.025 it looks like L1. Who writes "Mix" has to say which: trained alike, the one
# with 0.025 is best by every measure, and the one with 0.84 is 0.8 dB behind L2 (docs/losses.md).
#
# The paper's Table I says what this is worth for a network that denoises and demosaicks at once:
#
# | trained with | L2 | L1 | SSIM, $\sigma_G$ = 5 | SSIM, $\sigma_G$ = 9 | MS-SSIM | Mix |
# |:--|--:|--:|--:|--:|--:|--:|
# | PSNR in dB | 33.18 | 34.42 | 33.15 | 32.98 | 33.29 | **34.61** |
# | SSIM | 0.9346 | 0.9535 | 0.9500 | 0.9495 | 0.9536 | **0.9564** |
#
# Who trains with L2 does not get the best squared error. L2 and L1 have different slopes, and
# training ends in different places: after a training with L2 the authors went on with L1, and the
# squared error fell.
#
# **How much contrast does SSIM ask for?** A denoiser that is not sure of a texture paints a faint
# one: its estimate is the mean of many. Take such an estimate, with its mean taken away, and
# multiply it by a gain $a$. The squared error is smallest for $a = \sigma_{xy} / \sigma_x^2$, as in
# any regression, where $x$ is the estimate and $y$ the clean patch. What does SSIM want?
#
# ### Exercise 2: the gain that SSIM asks for
#
# Given are an estimate and the clean patch as vectors $(n)$ with mean 0, and $c \ge 0$. All pixels
# count alike. Return the number $a$ for which $cs$ of $a \cdot$`estimate` is largest.
#
# *Expect* that an estimate which is right but three times too faint gets 3 with $c = 0$. But try
# one that is half wrong, too: what you find there is the point of the exercise. With $c > 0$ an
# estimate that has nothing to do with the patch gets 0.
#
# <details><summary>Hint</summary>
#
# Write $cs(a)$ with $\sigma_{xy}$, $\sigma_x^2$ and $\sigma_y^2$, and set its derivative to 0. With
# $c = 0$ it is short. In general it is a quadratic equation; which of its two solutions is a
# maximum? Its usual formula divides by $\sigma_{xy}$; multiplied above and below by the other
# solution's numerator, it does not.
# </details>


# %% tags=["nbval-check-output"]
def best_gain(estimate: Tensor, clean: Tensor, c: float) -> float:
    """The a with the largest cs of a · estimate and clean, both (n,) with mean 0."""
    ### BEGIN SOLUTION
    product = float((estimate * clean).mean())
    own, true = float(estimate.square().mean()), float(clean.square().mean())
    root = ((c * own) ** 2 + 4 * product**2 * own * (true + c)) ** 0.5
    return 2 * product * (true + c) / (c * own + root)
    ### END SOLUTION


best_gain = check("losses.best_gain", best_gain)
truth = torch.tensor([0.3, -0.3, 0.1, -0.1])
half = truth * torch.tensor([1, 1, -1, -1])
for name, guess in {"a third of it": truth / 3, "half wrong": half}.items():
    least = float((guess * truth).mean() / guess.square().mean())
    print(f"{name:14s} L2 asks for {least:.2f}, SSIM for {best_gain(guess, truth, 0.0):.2f}")

# %% [markdown]
# Now the edge of section 1 once more, with SSIM as the loss; and estimates of a real network, of
# FFDNet at σ = 50/255, cut into patches of 8 × 8 pixels. Each patch asks for a gain.

# %%
loud = GaussianNoise(50 / 255)(clean, "camera")
guess = restore(ffdnet, loud, 50 / 255)
pieces = [F.unfold(image, 8, stride=8)[0].T for image in (guess, clean)]  # (256, 64) each
pieces = [piece - piece.mean(dim=1, keepdim=True) for piece in pieces]
gains = [[float((e * x).sum() / e.square().sum()) for e, x in zip(*pieces, strict=True)],
         [best_gain(e, x, 9e-4) for e, x in zip(*pieces, strict=True)]]
contrast = 255 * pieces[1].square().mean(dim=1).sqrt()

# %%
figure = figures.new_figure(10, 3, columns=2)
for kind, name, style, asked in (("l2", "L2", "o-", gains[0]), ("ssim-5", "SSIM", "x:", gains[1])):
    figure.axes[0].plot(asked_for(LOSSES[kind], edges).flatten(), style[1], label=name)
    middle = torch.tensor(asked)[contrast > 10].median()
    figure.axes[1].semilogx(contrast, asked, style[0], markersize=3,
                            label=f"{name}, median above 10 levels: {middle:.2f}")
figure.axes[1].axhline(1, color="0.7", linewidth=0.8, zorder=0)
figure.axes[0].set(xlabel="pixel", ylabel="grey", title="two answers to the nine edges")
figure.axes[1].set(xlabel="contrast of the clean patch, grey levels", ylabel="gain", ylim=(-2.5, 5))
for axes, place in zip(figure.axes, ("upper left", "lower right"), strict=True):
    axes.legend(frameon=False, loc=place, fontsize=8)
figure

# %% [markdown]
# **What to notice.** With $c = 0$ SSIM asks for $\pm \sigma_y / \sigma_x$, the full contrast of the
# clean patch, however badly the estimate fits; only the sign depends on the fit. L2 asks for the
# same times the correlation: the less sure, the fainter. So SSIM's answer to the nine edges is a
# ramp, too, but a higher one, from 0.11 to 0.86, though no truth leaves 0.2 to 0.8. On the right,
# FFDNet was trained with L2: patches with contrast ask for a gain of 1.02 in the median, so next
# to nothing is left to be gained. SSIM would have 1.09. In patches of a few levels both ask for
# gains near 0: what FFDNet paints there has little to do with the truth. A loss of structure makes
# pictures crisper; it does not make the network know more.
#
# ## 3. What is the network told?
#
# A network for one σ is wrong for all others. FFDNet is one network for all: it computes
#
# $$ \hat{\mathbf x} = \mathcal F(\mathbf y, \mathbf M; \Theta), $$
#
# where the *noise level map* $\mathbf M$ says how strong the noise is at each pixel. Its weights Θ
# know nothing about σ. The second idea makes it fast: the picture is cut into four *phases*, each
# with every second pixel of every second row. The layers work on a grid with a quarter of the
# pixels, and each sees twice as far. Nothing is lost, since the phases are put together again at
# the end. The input has $4C + 1$ channels of half the size: four phases per colour, and the map.
#
# *Toy example.* The pixels
# $\begin{pmatrix} 0 & 1 & 2 & 3 \\ 4 & 5 & 6 & 7 \end{pmatrix}$ have the phases $(0, 2)$, $(1, 3)$,
# $(4, 6)$ and $(5, 7)$.
#
# ### Exercise 3: phases and back
#
# Write both ways without `pixel_unshuffle` and `pixel_shuffle`. The four phases of a colour stand
# together: upper left, upper right, lower left, lower right.
#
# *Expect* the phases of the toy, and the same picture back.
#
# <details><summary>Hint</summary>
#
# `image[..., row::2, column::2]` is a phase, and can be assigned to as well. `phases[:, k::4]` are
# all colours' phases number $k$.
# </details>


# %% tags=["nbval-check-output"]
def to_phases(image: Tensor) -> Tensor:
    """(B, C, H, W) with even sides -> (B, 4C, H/2, W/2)."""
    ### BEGIN SOLUTION
    phases = [image[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.stack(phases, dim=2).flatten(1, 2)
    ### END SOLUTION


to_phases = check("noise_maps.to_phases", to_phases)


# %% tags=["nbval-check-output"]
def from_phases(phases: Tensor) -> Tensor:
    """(B, 4C, h, w) -> (B, C, 2h, 2w)."""
    ### BEGIN SOLUTION
    batch, channels, height, width = phases.shape
    image = phases.new_empty(batch, channels // 4, 2 * height, 2 * width)
    for k in range(4):
        image[..., k // 2 :: 2, k % 2 :: 2] = phases[:, k::4]
    return image
    ### END SOLUTION


from_phases = check("noise_maps.from_phases", from_phases)
print(to_phases(torch.arange(8.0).reshape(1, 1, 2, 4)).flatten(1).int().tolist())
assert torch.equal(from_phases(to_phases(noisy)), noisy)

# %% tags=["nbval-check-output"]
# With these two, FFDNet is a plain stack of convolutions.
level = torch.full((1, 1, 64, 64), sigma)
features = torch.cat([to_phases(noisy), level], dim=1)
print("the input:", tuple(features.shape))
for layer in [ffdnet.first, *ffdnet.middle]:
    features = layer(features).relu()
by_hand = from_phases(ffdnet.last(features))
assert (by_hand - restore(ffdnet, noisy, sigma)).abs().max() < 1e-2
print(f"noisy {decibels(noisy, clean):.1f} dB, FFDNet {decibels(by_hand, clean):.1f} dB")

# %% [markdown]
# **Predict.** The noise has σ = 25/255. FFDNet is told 10, or it is told 40: the error is 15 both
# times. Which of the two costs more?


# %%
def told(level: float, noisy=noisy, ffdnet=ffdnet) -> Tensor:
    """The estimate of FFDNet, told a level in grey levels."""
    return restore(ffdnet, noisy, level / 255)


def wrong_map(told=told, clean=clean) -> tuple[str, str]:
    right, low, high = (decibels(told(level), clean) for level in (25, 10, 40))
    answer = "b" if abs(low - high) < 0.5 else "a" if low < high else "c"
    return answer, f"Told 10, it loses {right - low:.2f} dB; told 40, {right - high:.2f} dB."


widgets.predict({"a": "10 costs more", "b": "about the same", "c": "40 costs more"}, wrong_map)

# %%
figures.show_images({"clean": clean, "told 10": told(10), "told 25": told(25), "told 60": told(60)},
                    clean=clean, residual=True, width=11)

# %%
wide = F.pad(clean, (3, 3, 3, 3), mode="replicate")
spread = F.avg_pool2d(wide**2, 7, stride=1) - F.avg_pool2d(wide, 7, stride=1) ** 2
regions = {"flat half": spread <= spread.median(), "textured half": spread > spread.median(),
           "whole": spread >= 0}
levels = (2, 5, 10, 15, 20, 23, 25, 27, 30, 35, 40, 50, 60, 75)
mistakes = [(told(level).clamp(0, 1) - clean).square() for level in levels]
curves = {name: [float(-10 * error[region].mean().log10()) for error in mistakes]
          for name, region in regions.items()}
figure = figures.new_figure(7, 3.2)  # the line is the truth
for (name, curve), style in zip(curves.items(), figures.LINE_STYLES, strict=False):
    figure.axes[0].plot(levels, curve, style, label=f"{name}: {curve[6]:.2f} dB at 25")
figure.axes[0].axvline(25, color="0.7", linewidth=0.8, zorder=0)
figure.axes[0].set(xlabel="σ that FFDNet is told, × 255", ylabel="PSNR in dB", ylim=(22, 39))
figure.axes[0].legend(frameon=False)
figure

# %%
def redraw(told_level: int, clean=clean, told=told) -> figures.Figure:
    """The estimate for one told level, and its error."""
    return figures.show_images({"clean": clean, f"told {told_level}": told(told_level)},
                               clean=clean, residual=True, width=6)


widgets.explore(redraw, told_level=[25, 5, 10, 15, 20, 30, 40, 50, 75])

# %% [markdown]
# **What to notice.** Told 10, FFDNet takes most of the noise for picture. Told 60, it takes hair
# and eyebrows for noise: what is fainter than the noise it expects is deleted, and edges alone
# survive. The curves are steep on the left and less so on the right: told 20, the picture loses 2.1
# dB, told 30 it loses 0.5. If in doubt, say more. Flat regions lose by far more decibels to a σ
# that is too low, as nothing hides the noise there. (The lecture calls the PSNR constant where σ is
# overestimated. Here it falls, but slowly at first.)
#
# **A map that is no constant.** Noise that varies over the picture is the rule: a lens darkens
# the corners, and brightening them brightens their noise. Here σ grows from 5 on the left to 60 on
# the right. FFDNet was trained with constant maps alone. The lecture says why that suffices: a
# convolution sees a small piece of the map, where it is nearly constant.

# %%
ramp = torch.linspace(5, 60, 128).expand(1, 1, 128, 128).contiguous() / 255
varying = VaryingNoise(ramp)(clean, "camera")
one = float(ramp.square().mean().sqrt())  # the one σ with the same mean squared error
answers = {"noisy": varying, f"told {255 * one:.0f} everywhere": restore(ffdnet, varying, one),
           "told the map": restore(ffdnet, varying, ramp)}
for name, estimate in answers.items():
    thirds = [decibels(*(image[..., left : left + 42] for image in (estimate, clean)))
              for left in (0, 43, 86)]
    print(f"{name:20s}" + "left {:.2f}   middle {:.2f}   right {:.2f}   ".format(*thirds)
          + f"all {decibels(estimate, clean):.2f} dB")
figures.show_images({"clean": clean} | answers, clean=clean, width=11)

# %% [markdown]
# **What to notice.** One σ for all is too much on the left, where the hair is smoothed away, and
# too little on the right, where noise remains. The map gains 2.4 dB on the left, 5.2 dB on the
# right and 3.9 dB in all. In the middle, where one σ is nearly right, it gains least.
#
# ## 4. What must it not know?
#
# FFDNet is told σ, and was trained for all of them. A network that is not told has to find out.
# What if the noise is louder than any in its training? Look at one unit with a bias,
# $r(x) = \max(x - 0.5,\, 0)$. It has $r(1) = 0.5$, but $r(2) = 1.5$ and not $2 \cdot 0.5$: its
# threshold 0.5 fits signals of one size. Without the bias, $r(ax) = a\,r(x)$ for all $a > 0$, and
# what holds for units holds for a network of them:
#
# $$ f(a\,\mathbf y) = a\, f(\mathbf y), \qquad a > 0 . $$
#
# Such an $f$ is *homogeneous*. Noise of σ = 50 on a photograph is for it the same as noise of 10 on
# the photograph at a fifth of its contrast, and faint pictures it has seen: every photograph has
# regions with little contrast.
#
# ### Exercise 4: take the constants away
#
# Given is an `nn.Sequential` of convolutions, ReLUs and `nn.BatchNorm2d` in evaluation mode, where
# the latter computes $\gamma (x - \mu) / \sqrt{v + \varepsilon} + \beta$. Return a copy that is
# homogeneous. Kernels and factors stay.
#
# *Expect* that for a random network $f(3\mathbf y) - 3 f(\mathbf y)$ becomes 0.
#
# <details><summary>Hint</summary>
#
# `copy.deepcopy(net)`, then go through its layers with `isinstance`. `tensor.zero_()` works on
# `layer.bias` and `layer.running_mean`. A convolution may have no bias: then it is `None`.
# </details>


# %% tags=["nbval-check-output"]
def homogeneous(net: nn.Sequential) -> nn.Sequential:
    """A copy without anything that is added: f(a y) = a f(y) for a > 0."""
    ### BEGIN SOLUTION
    bare = copy.deepcopy(net)
    for layer in bare:
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)) and layer.bias is not None:
            layer.bias.zero_()
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.zero_()
    return bare
    ### END SOLUTION


homogeneous = check("bias_free.homogeneous", homogeneous)
torch.manual_seed(0)
random = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3)).eval()
for name, net in {"as drawn": random, "without constants": homogeneous(random)}.items():
    gap = (net(3 * noisy) - 3 * net(noisy)).abs().mean() / net(3 * noisy).abs().mean()
    print(f"{name:18s} relative gap {gap:.2f}")

# %% [markdown]
# To take the biases from a network that was trained with them would ruin it. One has to train
# without. The next cell trains two small networks for the noise, as DnCNN does, with σ anywhere
# between 0 and 15/255. They differ in `bias=True` and `bias=False` alone: same start, same
# patches, same noise.


# %%
def plain(bias: bool, layers: int = 5, width: int = 16) -> nn.Sequential:
    """Convolutions and ReLUs; their output is the noise."""
    sizes, parts = [1, *[width] * (layers - 1), 1], []
    for a, b in pairwise(sizes):
        parts += [nn.Conv2d(a, b, 3, padding=1, bias=bias), nn.ReLU()]
    net = nn.Sequential(*parts[:-1])
    start_convolutions(net)
    return net


# %%
names = ("astronaut", "brick", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")
photos = [data.sample(name) for name in names]


def crops(generator: torch.Generator, count: int = 16, size: int = 24) -> Tensor:
    """Random pieces (count, 1, size, size) of the photographs."""
    found = []
    for number in torch.randint(len(photos), (count,), generator=generator).tolist():
        top, left = (int(torch.randint(side - size, (1,), generator=generator))
                     for side in photos[number].shape[-2:])
        found.append(photos[number][..., top : top + size, left : left + size])
    return torch.cat(found)


# %%
def train(net: nn.Sequential, loudest: float = 15 / 255, steps: int = 700) -> nn.Sequential:
    """L2 on the noise, of levels between 0 and the loudest."""
    generator = torch.Generator().manual_seed(0)
    schedule = OneCycleLR(optimizer := Adam(net.parameters()), 1e-2, steps)
    with torch.enable_grad():
        for _ in range(steps):
            noise = loudest * torch.randn(16, 1, 24, 24, generator=generator)
            noise = noise * torch.rand(16, 1, 1, 1, generator=generator)
            loss = (net(crops(generator) + noise) - noise).square().mean() / loudest**2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.requires_grad_(False)


nets = {"with biases": train(plain(bias=True)), "without biases": train(plain(bias=False))}

# %% [markdown]
# **Predict.** Both have seen noise up to 15. Which of the two is better at σ = 60, on a photograph
# that neither has seen?


# %%
def louder(nets=nets, clean=clean) -> tuple[str, str]:
    loud = GaussianNoise(60 / 255)(clean, "camera")
    one, other = (decibels(loud - net(loud), clean) for net in nets.values())
    right = "a" if one > other + 0.2 else "c" if other > one + 0.2 else "b"
    return right, (f"With biases {one:.2f} dB, without {other:.2f} dB; "
                   f"the noisy picture has {decibels(loud, clean):.2f} dB.")


widgets.predict({"a": "the one with biases: it has more parameters", "b": "they fail alike",
                 "c": "the one without"}, louder)

# %%
levels = (2, 5, 8, 12, 15, 20, 25, 30, 40, 50, 60, 75)
seen = [GaussianNoise(level / 255)(clean, "camera") for level in levels]
figure = figures.new_figure(10, 3.4, columns=2)
left, right = figure.axes
start = [decibels(one, clean) for one in seen]
left.plot(levels, start, ":", color="0.4", label="noisy")
for (name, net), style in zip(nets.items(), ("--", "-"), strict=True):
    scores = [decibels(one - net(one), clean) for one in seen]
    left.plot(levels, scores, style, label=name)
    right.plot(levels, [a - b for a, b in zip(scores, start, strict=True)], style, label=name)
for axes, label in ((left, "PSNR in dB"), (right, "gain over the noisy picture, dB")):
    axes.axvspan(0, 15, color="0.93", zorder=0)
    axes.set(xlabel="σ × 255", ylabel=label)
    axes.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Inside the grey range the network with biases is better from σ = 8 on, by up
# to 1.2 dB: its thresholds fit the levels that it was trained for. Outside it collapses: its gain
# falls from 4.6 dB to 0.9, until it returns little but the noisy picture. Without biases the gain
# stays between 3.6 and 4.0 dB up to σ = 75, five times the loudest noise of the training. At σ = 2
# both do harm: errors of this size hardly count in a loss that adds up all levels.
#
# Mohan and others find the same for DnCNN and for three more architectures: with biases all
# "perform poorly out of their training range", without them they generalise. With the weights that
# they published, trained up to σ = 10/255, Set12 at σ = 50/255 comes out at 26.65 dB without biases
# and at 15.15 dB with them. Their batch normalisation is that of exercise 4: it divides, and
# subtracts nothing. Two networks of the same size that this library has trained, for half an hour
# each, come out at 24.98 and at 15.11 dB. At σ = 10/255 these two are alike: 34.09 dB both
# ([docs/louder.md](../docs/louder.md)).
#
# ## Results: one network for all levels
#
# The baseline is the SC of lesson 05, which was trained for σ = 25/255 alone. It can be used for
# another σ in two ways. As it is; or rescaled: multiply the picture by 25/σ, restore it, and divide
# the estimate again, which makes a homogeneous function of σ and the picture of any network. In the
# last row σ grows from 5 to 60 across the picture; SC is told one σ that has the same mean square,
# FFDNet the map. `restore` does what is needed in all cases.

# %%
print("PSNR in dB       σ × 255    noisy   SC as it is   SC rescaled   FFDNet")
target = data.sample("astronaut")[..., 60:156, 160:256]
ramp = torch.linspace(5, 60, 96).expand(1, 1, 96, 96).contiguous() / 255
results = {}
for label, truth in {**{str(k): k / 255 for k in (15, 25, 35, 50)}, "5 to 60": ramp}.items():
    varies = isinstance(truth, Tensor)
    seen = (VaryingNoise if varies else GaussianNoise)(truth)(target, "astronaut")
    one = float(truth.square().mean().sqrt()) if varies else truth
    images = (seen, restore(sc, seen), restore(sc, seen, one), restore(ffdnet, seen, truth))
    results[label] = [decibels(image, target) for image in images]
    print(f"{label:>24}" + "{:9.2f}{:14.2f}{:14.2f}{:9.2f}".format(*results[label]))
assert results["35"][3] > results["35"][1] + 1
assert results["5 to 60"][3] > results["5 to 60"][2] + 1

# %% [markdown]
# **What to notice.** SC as it is serves one level: at σ = 35 FFDNet is 3.4 dB ahead, at 50 it is
# 8.2 dB. Rescaled, SC stays within half a decibel at every level. A network can be told σ without
# having an input for it, if one number is all there is to tell. Where σ varies, no rescaling fits,
# and the map is worth 3.5 dB.
#
# What does it cost to serve all levels with one network? In print little (BSD68, PSNR in dB; the
# GroupSC paper's Table 3). SC and GroupSC have other weights in each column, FFDNet has one set:
#
# | σ × 255 | 15 | 25 | 50 |
# |:--|--:|--:|--:|
# | SC | 31.46 | 28.90 | 25.84 |
# | GroupSC | 31.71 | 29.20 | 26.17 |
# | FFDNet | 31.63 | 29.19 | 26.29 |
#
# ## What breaks
#
# **The window of SSIM.** The paper reports artifacts in flat regions for a small $\sigma_G$, and
# noise near edges for a large one. The loss itself shows both. Three things have a deviation of 5
# grey levels: soft blotches 40 pixels apart on a flat ground, white noise on it, and the same noise
# 8 pixels away from an edge.
#
# **Noise of another kind.** The map tells how strong the noise is, and nothing else. Below that,
# noise has the right σ, but neighbours share it, as after demosaicking or resizing: the mean of
# 2 × 2 independent numbers, times 2.

# %% tags=["nbval-check-output"]
ground, across = torch.full((40, 1, 49, 49), 0.6), torch.arange(49)
edge = torch.where(across < 16, 0.2, ground)
phase = torch.arange(40)[:, None, None, None]
blotches = 5 / 255 * 2**0.5 * torch.sin(2 * torch.pi * (across + phase) / 40).expand(40, 1, 49, 49)
noise = GaussianNoise(5 / 255)(0 * ground, "grain")
print("1 − SSIM    blotches    noise    noise by an edge")
for width in (1.5, 5.0, 9.0):
    pairs = ((ground, blotches), (ground, noise), (edge, noise))
    losses = [1 - float(centre_ssim(x + e, x, width).mean()) for x, e in pairs]
    print(f"σ_G = {width}" + "{:14.2f}{:9.2f}{:14.2f}".format(*losses))

# %%
white = GaussianNoise(1.0)(F.pad(0 * clean, (0, 1, 0, 1)), "camera")
correlated = clean + sigma * 2 * F.avg_pool2d(white, 2, stride=1)
print(f"noise of σ = {255 * float((correlated - clean).std()):.0f} that neighbours share:")
for level in (25, 40, 60):
    estimate = restore(ffdnet, correlated, level / 255)
    print(f"  FFDNet, told {level}: {decibels(estimate, clean):.2f} dB")
print(f"white noise, told 25: {decibels(told(25), clean):.2f} dB")

# %% [markdown]
# **What to notice.** A narrow window does not see blotches: within it they are a constant, and $l$
# forgives. A wide one sees the edge beside the noise, and forgives the noise. No width is right
# everywhere, hence MS-SSIM. As for the noise: told its true σ, FFDNet loses more than 4 dB
# where neighbours share it. What two pixels have in common looks like texture. A σ that is a lie,
# 40, gets some of it back. Lesson 15 is about such noise.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("14")

# %% [markdown]
# ## Problems
#
# **1. A filter for each picture.** Show that a homogeneous $f$ satisfies $f(\mathbf y) = J(\mathbf
# y)\, \mathbf y$, where $J(\mathbf y)$ is its Jacobian at $\mathbf y$: at each picture it is a
# linear filter, which adapts to the picture. A network with biases has a remainder, $\mathbf b =
# f(\mathbf y) - J(\mathbf y)\, \mathbf y$, which Mohan and others call its net bias. Measure it for
# both small networks at σ = 10, 25 and 60.
#
# <details><summary>Solution</summary>
#
# Differentiate $f(a\,\mathbf y) = a\, f(\mathbf y)$ with respect to $a$. On the left the chain rule
# gives $J(a\,\mathbf y)\, \mathbf y$, on the right stands $f(\mathbf y)$. Put $a = 1$. (This is
# Euler's theorem on homogeneous functions.) With ReLUs, $J$ is constant as long as no unit
# switches, so a network with biases is $J(\mathbf y)\, \mathbf y + \mathbf b$ there. A product of
# the Jacobian and a vector takes one pass, `torch.func.jvp`.
#
# ```python
# for name, net in nets.items():
#     for level in (10, 25, 60):
#         y = GaussianNoise(level / 255)(clean, "camera")
#         value, product = torch.func.jvp(net, (y,), (y,))
#         rest, own = (255 * image.square().mean().sqrt() for image in (value - product, value))
#         print(f"{name:16s} σ = {level}: output {own:.1f}, remainder {rest:.1f} grey levels")
#         assert name == "with biases" or rest < 1e-3 * own
# ```
#
# Without biases the remainder is 0, and the output grows with the noise: 6, 14, 41 levels. With
# biases the remainder is larger than the output from σ = 25 on: constants, and not the picture,
# decide what is taken away. It is stuck at 15 levels where 60 would be right.
#
# </details>
#
# **2. Is the map needed?** SC knows one σ only. But it can be given a picture in which the noise
# has one σ: divide by the map, restore, multiply. Try it on the ramp of the results. What does it
# do to the picture, and when must it fail?
#
# <details><summary>Solution</summary>
#
# Let $\mathbf M$ be the map. In $\sigma_0\, \mathbf y / \mathbf M$ the noise has the deviation
# $\sigma_0$ everywhere, and SC was trained for that. But the picture is bent, too: brighter where
# there is little noise, darker where there is much. Along a slow ramp this is a slope that a patch
# hardly notices. If the map has edges, they become edges of the picture, and a network that knows
# photographs has never seen such things. The second map changes every 8 pixels.
#
# ```python
# stripes = torch.where(torch.arange(96) // 8 % 2 == 0, 8.0, 45.0).expand(1, 1, 96, 96) / 255
# for name, level in {"ramp": ramp, "stripes": stripes.contiguous()}.items():
#     y = VaryingNoise(level)(target, "astronaut")
#     divided = restore(sc, sc.sigma * y / level) * level / sc.sigma
#     print(f"{name:8s} SC after division {decibels(divided, target):.2f} dB, "
#           f"FFDNet {decibels(restore(ffdnet, y, level), target):.2f} dB")
# ```
#
# On the ramp division gets most of the way: 26.91 dB, where one σ gave 23.80 and the map gives
# 27.30. On the stripes it breaks down, to 17.19 dB; FFDNet, which looks at the map beside the
# picture and not through it, stays at 27.47.
#
# </details>
#
# ## Further reading
#
# - Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, *Image quality assessment: from error
#   visibility to structural similarity*, 2004: SSIM.
# - J. Lehtinen and others, *Noise2Noise: learning image restoration without clean data*, 2018: what
#   follows if targets are noisy and a loss asks for their mean.
# - K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, *Plug-and-play image restoration
#   with deep denoiser prior*, 2021: a denoiser with a map and without biases, put to work.
#
# **Next:** [15 · Real noise and priors](15_real_noise_and_priors.ipynb) asks where the map comes
# from when nobody gives it, and what noise looks like in a camera.
