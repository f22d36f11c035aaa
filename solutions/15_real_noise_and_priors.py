# %% [markdown]
# # 15 · Real noise, and what one may know beforehand
#
# Noise in this course was white, Gaussian, equally strong everywhere, and somebody told us how
# strong. No camera makes such noise. It follows the light, it is bent by a curve, spread over
# neighbours and compressed, and nobody says how much of it there is. This lesson makes noise as
# cameras do, and then looks at what helps: to *model* it, to *estimate* it, and to know something
# about the picture, be it that it shows a wall, or that a wall repeats itself.
#
# **You will be able to**
#
# - measure how a sensor's noise depends on the light, from two photographs of one scene;
# - derive the curve that makes this noise Gaussian, use it, and say what going back costs;
# - follow noise through a camera, and say why an estimate for white noise overlooks most of it;
# - explain CBDNet's asymmetric loss, test it by a property, and measure what it changes;
# - look into a gradual denoiser layer by layer, train one for a class, and reinforce any denoiser
#   by a filter of similar patches.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in about a minute on a laptop.
# - **You need:** lessons 06 (self-similarity), 08 (GroupSC), 10 (mosaics, σ estimated from a
#   picture), 13 (DnCNN) and 14 (FFDNet and its map).
# - **Source:** Guo, Yan, Zhang, Zuo, Zhang, *Toward convolutional blind denoising of real
#   photographs*, 2019 (CBDNet); Remez, Litany, Giryes, Bronstein, *Class-aware fully convolutional
#   Gaussian and Poisson denoising*, 2018; Cruz, Foi, Katkovnik, Egiazarian,
#   *Nonlocality-reinforced convolutional neural networks for image denoising*, 2018 (NN3D);
#   G. Boracchi, *Convolutional neural networks for image restoration*, lecture, 2022.

# %%
# %matplotlib inline
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib import checkpoints, classical, data, metrics
from lessons_lib.camera import CameraNoise, from_light, to_light
from lessons_lib.degradations import JPEG, BayerMosaic, GaussianNoise, VaryingNoise, random_state
from lessons_lib.demosaicking import bilinear
from lessons_lib.exercises import check, core
from lessons_lib.models import build, restore
from lessons_lib.models.nn3d import NonLocalFilter, haar_matrix, nn3d
from lessons_lib.ops.noise_level import estimate_noise, estimate_sigma
from lessons_lib.ops.patches import extract_patches, group_average
from lessons_lib.viz import figures, widgets

# %%
torch.set_grad_enabled(False)  # switched on where something is trained
ffdnet = checkpoints.load_model("ffdnet-gray")  # one network for all levels, told σ or a map of it
shot, read = 0.16, 0.03  # σ_s and σ_c


def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


def variance(light: Tensor) -> Tensor:
    """Of the sensor's noise where so much light arrives."""
    return shot**2 * light.clamp_min(0) + read**2


photo = data.sample("astronaut")[..., 10:202, 130:322]
light = to_light(photo)
raw = VaryingNoise(variance(light).sqrt())(light, "astronaut")
print(f"noise: {255 * read:.1f} grey levels in the dark, "
      f"{255 * (shot**2 + read**2) ** 0.5:.1f} in white")

# %% [markdown]
# ## 1. How does noise follow the light?
#
# A sensor counts photons. They arrive at random, and a count of $n$ scatters by about $\sqrt n$:
# its variance grows in proportion to the light $L$. The electronics add noise of their own, which
# does not care. Two parts, one line (CBDNet, §3.1):
#
# $$ y = L + n, \qquad \sigma^2(L) = \sigma_s^2 L + \sigma_c^2 . $$
#
# The first is *shot noise*, the second *read noise*. Here $L$ is 1 in white; CBDNet is trained with
# $\sigma_s$ up to 0.16 and $\sigma_c$ up to 0.06. *Toy example.* With $\sigma_s = 0.2$ and
# $\sigma_c = 0.1$ the variance is 0.01 in black, 0.03 at $L = 0.5$ and 0.05 in white: three points
# on a line, whose slope is $\sigma_s^2$, and which begins at $\sigma_c^2$.
#
# To measure the line, take *two* photographs of one scene. In their difference the scene is gone,
# and half of its variance is that of the noise. A square of 8 × 8 pixels gives one point: its mean
# is the level, and there the variance has been measured with 64 pixels. But points are not equally
# good: a variance measured with $n$ Gaussian numbers has itself a variance, $2\sigma^4 / (n-1)$. So
# points in the light scatter more, and should count less, in proportion to $1/\sigma^4$.
#
# ### Exercise 1: the line
#
# Find $(\sigma_s^2, \sigma_c^2)$ that make $\sum_i w_i (v_i - \sigma_s^2 L_i - \sigma_c^2)^2$
# smallest, three times: first with all weights 1, then twice with $w_i = 1/\sigma^4(L_i)$, with
# $\sigma^2(L_i)$ from the line of the round before, and at least 1e-6.
#
# *Expect* 0.04 and 0.01 for the toy.
#
# <details><summary>Hint</summary>
#
# Multiply both sides of $v = \sigma_s^2 L + \sigma_c^2$ by $\sqrt{w}$, and
# `torch.linalg.lstsq(A, b).solution` does the rest. A is (n, 2), b is (n, 1).
# </details>


# %% tags=["nbval-check-output"]
def noise_line(levels: Tensor, variances: Tensor) -> Tensor:
    """Levels L (n,) and variances v measured there (n,) -> [σ_s², σ_c²] (2,)."""
    ### BEGIN SOLUTION
    points = torch.stack([levels, torch.ones_like(levels)], dim=1)
    root = torch.ones_like(levels)  # √w
    for _ in range(3):
        line = torch.linalg.lstsq(root[:, None] * points, (root * variances)[:, None]).solution
        root = 1 / (points @ line)[:, 0].clamp_min(1e-6)
    return line[:, 0]
    ### END SOLUTION


noise_line = check("camera.noise_line", noise_line)
toy = noise_line(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.01, 0.03, 0.05]))
print([round(value, 3) for value in toy.tolist()])

# %% [markdown]
# Now on photographs. To see what the second one is worth, the line is also sought with the first
# alone: by the variance of $y$ itself in each square.

# %%
again = VaryingNoise(variance(light).sqrt(), seed=1)(light, "astronaut")
patches, others = (extract_patches(one, 8, 8)[0] for one in (raw, again))  # (64, N)
levels = (patches + others).mean(dim=0) / 2
pair, single = (patches - others).var(dim=0) / 2, patches.var(dim=0)
figure, at = figures.new_figure(8.5, 3.2), torch.linspace(0, 1, 50)
axes = figure.axes[0]
for values, name, style in ((single, "one photograph", "."), (pair, "a pair", "x")):
    s2, c2 = noise_line(levels, values).tolist()
    print(f"{name:15s} σ_s = {max(s2, 0) ** 0.5:.3f}, σ_c = {max(c2, 0) ** 0.5:.3f}")
    axes.plot(levels, values, style, markersize=4, alpha=0.6, label=name)
    axes.plot(at, s2 * at + c2, label=f"line from {name}")
axes.plot(at, variance(at), "k--", label="true line")
axes.set(xlabel="light L", ylabel="variance", ylim=(0, 0.06))
axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %% [markdown]
# **What to notice.** The pair gives both numbers to within a few per cent, without knowing anything
# of the scene. Its crosses scatter about the true line, the more the brighter it is, as the weights
# suppose. With one photograph, hair and eyes count as noise: its points scatter about the *true*
# line where a square is smooth and lie far above it elsewhere, and they lift its own line:
# $\sigma_s$ comes out 30 % too large, $\sigma_c$ twice as large as it is. Who has one photograph
# only must look for places without texture.
#
# ## 2. Can one make it Gaussian again?
#
# A denoiser for white Gaussian noise with one σ is all that most of this course has. Rather than
# teach it new noise, change the picture: look for a curve $f$ such that $f(y)$ has the same noise
# everywhere. This is a *variance-stabilising transform*. Anscombe found one for photons alone in
# 1948; the one for both kinds of noise is called the generalised Anscombe transform.
#
# ### Exercise 2: the curve
#
# How much of the noise is left after a curve depends on its slope: a small step $n$ in $y$ becomes
# $f'(L)\, n$. So ask for
#
# $$ f'(L)\; \sigma(L) = 1 \quad \text{for all } L \ge 0, \qquad f(0) = 0 . $$
#
# Solve this, and write $f$. It must also serve a sensor without read noise, and one without shot
# noise, where $f(L) = L/\sigma_c$, and any between, so beware of differences of nearly equal
# numbers. Noise makes some $y$ negative. Below $-\sigma_c^2/\sigma_s^2$, where $\sigma^2$ would be
# negative, too, let $f$ stay what it is there.
#
# *Expect* $f(3) = 2$ for $\sigma_s = \sigma_c = 1$, and 20 for $L = 1$, $\sigma_s = 0.1$,
# $\sigma_c = 0$.
#
# <details><summary>Hint</summary>
#
# $f(L) = \int_0^L d\ell / \sigma(\ell)$, and the derivative of $\sqrt{a\ell + b}$ is
# $a / (2\sqrt{a\ell + b})$. To be rid of a difference of two roots, and of a division by a small
# $\sigma_s^2$, multiply above and below by their sum.
# </details>


# %% tags=["nbval-check-output"]
def stabilise(light: Tensor, shot: float, read: float) -> Tensor:
    """f(y), whose noise has the standard deviation 1 everywhere; any shape."""
    ### BEGIN SOLUTION
    light = light.clamp_min(-(read**2) / max(shot**2, 1e-12))
    sigma = (shot**2 * light + read**2).clamp_min(0).sqrt()
    return 2 * light / (sigma + read).clamp_min(1e-12)
    ### END SOLUTION


stabilise = check("camera.stabilise", stabilise)
print(round(float(stabilise(torch.tensor(3.0), 1, 1)), 2),
      round(float(stabilise(torch.tensor(1.0), 0.1, 0)), 2))

# %%
steps = torch.linspace(0, 1, 41)[:, None]
samples = steps + variance(steps).sqrt() * torch.from_numpy(
    random_state(0, "steps").standard_normal((41, 20_000))).float()
figure = figures.new_figure(9.5, 2.9, columns=3)
left, middle, right = figure.axes
left.plot(steps, stabilise(steps, shot, read) / stabilise(torch.tensor(1.0), shot, read),
          label="f, scaled")
left.plot(steps, from_light(steps), "--", label="a camera's curve (sRGB)")
left.set(xlabel="light L", ylabel="f(L) / f(1)")
left.legend(frameon=False, fontsize=8)
middle.plot(steps, 255 * samples.std(dim=1))
middle.set(xlabel="light L", ylabel="noise of y in grey levels", ylim=(0, None))
right.plot(steps, stabilise(samples, shot, read).std(dim=1))
right.set(ylim=(0, 1.5), xlabel="light L", ylabel="standard deviation of f(y)")
figure

# %% [markdown]
# **What to notice.** The curve is steep in the dark and flat in the light, and sRGB's has nearly
# the same shape. The noise of $y$ grows from 8 to 42 grey levels; behind $f$ it has the deviation
# 1.0 nearly everywhere. In the dark it is up to 1.2: there the noise is as large as the light
# itself, and the slope differs from one end of it to the other. *A small step* $n$ was the
# assumption.
#
# **Back again.** $z = f(y)$ is solved for $y$ by $\sigma_c z + \sigma_s^2 z^2 / 4$, whatever the
# two are. But a denoiser returns about the mean of $f(y)$, and since $f$ is bent, that is not $f$
# of the mean: what comes back is too dark, by about $\sigma_s^2 / 4$ where there is light enough
# (problem 1 derives it). FFDNet can be told the noise of each pixel, so there is another way: leave
# the picture as it is, and give it a map of σ. That needs $L$, which we do not have; a blurred $y$
# will do. (*True rms* below is one σ for all: the root mean square of the noise over the picture.)


# %%
def restore_stabilised(raw: Tensor) -> Tensor:
    """Stabilise, denoise with one σ, go back."""
    white = float(stabilise(torch.tensor(1.0), shot, read))
    z = white * restore(ffdnet, stabilise(raw, shot, read) / white, 1 / white)
    return read * z + shot**2 * z.square() / 4


def ways(raw: Tensor, light: Tensor) -> dict[str, Tensor]:
    """The picture denoised by FFDNet, which knows more and more."""
    blurred = F.avg_pool2d(F.pad(raw, (2, 2, 2, 2), mode="reflect"), 5, 1)
    told = {"white σ found": float(estimate_sigma(raw)[0]),
            "true rms": float((raw - light).square().mean().sqrt()),
            "map of σ": variance(blurred).sqrt(), "true map": variance(light).sqrt()}
    found, back = {way: restore(ffdnet, raw, told[way]) for way in told}, restore_stabilised(raw)
    return found | {"stabilised": back, "… and σ_s²/4 more": back + shot**2 / 4}


# %% tags=["nbsphinx-thumbnail"]
found = ways(raw, light)
print(f"true rms {255 * (raw - light).square().mean().sqrt():.1f} grey levels, "
      f"found {255 * float(estimate_sigma(raw)[0]):.1f}")
print("                dB in linear light   dB after the curve   mean error where L < 0.02")
for name, estimate in {"noisy": raw, **found}.items():
    print(f"{name:18s}{decibels(estimate, light):12.2f}"
          f"{decibels(from_light(estimate.clamp(0, 1)), photo):21.2f}"
          f"{255 * (estimate - light)[light < 0.02].mean():21.1f}")
chosen = {"clean": photo} | {name: from_light(estimate.clamp(0, 1)) for name, estimate in
          {"noisy": raw, "true rms": found["true rms"], "stabilised": found["stabilised"]}.items()}
figures.show_images(chosen, clean=photo, crop=(20, 40, 130, 130), residual=True, width=11)

# %% [markdown]
# **What to notice.** One σ for all, even the true one, is too much for the dark hair, which is
# smeared, and too little for the face. Who knows the noise, by a map or by the curve, gains more
# than 2 dB in linear light. The blurred picture makes nearly as good a map as the truth. After the
# curve, which magnifies what goes wrong in the dark, stabilising is far ahead of the map: told of
# little noise in the hair, FFDNet still makes it too bright, as the last column says, and a picture
# in linear light has few grey levels there.
#
# The correction of the bias does what it should in linear light. After the curve it does harm. The
# last column says why: in the dark the stabilised estimate is *not* too dark, for a denoiser draws
# the darkest places towards their neighbours. What was derived for the mean of
# $f(y)$ holds for a denoiser where it returns this mean.
#
# ## 3. What does the rest of the camera do?
#
# Behind the sensor stand three more stages, here those of `CameraNoise`: each pixel has seen one
# colour only, so two thirds of the numbers are filled in from neighbours (*demosaicking*); a curve
# turns light into the numbers of a file; the file is compressed.
#
# **Predict.** The sensor's noise is strongest in white. Where is it strongest after the curve of
# sRGB, before any colours are filled in?


# %%
def strongest(steps=steps, samples=samples) -> tuple[str, figures.Figure]:
    figure, spread = figures.new_figure(6, 2.8), from_light(samples.clamp(0, 1)).std(dim=1)
    figure.axes[0].plot(steps, 255 * samples.std(dim=1), label="of y")
    figure.axes[0].plot(steps, 255 * spread, "--", label="of sRGB of y")
    figure.axes[0].set(xlabel="light L", ylabel="noise in grey levels", ylim=(0, None))
    figure.axes[0].legend(frameon=False, loc="lower right")
    place = float(steps[spread.argmax(), 0])
    return "a" if place > 0.5 else "b" if place > 0.2 else "c", figure


widgets.predict({"a": "in the bright parts", "b": "in the middle", "c": "in the dark parts"},
                strongest)

# %%
strongest()[1]

# %% [markdown]
# **What to notice.** In the dark: 32 grey levels at $L = 0.05$, and 12 in white. The curve turns
# noise that grew from 8 to 42 grey levels into noise of about 20 in all of the middle, for it has
# nearly the shape of $f$. But it is steeper than $f$ in the dark, and in white a file has no room
# for the half of the noise that is above white.
#
# Now a photograph in colour goes through all stages, with noise and without: what differs is the
# noise as it is by then.

# %%
colour = data.sample("chelsea", gray=False, size=256)
camera = CameraNoise(0.07, 0.02, quality=90)
drawn = random_state(0, "chelsea").standard_normal(tuple(colour.shape))
clean_light, mosaic = to_light(colour), BayerMosaic("RGGB")
noisy_light = clean_light + camera.spread(colour) * torch.from_numpy(drawn).to(colour)
stages = {"sensor": (noisy_light, clean_light)}
after = {"demosaicked": lambda image: bilinear(mosaic(image), mosaic),
         "curve": lambda image: from_light(image.clamp(0, 1)), "JPEG": JPEG(90)}
for (name, stage), last in zip(after.items(), ("sensor", "demosaicked", "curve"), strict=True):
    stages[name] = tuple(stage(image) for image in stages[last])
assert torch.equal(stages["JPEG"][0], camera(colour, "chelsea"))
print("grey levels     rms   found   all waves")
for name, (noisy, clean) in stages.items():
    strength, level = (noisy - clean).square().mean().sqrt(), estimate_noise(noisy)
    print(f"{name:12s}{255 * strength:7.1f}{255 * level.finest:8.1f}{255 * level.sigma:12.1f}")

# %%
figure = figures.new_figure(9, 3, columns=2)
left, right = figure.axes
for (name, (noisy, clean)), style in zip(stages.items(), figures.LINE_STYLES, strict=True):
    n = (noisy - clean)[0, 1] - (noisy - clean)[0, 1].mean()  # the green of it
    apart = [float((n * n.roll(d, -1)).mean() / n.square().mean()) for d in range(7)]
    left.plot(range(7), apart, "o" + style, markersize=4, label=name)
    waves = torch.fft.fft2(n).abs().square() / n.numel()
    frequency = torch.fft.fftfreq(len(n))
    ring = (32 * (frequency[:, None].square() + frequency.square()).sqrt()).round().long().flatten()
    energy = torch.bincount(ring, waves.flatten()) / torch.bincount(ring)
    right.plot(torch.arange(17) / 32, 255 * energy[:17].sqrt(), style, label=name)
left.set(xlabel="pixels apart", ylabel="correlation of the noise", xticks=range(7))
right.set(xlabel="waves per pixel", ylabel="noise in grey levels", ylim=(0, None))
left.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** The sensor's noise is white: no correlation, a flat spectrum, and
# `estimate_sigma` finds nearly all of it. Filling in colours is an average over neighbours: the
# finest waves are halved, and what is found falls from 8.8 to 0.8. Why so low? It is the smallest
# eigenvalue of the covariance of patches, the variance of that pattern which has least of it. A
# pixel that was filled in is the mean of its neighbours, noise and all, so there are patterns that
# hold no noise; which they are differs with the place of a patch in the mosaic, and only because of
# that a little is left. The curve magnifies what is dark, and the file rounds: 2.2 and 2.5 are
# found, of 11.1 and 9.5. (JPEG removes noise, too: fine waves, and those of colours, which it keeps
# at half the resolution.)
#
# The column *all waves* is `estimate_noise`, which measures each frequency by itself in the
# smoothest patches, and believes in coarse noise if that is about as strong everywhere
# ([docs/noise_level.md](../docs/noise_level.md)). It is right about the file to a sixth. In linear
# light, where noise is much stronger in some places than in others, it takes coarse noise for
# texture and is deceived, too.
#
# ## 4. What if a network has to find the noise?
#
# CBDNet is two networks: five convolutions that look at the noisy picture and say σ at each pixel,
# and a U-Net that is given the picture and this map. (A U-Net makes its features smaller step by
# step, then larger again, and adds at each size those of the way down.) The map is trained with a
# loss of its own. Why not with the squared error? Lesson 14 has found that a σ which is too low
# costs more than one that is too high. Now the smooth wall stands beside the man with the camera.
#
# **Predict.** The noise has σ = 25. On the wall, what does it cost if FFDNet is told 35?

# %%
wall, still = (data.sample(name, size=160) for name in ("brick", "camera"))
told = [5, 10, 15, 20, 25, 30, 35, 45, 60]
seen = {name: (GaussianNoise(25 / 255)(clean, name), clean)
        for name, clean in (("brick", wall), ("camera", still))}
curves = {name: [decibels(restore(ffdnet, noisy, level / 255), clean) for level in told]
          for name, (noisy, clean) in seen.items()}


def cost(curves=curves, told=told) -> tuple[str, figures.Figure]:
    figure, labels = figures.new_figure(6, 2.8), (("brick", "o-"), ("camera", "s--"))
    for values, (name, style) in zip(curves.values(), labels, strict=True):
        figure.axes[0].plot(told, values, style, markersize=4, label=name)
    figure.axes[0].set(xlabel="σ told, × 255", ylabel="dB", title="true σ: 25")
    figure.axes[0].legend(frameon=False)
    true, high = (curves["brick"][told.index(level)] for level in (25, 35))
    return "a" if high < true - 0.5 else "b" if high < true else "c", figure


widgets.predict({"a": "more than 0.5 dB", "b": "up to 0.5 dB", "c": "nothing: it gains"}, cost)

# %%
cost()[1]

# %% [markdown]
# **What to notice.** On the wall it even gains, by 0.2 dB, and on the photograph it loses one. Told
# 15, 10 too little, FFDNet loses almost 5 dB on the photograph and 10 on the wall. Noise that is
# not removed stays as it was; what is removed too much is the faintest texture, of which the wall
# has hardly any. So if one must be wrong, then rather on the side of too much.
#
# Move the slider and look: what is left, and what is lost?


# %%
def tell(sigma: int, noisy=seen["camera"][0], clean=still) -> figures.Figure:
    estimate = restore(ffdnet, noisy, sigma / 255)
    return figures.show_images({"clean": clean, f"told {sigma}": estimate}, clean=clean, width=7)


widgets.explore(tell, sigma=[15, 5, 10, 20, 25, 30, 35, 45, 60])

# %% [markdown]
# So CBDNet's loss (eq. 4) punishes the two errors differently. With $\mathbb 1$ being 1 where its
# condition holds and else 0, and α = 0.3,
#
# $$ \mathcal L_{\text{asymm}} = \sum_i \bigl| \alpha - \mathbb 1(\hat\sigma_i - \sigma_i < 0)
#    \bigr| \, (\hat\sigma_i - \sigma_i)^2 . $$
#
# The whole is $\mathcal L_{\text{rec}} + 0.5\, \mathcal L_{\text{asymm}} + 0.05\, \mathcal
# L_{\text{TV}}$: the squared error of the picture, and the total variation of the map, which says
# that noise changes slowly from pixel to pixel. *Toy example.* Off by 0.1, too low: 0.007. Too
# high: 0.003.
#
# ### Exercise 3: the asymmetric loss
#
# Write it, as a sum over pixels and a mean over the members of a batch.
#
# *Expect* 0.007 and 0.003.
#
# <details><summary>Hint</summary>
#
# `(found < noise).float()` is the indicator. Say aloud which of the two errors has the larger
# weight, and look at the toy.
# </details>


# %% tags=["nbval-check-output"]
def asymmetric(found: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """σ̂ and σ, (B, C, H, W) -> a number: the sum over pixels, the mean over the batch."""
    ### BEGIN SOLUTION
    weight = (alpha - (found < noise).float()).abs()
    return (weight * (found - noise).square()).sum() / len(found)
    ### END SOLUTION


asymmetric = check("cbdnet.asymmetric", asymmetric)
for value in (0.1, 0.3):
    found_there = torch.full((1, 1, 1, 1), value)
    print(round(float(asymmetric(found_there, torch.full((1, 1, 1, 1), 0.2), 0.3)), 4))

# %% [markdown]
# A version of CBDNet in PyTorch, by others than its authors, computes the following. It runs, it
# trains, and no error message tells. A property does:


# %% tags=["nbval-check-output"]
def port(found: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """The loss of the port, less its constant factors."""
    weight = (alpha - (noise < found).float()).abs()
    return (weight * (found - noise).square()).sum() / len(found)


print(core.exercises()["cbdnet.asymmetric"].examine(port).message)

# %% [markdown]
# The indicator is 1 where it should be 0. So the port punishes what the paper wants, and trains an
# estimator that finds too little noise.
#
# **Does the loss do what it is for?** Below, a small estimator of five convolutions is trained on
# crops of five photographs with sensor's noise of random strength. It gives two maps: one trained
# with α = 0.5, which is half the squared error, and one with α = 0.3. All that differs is α.


# %%
def cut(pictures: list[Tensor], count: int, side: int, generator: torch.Generator) -> Tensor:
    """Random squares (count, 1, side, side)."""
    views = [picture.unfold(2, side, 1).unfold(3, side, 1) for picture in pictures]
    drawn = torch.rand(count, 3, generator=generator).tolist()
    places = [(views[int(which * len(views))], down, across) for which, down, across in drawn]
    return torch.cat([v[:, :, int(d * v.shape[2]), int(a * v.shape[3])] for v, d, a in places])


def train(network: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            schedule.step()


# %%
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
names = ("chelsea", "coffee", "rocket", "camera", "coins")
scenes = [to_light(data.sample(name)) for name in names]
between = [layer for _ in range(3) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
estimator = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), *between,
                          nn.Conv2d(16, 2, 3, padding=1))


def estimator_loss() -> Tensor:
    crops = cut(scenes, 16, 32, generator)
    strong, weak = (top * torch.rand(16, 1, 1, 1, generator=generator) for top in (0.16, 0.06))
    sigma = (strong**2 * crops + weak**2).sqrt()
    maps = estimator(10 * (crops + sigma * torch.randn(crops.shape, generator=generator))) / 10
    return sum(asymmetric(maps[:, i : i + 1], sigma, alpha) for i, alpha in enumerate((0.5, 0.3)))


train(estimator, estimator_loss, steps=280, rate=0.005)

# %%
figure = figures.new_figure(8, 2.8, columns=2)
print("map of σ                mean error   too low   dB of FFDNet (true map, true rms)")
for axes, (s, c) in zip(figure.axes, ((0.12, 0.03), (0.05, 0.01)), strict=True):
    truth = (s**2 * light + c**2).sqrt()
    given, rms = VaryingNoise(truth)(light, "astronaut"), float(truth.square().mean().sqrt())
    halves = (estimator(10 * given) / 10).split(1, dim=1)  # two maps
    others = [decibels(restore(ffdnet, given, known), light) for known in (truth, rms)]
    for name, found, style in zip(("symmetric", "asymmetric"), halves, ("-", "--"), strict=True):
        error, score = 255 * (found - truth), restore(ffdnet, given, found.clamp_min(0.002))
        print(f"{name:11s}σ_s = {s:.2f}{error.mean():14.1f}{(error < 0).float().mean():10.0%}"
              f"{decibels(score, light):9.2f} ({others[0]:.2f}, {others[1]:.2f})")
        axes.hist(error.flatten(), bins=range(-12, 13), histtype="step", ls=style, label=name)
    axes.set(title=f"σ_s = {s:.2f}, σ_c = {c:.2f}", xlabel="error of σ, grey levels", yticks=[])
    axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** The asymmetric loss does what it says: it moves all errors to the right, by a
# grey level or more, and fewer are too low. Whether that helps depends on where they were. With
# strong noise, both maps are too low, and the asymmetric one is the better by a decibel. With
# weak noise, where hardly any error is too low, it only adds to what was too much, and loses half a
# decibel. The loss insures against the worse mistake, and the insurance has a price.
#
# The estimator is small, saw 280 batches, and pulls to the middle of what it was trained for: what
# it cannot tell, it takes for medium. At the strong noise both maps beat the true rms, of which
# nobody would know; at the weak one, with 0 % too low, one is hardly better and the other worse.
# To look at 11 × 11
# pixels and tell fine texture from noise is hard.
#
# ## 5. What if one knows something about the picture?
#
# **Gradually.** In the denoiser of Remez and others each layer says in one of its channels what it
# takes for noise, and passes the others on. What is added to the picture is a tenth of the sum:
#
# $$ \hat{\mathbf x} = \mathbf y + \tfrac1{10} (\mathbf n_1 + \mathbf n_2 + \dots +
#    \mathbf n_K) . $$
#
# *Toy example.* A pixel of 0.6 should be 0.5. Three layers say −0.6, −0.5 and 0.1, and on its way
# the pixel is 0.54, 0.49 and 0.50. So one can look at the picture after each layer. The authors
# train one such network for each *class* of pictures, faces or streets, and find the class by a
# classifier. Here are two classes: one wall, its left half for training and a part of its right
# half for testing; and photographs. The networks have 8 layers of 16 channels, against 20 of 64.

# %%
kinds = {"wall": [data.sample("brick")[..., :256]],
         "photographs": [data.sample(name) for name in names[:4]]}
tests = {"wall": data.sample("brick")[..., 300:428, 300:428],
         "photographs": data.sample("astronaut")[..., 20:148, 160:288]}
specialists = {}
for kind, pictures in kinds.items():
    network = build("class-aware", {"layers": 8, "width": 16})

    def class_loss(network=network, pictures=pictures, noise=25 / 255) -> Tensor:
        crops = cut(pictures, 8, 32, generator)
        noisy = crops + noise * torch.randn(crops.shape, generator=generator)
        return (network(noisy) - crops).square().mean()

    train(network, class_loss, steps=140, rate=0.01)
    specialists[kind] = network

# %%
target, sighted = tests["photographs"], specialists["photographs"]
noisy = GaussianNoise(25 / 255)(target, "astronaut")
parts, shares = sighted.gradual(noisy), [said / 10 for said in sighted.noise_estimates(noisy)]
detail = target - F.avg_pool2d(F.pad(target, (2, 2, 2, 2), mode="reflect"), 5, 1)
print("layer   dB after it   rms of its share   like the noise   like details")
for k, (part, share) in enumerate(zip(parts, shares, strict=True), start=1):
    alike = [torch.corrcoef(torch.stack([share, other]).flatten(1))[0, 1]
             for other in (target - noisy, detail)]
    print(f"{k:5d}{decibels(part, target):14.2f}{255 * share.square().mean().sqrt():19.1f}"
          f"{alike[0]:17.2f}{alike[1]:15.2f}")
shown = {"noisy": noisy} | {f"after layer {k}": parts[k - 1] for k in (2, 4, 6, 8)}
shown |= {"clean": target}
shown |= {f"share of layer {k}, × 8": 0.5 + 8 * shares[k - 1] for k in (2, 4, 6, 8)}
figures.show_images(shown, columns=5, width=11)

# %% [markdown]
# **What to notice.** The first layer hardly says anything: it has only begun to look. Layers 2 to 6
# take away most of the noise, each a part of it, and what they say is very much like the noise: the
# correlation is around 0.8. The lecture describes a network of 20 layers, in which the first ones
# handle noise and fine details and the deeper ones give back edges and texture. Do these eight do
# that? The last column would be positive where a layer adds details of the picture. It is negative
# in all layers but the first: details are taken away together with noise, by all of them, and the
# last two, whose shares resemble the noise less than those of layers 2 to 6, gain nothing. The
# picture after layer 6 is as good as the result. In 20 layers of 64 channels, trained for half an
# hour, the shares of layers 2 to 8 are like the noise, and the twelve layers after them, whose
# shares hardly are, bring 0.84 dB more (docs/classes.md).
#
# **A class.** Now each network on both kinds of pictures, beside FFDNet, which has 485,316
# parameters and has seen hundreds of photographs.

# %%
print("trained on \\ tested on   wall   photographs")
versions = specialists | {"FFDNet": lambda noisy: restore(ffdnet, noisy, 25 / 255)}
table = {}
for kind, network in versions.items():
    table[kind] = [decibels(network(GaussianNoise(25 / 255)(clean, name)), clean)
                   for name, clean in tests.items()]
    print(f"{kind:22s}{table[kind][0]:7.2f}{table[kind][1]:12.2f}")
assert table["wall"][0] > table["photographs"][0]
assert table["photographs"][1] > table["wall"][1]

# %% [markdown]
# **What to notice.** Each network is better on its own class by a wide margin: to know that it will
# be a wall is worth 2.2 dB on the wall, and costs 4 dB on a face. The wall is an extreme class, of
# a single member. Neither comes near FFDNet, which has 36 times as many parameters, and was not
# trained in seconds. For the classes of Remez and others the lecture shows an example in which a
# class is worth 0.38 dB (30.88 against 30.50). Of the photographs of BSDS, sorted by what they
# show, buildings are worth 0.05 dB, animals and people 0.01
# ([docs/classes.md](../docs/classes.md)).
#
# **Repetition.** A convolutional network looks at its receptive field (lesson 13) and no further. A
# wall goes on beyond it. NN3D takes *any* denoiser and puts a filter of similar patches behind it:
# denoise, find for each patch those that look like it, pull the group together, add some of the
# noisy picture again, denoise with a smaller σ, filter:
#
# $$ \mathbf z_k = \lambda_k \mathbf y + (1 - \lambda_k) \hat{\mathbf x}_{k-1}, \qquad
#    \hat{\mathbf x}_k = \operatorname{filter}\bigl( \operatorname{denoise}(\mathbf z_k, \lambda_k
#    \sigma), \tau_k \bigr), \qquad k = 1, 2 . $$
#
# The filter takes one pixel of all patches of a group, $n$ numbers, through a Haar transform
# $\mathbf q = \mathbf H \mathbf v$, whose first coefficient is their sum over $\sqrt n$ and whose
# others are differences of neighbouring halves. It shrinks all but the first, and goes back:
#
# $$ q \leftarrow \frac{q^3}{q^2 + \tau^2} = q\, \frac{q^2}{q^2 + \tau^2} . $$
#
# *Toy example.* Two patches of one pixel, 5 and 1. $\mathbf q = (6, 4)/\sqrt2$. With τ² = 8 the
# difference $q_2 = \sqrt8$ is halved, and the patches become 4 and 2. (Library and lesson follow a
# public reimplementation where the paper leaves these choices open: $\lambda_k = 1/k$, $\tau_k =
# \lambda_k \sigma/4$.)
#
# ### Exercise 4: shrinkage in a group
#
# Write the filter for all groups and pixels at once.
#
# *Expect* 4 and 2 for the toy.
#
# <details><summary>Hint</summary>
#
# `haar_matrix(n)` is H, orthonormal, in float64; `torch.einsum("ij,mjr->mir", H, stacked)`
# transforms. The way back is the transpose. Do not shrink the first coefficient, and mind 0/0.
# </details>


# %% tags=["nbval-check-output"]
def shrink_groups(stacked: Tensor, tau: float) -> Tensor:
    """R groups of n patches of m pixels, (m, n, R) -> the same, each group pulled together."""
    ### BEGIN SOLUTION
    haar = haar_matrix(stacked.shape[1]).to(stacked)
    q = torch.einsum("ij,mjr->mir", haar, stacked)
    factor = q.square() / (q.square() + tau**2).clamp_min(1e-30)
    factor[:, 0] = 1
    return torch.einsum("ij,mir->mjr", haar, factor * q)
    ### END SOLUTION


shrink_groups = check("nn3d.shrink", shrink_groups)
pulled = shrink_groups(torch.tensor([[[5.0], [1.0]]]), 8**0.5)
print([round(value, 3) for value in pulled.flatten().tolist()])

# %% [markdown]
# Your function is the heart of the library's filter. Three denoisers get it: FFDNet, which can be
# told any σ; SC, where the trained network nearest to σ is taken; and the DCT of lesson 01, which
# knows nothing. The middle column, *twice*, is a control: the same two rounds without the filter.

# %%
whole = NonLocalFilter()
groups = whole.groups(wall)
mine = shrink_groups(extract_patches(wall, 10)[0][:, groups[0]], 0.1)
assert torch.allclose(group_average(mine[None], groups, (160, 160), 10), whole(wall, groups, 0.1),
                      atol=1e-5), "your function is the filter"
at_levels = {level: checkpoints.load_model(f"sc-gray-{level}") for level in (15, 25)}
denoisers = {"FFDNet": lambda image, sigma: restore(ffdnet, image, sigma),
             "SC": lambda image, sigma: restore(at_levels[15 if 255 * sigma < 20 else 25],
                                                image, sigma),
             "DCT": classical.dct}

# %%
none, sigma = NonLocalFilter(count=1), 25 / 255  # a group of one has nothing to shrink
print("dB, σ = 25/255        alone   twice    NN3D    gain")
for name in ("brick", "camera", "grass"):
    clean = data.sample(name, size=112)
    noisy = GaussianNoise(sigma)(clean, name)
    for title, denoise in denoisers.items():
        alone = denoise(noisy, sigma)

        def again(image: Tensor, level: float, alone=alone, denoise=denoise) -> Tensor:
            return alone if level == sigma else denoise(image, level)  # the first round is known

        scores = [decibels(image, clean) for image in (
            alone, nn3d(noisy, sigma, again, nonlocal_filter=none), nn3d(noisy, sigma, again))]
        print(f"{name:9s}{title:9s}{scores[0]:9.2f}{scores[1]:8.2f}{scores[2]:8.2f}"
              f"{scores[2] - scores[0]:+8.2f}")

# %% [markdown]
# **What to notice.** On the wall, all three gain; most of all the DCT, which sees 8 × 8 pixels and
# no look-alikes. The control is needed: for the DCT half of the gain comes from denoising twice,
# and for FFDNet denoising twice does harm, which the filter has to make up for. On the photograph
# SC and DCT gain 0.3 dB or more, FFDNet loses a little. On grass, where each blade is different,
# the filter does next to nothing for SC and FFDNet, and for the DCT it is a loss against *twice*.
# In print the picture is the same: NN3D gives FFDNet 0.06 dB on Set12 at σ = 50, 0.21 on Urban100,
# which is full of windows, and −0.01 on BSD68 (the paper's Table I).
#
# ## Results: who knows the noise wins
#
# The baseline is FFDNet with one σ, the *true* root mean square of the noise, which nobody would
# know. Against it: a map, made of a blurred picture and the sensor's two numbers, which exercise 1
# has found to a few per cent; and the curve of exercise 2. *White σ found* is what lesson 10's
# estimate for white noise finds. (Decibels in linear light.)

# %%
columns = ("white σ found", "true rms", "map of σ", "true map", "stabilised")
print(f"{'':11}{'noisy':>7}" + "".join(f"{name:>15}" for name in columns))
for name in ("astronaut", "camera", "coffee"):
    clean = to_light(data.sample(name, size=192))
    noisy = VaryingNoise(variance(clean).sqrt())(clean, name)
    scores = {way: decibels(image, clean) for way, image in ways(noisy, clean).items()}
    print(f"{name:11}{decibels(noisy, clean):7.2f}"
          + "".join(f"{scores[way]:15.2f}" for way in columns))
    assert min(scores["map of σ"], scores["stabilised"]) > scores["true rms"] + 0.3

# %% [markdown]
# **What to notice.** Knowing how noise follows the light is worth 2 to 5 dB more than the true rms,
# and 5 to 8 dB more than the σ found. The map is ahead of the curve by half a decibel at most, but
# the curve needs nothing but a denoiser for one σ. And the true map is no better than the blurred
# one: two numbers that are measured once, for one camera, do all there is to be done.
#
# ## What breaks
#
# **Noise that is not white.** All that was said in sections 1 and 2 holds for the sensor. Here is
# the file that section 3 made, in gray, and beside it white noise with the same root mean square.

# %%
finished, truth = (image[:, 1:2] for image in stages["JPEG"])  # the green
rms = float((finished - truth).square().mean().sqrt())
level = float(estimate_sigma(finished)[0])
white = GaussianNoise(rms)(truth, "chelsea")
for name, image in (("camera's file", finished), ("white noise", white)):
    scores = [decibels(restore(ffdnet, image, s), truth) for s in (level, rms, 2 * rms)]
    print(f"{name:14s} noisy {decibels(image, truth):.2f} dB; told {255 * level:.1f}, "
          f"{255 * rms:.1f}, {2 * 255 * rms:.1f}: " + ", ".join(f"{s:.2f}" for s in scores))

# %% [markdown]
# **What to notice.** FFDNet gains more than 6 dB on white noise of this strength, and not half as
# much on the file, whatever it is told: coarse waves look like a picture to a network that has seen
# white noise only. Whoever believes `estimate_sigma` loses another part of it. CBDNet's answer is
# to make noise as in section 3, and to train with it. A CBDNet half as wide as the paper's comes
# with the library. It has never seen this cat, and nobody tells it anything about the camera;
# FFDNet, the one for colours, is told what `estimate_noise` finds in all waves.

# %%
file = stages["JPEG"][0]
strength = estimate_noise(file).sigma
estimates = {"the file": file,
             "FFDNet": restore(checkpoints.load_model("ffdnet-color"), file, strength),
             "CBDNet": restore(checkpoints.load_model("cbdnet-camera"), file)}
figures.show_images(estimates, clean=colour, crop=(60, 90, 110, 110))

# %% [markdown]
# **What to notice.** FFDNet gains 1.9 dB and leaves coloured blotches: they are coarse, and to it a
# part of the picture. CBDNet gains 2.8: no blotch is left, and of the fur not the finest hairs.
# (The truth here is the photograph before the camera: without any noise mosaic and JPEG would leave
# 32.7 dB.) How much that is worth on other photographs and in other light is in
# [docs/results.md](../docs/results.md).
#
# **An estimator out of its range**, **a network out of its class**, **a filter without
# repetition:** sections 4 and 5 have measured them: at weak noise the asymmetric map is worse
# than one number, the wall's network loses 4 dB on a face, and on grass
# NN3D gives FFDNet and SC nothing.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("15")

# %% [markdown]
# ## Problems
#
# **1. The price of the way back.** Let $z$ be the mean of $f(y)$. Show that the algebraic inverse
# of $z$ is too dark by about $\sigma_s^2/4$, whatever the light, and check it. Where does it fail?
#
# <details><summary>Solution</summary>
#
# To second order $f(y) \approx f(L) + f'(L)\, n + \frac12 f''(L)\, n^2$, so that the mean of $f(y)$
# is $f(L) + \frac12 f''(L)\, \sigma^2(L)$. From $f' = 1/\sigma$ and $\sigma^2 = \sigma_s^2 L +
# \sigma_c^2$ follows $f'' = -\sigma'/\sigma^2 = -\sigma_s^2 / (2\sigma^3)$. The mean is off by
# $-\sigma_s^2 / (4\sigma)$; the inverse has the slope $1/f' = \sigma$, and makes $-\sigma_s^2/4$ of
# it.
#
# ```python
# levels = torch.tensor([0.0, 0.02, 0.1, 0.3, 0.8])
# drawn = torch.randn(400_000, 5, generator=generator)
# z = stabilise(levels + variance(levels).sqrt() * drawn, shot, read).mean(dim=0)
# error = (read * z + shot**2 * z.square() / 4 - levels) / (shot**2 / 4)
# print([round(value, 2) for value in error.tolist()])
# assert (error[3:] + 1).abs().max() < 0.15
# ```
#
# It is right in the light. Between 0.02 and 0.3 the mean is off by up to three tenths more:
# the noise is as wide as $f$ is bent there, and a second order is not enough.
#
# </details>
#
# **2. What the asymmetric loss asks for.** All that an estimator can see says that σ is 10 or 30,
# each as likely. Which $\hat\sigma$ makes the expected loss smallest, for α = 0.3, for 0.5, and for
# the port?
#
# <details><summary>Solution</summary>
#
# Between 10 and 30 the loss is $\alpha (\hat\sigma - 10)^2 + (1 - \alpha)(30 - \hat\sigma)^2$, half
# of it. Its derivative is 0 at $\hat\sigma = 10\alpha + 30(1 - \alpha)$: 24 with α = 0.3, the mean
# 20 with 0.5, and 16 in the port, which has α and 1 − α exchanged. Such values are called
# *expectiles*.
#
# ```python
# guesses = torch.linspace(10, 30, 201)
# likely = torch.tensor([10.0, 30.0]).view(1, 1, 1, 2)
# for loss, alpha in ((asymmetric, 0.3), (asymmetric, 0.5), (port, 0.3)):
#     costs = torch.stack([loss(guess.expand(1, 1, 1, 2), likely, alpha) for guess in guesses])
#     print(loss.__name__, alpha, round(float(guesses[costs.argmin()]), 1))
# ```
#
# </details>
#
# ## Further reading
#
# - A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, *Practical Poissonian-Gaussian noise modeling
#   and fitting for single-image raw-data*, 2008: exercise 1 from one photograph, done with care.
# - M. Mäkitalo, A. Foi, *Optimal inversion of the generalized Anscombe transformation for
#   Poisson-Gaussian noise*, 2013: problem 1, done exactly.
# - X. Liu, M. Tanaka, M. Okutomi, *Single-image noise level estimation for blind denoising*, 2013:
#   the estimate that section 3 deceives.
#
# **Next:** so far every picture had as many pixels as its estimate.
# [16 · Super-resolution](16_super_resolution.ipynb) asks for more of them.
