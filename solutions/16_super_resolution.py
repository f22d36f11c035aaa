# %% [markdown]
# # 16 · Super-resolution: more pixels than were measured
#
# A photograph of 128 × 128 pixels is to have 256 × 256. Three of four numbers are missing, and in
# lesson 10 a mosaic lacked two of three. But no number of the small photograph is a pixel of the
# large one: each is an average, and whoever enlarges has to know of what. That is one half of this
# lesson. The other is where in a network the new pixels are made, and what it costs.
#
# **You will be able to**
#
# - make a photograph smaller as published tables do, and say what another kernel does to a score;
# - score an enlargement, and name the decibels that each convention moves;
# - make any estimate consistent with the small photograph, and say why that cannot do harm;
# - shuffle channels into pixels, and count what it saves;
# - say what a network learns of the kernel that it was trained on, and how it fails with another.
#
# **Before you start**
#
# - **Time:** 75 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 10 (other inverse problems), 12 (NSR) and 13 (DnCNN).
# - **Source:** NSR: Fan, Yu, Mei, Zhang, Fu, Liu, Huang, *Neural sparse representation for image
#   restoration*, 2020, §4, Tables 1 to 4; NLRN: Liu, Wen, Fan, Loy, Huang, *Non-local recurrent
#   network for image restoration*, 2018, §5 and Table 6; Keys, *Cubic convolution interpolation for
#   digital image processing*, 1981; Irani, Peleg, *Improving resolution by image registration*,
#   1991.

# %%
# %matplotlib inline
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lessons_lib import checkpoints, data, metrics
from lessons_lib.degradations import JPEG, BicubicDown, GaussianNoise
from lessons_lib.evaluation.paper import rows
from lessons_lib.evaluation.scores import stored
from lessons_lib.exercises import check
from lessons_lib.models import build, restore

# %%
from lessons_lib.models.macs import macs_per_pixel
from lessons_lib.models.receptive_field import receptive_field
from lessons_lib.ops.colour import rgb_to_luma
from lessons_lib.ops.resize import cubic, imresize, resize_matrix
from lessons_lib.viz import figures, widgets

torch.set_grad_enabled(False)  # nothing is trained here
side, halve = 128, BicubicDown(2)
model = checkpoints.load_model("nsr-sr-2")
places = {"astronaut": (20, 180), "chelsea": (60, 150), "coffee": (90, 220)}
colours = {name: data.sample(name, gray=False)[..., top : top + side, left : left + side]
           for name, (top, left) in places.items()}
photos = {name: (255 * rgb_to_luma(rgb)).round() / 255 for name, rgb in colours.items()}
for name, top, left in (("camera", 60, 180), ("brick", 150, 150), ("coins", 60, 60)):
    photos[name] = data.sample(name)[..., top : top + side, left : left + side]

# %% [markdown]
# ## 1. How does a photograph become smaller?
#
# Each pixel of the small row is a weighted sum of pixels of the large row, and columns come after
# rows. The weights are values of a *kernel*, here of Keys' cubic with $a = -\frac12$:
#
# $$ k(t) = \begin{cases} \frac32 |t|^3 - \frac52 |t|^2 + 1 & |t| \le 1 \\
#    -\frac12 |t|^3 + \frac52 |t|^2 - 4 |t| + 2 & 1 < |t| \le 2 \\ 0 & \text{otherwise} \end{cases}
#    \qquad w_{ij} \propto k\bigl( (c_i - j) \min(s, 1) \bigr) , \quad \sum_j w_{ij} = 1 , $$
#
# where $j$ counts old pixels, $i$ new ones, and $s$ is the new length divided by the old one. Two
# things in it are easily done otherwise:
#
# - **Antialiasing.** For $s < 1$ the factor $s$ stretches the kernel, so that it averages over more
#   pixels. Without it, what is too fine for the new grid is not lost: it comes back as something
#   else.
# - **Phase.** $c_i$ is where the middle of new pixel $i$ lies, counted in old pixels. Both rows
#   show the same piece of the world, from edge to edge.
#
# *Toy example.* Halving, new pixel 0 covers old pixels 0 and 1, so its middle lies halfway between
# them. The distances to the pixels on its right, ½, 3/2, 5/2 and 7/2, become ¼, ¾, 5/4 and 7/4, and
# $k$ is 0.867, 0.227, −0.070 and −0.023. All eight sum to 2, so the weights are half of that.
#
# ### Exercise 1: the weights
#
# Write them for any new pixel and scale. The formula for $c_i$ is for you to find. `cubic` is $k$.
#
# *Expect* `0.434, 0.113, -0.035, -0.012` for the toy, and `-0.023, 0.227, 0.867, -0.07` for a pixel
# of a row that gets twice as long.
#
# <details><summary>Hint</summary>
#
# Pixel 0 reaches from 0 to 1 and has its middle at ½, in either row; and the new row's ½ is at
# $\frac12 / s$ in the old one.
# </details>


# %% tags=["nbval-check-output"]
def bicubic_weights(number: int, pixels: Tensor, scale: float) -> Tensor:
    """Weights (n,) with which old pixels, numbers (n,), make new pixel `number` of a row."""
    ### BEGIN SOLUTION
    centre = (number + 0.5) / scale - 0.5
    weights = cubic((centre - pixels) * min(scale, 1))
    return weights / weights.sum()
    ### END SOLUTION


bicubic_weights = check("sr.weights", bicubic_weights)
row = torch.arange(20.0)
print([round(weight, 3) for weight in bicubic_weights(4, row, 1 / 2)[9:13].tolist()])
print([round(weight, 3) for weight in bicubic_weights(8, row, 2.0)[2:6].tolist()])

# %% [markdown]
# MATLAB's `imresize` does this, and tables of super-resolution rest on it. Here are other ways to
# halve a photograph. A chirp, waves that get finer from the upper left on, shows the difference:
# right of the dashed line and below it they are too fine for the small grid.


# %%
def pillow(image: Tensor) -> Tensor:
    """Pillow's bicubic interpolation, on 8 bits."""
    pixels = Image.fromarray((255 * image[0, 0]).round().byte().numpy())
    small = pixels.resize((pixels.width // 2, pixels.height // 2), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small))[None, None] / 255


def bicubic_at_even(image: Tensor) -> Tensor:
    """MATLAB's kernel about pixels 0, 2, 4, … of the large row, and not halfway between two."""
    kernel = cubic(torch.arange(-3, 4) / 2) / 2
    padded = F.pad(image, (3, 3, 3, 3), mode="replicate")
    return F.conv2d(padded, torch.outer(kernel, kernel)[None, None], stride=2)


# %%
ways = {"MATLAB's bicubic": halve, "Pillow's bicubic": pillow,
        "means of 2 × 2": lambda image: F.avg_pool2d(image, 2),
        "torch's bicubic": lambda image: F.interpolate(image, scale_factor=0.5, mode="bicubic"),
        "bicubic at even pixels": bicubic_at_even,
        "every second pixel": lambda image: image[..., ::2, ::2]}
away = torch.arange(256.0).square()
chirp = 0.5 + 0.4 * torch.cos(torch.pi * (away[:, None] + away) / 512)[None, None]
figure = figures.show_images({name: way(chirp) for name, way in ways.items()}, columns=6, width=13)
for axes in figure.axes:
    axes.plot([0, 64, 64], [64, 64, 0], "--", color=figures.COLOURS[1])
figure

# %% [markdown]
# **What to notice.** MATLAB's kernel leaves even grey beyond the line, all but a trace, and pays
# for it by dimming waves just before. Pillow does the same. Without antialiasing the waves come
# back as rings in the other corners: *aliases*, which nobody has photographed. Every second pixel
# has them as strong as the true waves. The fifth picture looks like the first, and is not: each
# pixel sits half a pixel of the large row too far to the upper left.
#
# ## 2. What is scored?
#
# Only luma, for the eye sees colours less sharply. NLRN enlarges luma, and leaves colours to
# bicubic interpolation (its §5). NSR enlarges all three, and is scored on luma all the same, except
# on DIV2K (its §4). Luma is that of television, with $R$, $G$ and $B$ in $[0, 1]$:
#
# $$ Y = (16 + 65.481\, R + 128.553\, G + 24.966\, B) \,/\, 255 . $$
#
# Estimate and truth are clipped and rounded to 8 bits. A border as wide as the scale does not
# count, since what is beyond it can only be guessed.
#
# *Toy example.* One level off everywhere is $20 \log_{10} 255 = 48.13$ dB. 1.4 levels off is the
# same, once it is rounded.
#
# ### Exercise 2: the score
#
# Write it. Images of one channel are luma already.
#
# *Expect* `48.13` and `48.13`.
#
# <details><summary>Hint</summary>
#
# `rgb_to_luma(image)` makes (B, 1, H, W) of (B, 3, H, W). With a border of 0, `x[..., 0:-0]` is
# empty. `metrics.psnr` returns float64, whatever it is given: `.to(estimate)`.
# </details>


# %% tags=["nbval-check-output"]
def sr_psnr(estimate: Tensor, clean: Tensor, border: int) -> Tensor:
    """Images (B, 3, H, W) or luma (B, 1, H, W) -> dB (B,), same dtype, `border` pixels left out."""
    ### BEGIN SOLUTION
    planes = [rgb_to_luma(one) if one.shape[1] == 3 else one for one in (estimate, clean)]
    height, width = clean.shape[-2:]
    inside = (..., slice(border, height - border), slice(border, width - border))
    found, wanted = ((255 * plane.clamp(0, 1)).round()[inside] for plane in planes)
    return 10 * torch.log10(255**2 / (found - wanted).square().mean(dim=(1, 2, 3)))
    ### END SOLUTION


sr_psnr = check("sr.psnr", sr_psnr)
level = torch.full((1, 1, 9, 9), 100 / 255)
for error in (1, 1.4):
    print(round(float(sr_psnr(level + error / 255, level, 2)), 2))


# %% [markdown]
# One enlargement by bicubic interpolation, scored under each convention:

# %%
def conventions(rgb: Tensor) -> dict[str, Tensor]:
    clean, full = (255 * rgb_to_luma(rgb)).round() / 255, torch.tensor([0.299, 0.587, 0.114])
    estimate, in_file = imresize(halve(clean), 2), (255 * halve(clean)).round() / 255
    colour = (255 * imresize(halve(rgb), 2).clamp(0, 1)).round() / 255
    planes = [torch.einsum("c,bchw->bhw", full, image)[:, None] for image in (colour, rgb)]
    inside = (..., slice(2, -2), slice(2, -2))
    return {"as in tables": sr_psnr(estimate, clean, 2),
            "no border left out": sr_psnr(estimate, clean, 0),
            "border of 8": sr_psnr(estimate, clean, 8),
            "not rounded": metrics.psnr(estimate[inside], clean[inside]),
            "small luma rounded": sr_psnr(imresize(in_file, 2), clean, 2),
            "colours enlarged, their luma": sr_psnr(colour, rgb, 2),
            "the same, luma from 0 to 255": sr_psnr(*planes, 2),
            "red, green and blue": metrics.psnr(colour[inside], rgb[inside])}


# %%
scored = {name: conventions(rgb) for name, rgb in colours.items()}
print("PSNR in dB" + 20 * " " + "".join(f"{name:>11s}" for name in scored) + "   difference")
for way in scored["coffee"]:
    found = [float(table[way]) for table in scored.values()]
    moved = [one - float(table["as in tables"])
             for one, table in zip(found, scored.values(), strict=True)]
    print(f"{way:30s}" + "".join(f"{one:11.2f}" for one in found)
          + "   " + "".join(f"{one:+8.3f}" for one in moved))

# %% [markdown]
# **What to notice.** A border more or less moves a tenth on one photograph and half a decibel on
# another, up or down: it says what is near the border, and nothing of the method. (NSR's program
# leaves out 8 pixels on DIV2K at × 2.) Rounding moves hundredths, and more where a score is high.
# But luma that fills the range from 0 to 255 costs 1.32 dB on every photograph, to a hundredth or
# two: problem 1 says why. And all three colours together cost another 0.03 to 0.5 dB. On Set5,
# at × 2, NLRN prints 0.22 dB more than the best method before it, and NSR's *sparse +* 0.03 dB
# more than the network without groups that it is measured against, EDSR (S).
#
# The kernel is a convention, too.
#
# **Predict.** The small image of the camera man holds every second pixel, and is enlarged by
# bicubic interpolation. How many decibels lower is the score than with MATLAB's small image?


# %%
def second(photo=photos["camera"], ways=ways) -> tuple[str, str]:
    usual, other = (float(sr_psnr(imresize(ways[name](photo), 2), photo, 2))
                    for name in ("MATLAB's bicubic", "every second pixel"))
    lost = usual - other
    right = "a" if lost < 0.5 else "b" if lost < 2 else "c"
    return right, f"{usual:.2f} dB become {other:.2f} dB."


widgets.predict({"a": "less than 0.5", "b": "0.5 to 2", "c": "more than 2"}, second)


# %%
def enlarge_even(small: Tensor) -> Tensor:
    """Bicubic interpolation of an image whose pixels are every second of the large one."""
    count = small.shape[-1]
    weights = cubic(torch.arange(2 * count)[:, None] / 2 - torch.arange(count))
    weights = weights / weights.sum(dim=1, keepdim=True)
    return weights @ small @ weights.T


print(f"{'small image, enlarged':40s}" + "".join(f"{name:>10s}" for name in photos))
for name, way in ways.items():
    enlargers = {"": lambda small: imresize(small, 2)}
    if name in ("bicubic at even pixels", "every second pixel"):
        enlargers |= {", at its place": enlarge_even}
    for suffix, enlarge in enlargers.items():
        scores = [float(sr_psnr(enlarge(way(photo)), photo, 2)) for photo in photos.values()]
        print(f"{name + suffix:40s}" + "".join(f"{score:10.2f}" for score in scores))

# %% [markdown]
# **What to notice.** Read the table from below.
#
# - *Phase.* Half a pixel off costs 1.7 to 5.9 dB. Enlarged at the right place, bicubic at even
#   pixels has what MATLAB's has, or a little more.
# - *Aliases* cost another 0.2 to 0.9 dB: compare the two lines "at its place".
# - *Sharpness.* Torch's bicubic without its `antialias=True` and means of 2 × 2 (which torch's
#   bilinear gives as well) blur less than MATLAB's kernel: the small image is crisper, and bicubic
#   interpolation scores up to 0.7 dB *higher*. Nothing has been enlarged better.
# - *Pillow* gives MATLAB's numbers to 0.03 dB, although it works with 8 bits.
#
# So a score belongs to a kernel. A network that was trained on one meets another in the last
# section.
#
# ## 3. Must the estimate agree with what was measured?
#
# We know $\mathbf y = \mathbf D \mathbf x$, and $\mathbf D$ exactly. So an estimate can be checked
# without the truth: made smaller, it has to be $\mathbf y$. Bicubic interpolation fails.
# *Back-projection* enlarges what is missing, and adds it:
#
# $$ \mathbf x \leftarrow \mathbf x + \mathbf U (\mathbf y - \mathbf D \mathbf x) , $$
#
# where $\mathbf U$ is any way to enlarge, here bicubic interpolation.
#
# *Toy example.* Two pixels of which the mean is known: $\mathbf D = (\frac12, \frac12)$, $y = 0.6$.
# From the estimate $(0.2, 0.6)$ the mean 0.4 is made; 0.2 is missing, and $\mathbf U$ adds it to
# both: $(0.4, 0.8)$.
#
# **Predict.** The small image has noise of σ = 5/255. What do ten steps of back-projection do to
# the camera man?


# %%
def back_project(image: Tensor, small: Tensor, steps: int) -> Tensor:
    """x + U(y − Dx), repeated."""
    for _ in range(steps):
        image = image + imresize(small - imresize(image, 1 / 2), 2)
    return image


def in_noise(photo=photos["camera"]) -> tuple[str, str]:
    small = GaussianNoise(5 / 255)(halve(photo), "camera")
    before, after = (float(sr_psnr(back_project(imresize(small, 2), small, steps), photo, 2))
                     for steps in (0, 10))
    right = "a" if after > before + 0.3 else "c" if after < before - 0.1 else "b"
    return right, f"{before:.2f} dB become {after:.2f} dB."


widgets.predict({"a": "they gain more than 0.3 dB", "b": "they change little",
                 "c": "they lose more than 0.1 dB"}, in_noise)

# %%
photo = photos["camera"]
small, counts = halve(photo), range(16)
inputs = {"exact": small, "8 bits": (255 * small).round() / 255,
          "σ = 2": GaussianNoise(2 / 255)(small), "σ = 5": GaussianNoise(5 / 255)(small)}
left, right = (figure := figures.new_figure(9, 3, columns=2)).axes
for (name, seen), style in zip(inputs.items(), ("-", "--", "-.", ":"), strict=True):
    steps = [back_project(imresize(seen, 2), seen, count) for count in counts]
    missing = [255 * float((seen - halve(image)).abs().max()) for image in steps]
    scores = torch.tensor([float(sr_psnr(image, photo, 2)) for image in steps])
    left.semilogy(counts, missing, style, label=name)
    right.plot(counts, scores - scores[0], style, label=name)
left.set(xlabel="steps", ylabel="largest of |y − Dx|, grey levels")
right.set(xlabel="steps", ylabel="dB gained")
right.legend(frameon=False)
figure

# %%
eigenvalues = torch.linalg.eigvals(resize_matrix(side, 1 / 2) @ resize_matrix(side // 2, 2)).real
slowest = 1 - float(eigenvalues.min()) ** 2  # of D U for rows and for columns, multiplied
print(f"in the long run a step leaves at most {slowest:.2f} of what is missing")

# %% [markdown]
# **What to notice.** On the left, $\mathbf y - \mathbf D \mathbf x$ is multiplied by $\mathbf I -
# \mathbf D \mathbf U$ in each step, whose largest eigenvalue is printed: it falls by a fixed factor
# in the end, whatever $\mathbf y$ is. On the right, the first step brings most of the gain, and
# after five there is no more to be had. Rounding $\mathbf y$ to 8 bits costs nothing that one could
# see. With noise of 2 there is less to gain, and after two steps nothing more; with 5 it costs 0.6
# dB: the estimate agrees with what was measured, noise and all. The finest waves, which $\mathbf D$
# dims, are made strong again, with the noise in them.
#
# ### Exercise 3: at once, and no farther than needed
#
# All images that become $\mathbf y$ form a plane of many dimensions: add to one of them whatever
# $\mathbf D$ does not see, and it still does. Back-projection walks to *some* point of it. Find the
# one that is nearest to the estimate $\mathbf x$, in one step and without $\mathbf U$. The formula
# is not on this page.
#
# $\mathbf D$ works on rows and columns: $\mathbf D \mathbf x$ is `down @ x @ across.T`, with two
# matrices that you are given.
#
# *Expect* `0.4, 0.8` for the toy, and `1.2, 0.4` for two pixels of $(0, 0)$ of which $\frac34$ and
# $\frac14$ must make 1.
#
# <details><summary>Hint</summary>
#
# The shortest way to a plane is at right angles to it, and what is at right angles to all that
# $\mathbf D$ does not see is $\mathbf D^\top$ of something. Of what? `torch.linalg.pinv` may help.
# </details>


# %% tags=["nbval-check-output"]
def nearest_consistent(image: Tensor, small: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Image (B, C, H, W), y (B, C, h, w), matrices (h, H) and (w, W) -> (B, C, H, W)."""
    ### BEGIN SOLUTION
    missing = small - down @ image @ across.T
    return image + torch.linalg.pinv(down) @ missing @ torch.linalg.pinv(across).T
    ### END SOLUTION


nearest_consistent = check("sr.nearest_consistent", nearest_consistent)
one = torch.ones(1, 1)
for pair, mean, weights in (((0.2, 0.6), 0.6, (0.5, 0.5)), ((0.0, 0.0), 1.0, (0.75, 0.25))):
    found = nearest_consistent(torch.tensor([[[pair]]]), mean * one[None, None], one,
                               torch.tensor([weights]))
    print([round(value, 2) for value in found.flatten().tolist()])

# %%
D = resize_matrix(side, 1 / 2).float()
print("PSNR in dB   bicubic   back-projected   nearest   squared distances to the truth")
for name, photo in photos.items():
    small = halve(photo)
    plain = imresize(small, 2)
    near = nearest_consistent(plain, small, D, D)
    scores = [float(sr_psnr(one, photo, 2))
              for one in (plain, back_project(plain, small, 10), near)]
    before, after, way = (float((one - other).square().sum())
                          for one, other in ((plain, photo), (near, photo), (plain, near)))
    print("{:11s}{:9.2f}{:17.2f}{:10.2f}".format(name, *scores)
          + f"   {before:.2f} = {after:.2f} + {way:.2f}")
    assert abs(before - after - way) < 1e-2
    assert scores[2] > scores[0] + 0.3

# %% [markdown]
# **What to notice.** To a hundredth of a decibel, back-projection walks to the same place. But the
# nearest one comes with a guarantee. The way to the plane stands at right angles to it, the truth
# lies in it, so Pythagoras holds, as printed (up to rounding): from *any* estimate, the projection
# is never farther from the truth, and how much squared distance it gains is known without the
# truth. It is a prox (lesson 02), of the penalty that is 0 on the plane and ∞ beside it. With noise
# the truth does not lie in the plane, and nothing is sure.
#
# ## 4. Before the network, or inside?
#
# *Before.* VDSR, DnCNN-3 and NLRN get the small image enlarged by bicubic interpolation, and
# restore it as if it were noisy. One network then serves all scales, and all its layers work on the
# large grid. (VDSR and DnCNN-3 are stacks of 20 convolutions like lesson 13's; DnCNN-3 is one
# network for noise, enlargement and JPEG files.)
#
# *Inside.* EDSR, WDSR and NSR work on the small grid. (EDSR (S) has 16 blocks of two convolutions
# of 64 channels, WDSR wider blocks.) Their last convolution makes $r^2$ channels, and these become
# pixels: channel $ra + b$ is pixel $(a, b)$ of a square of $r \times r$,
#
# $$ x_{c,\; ri + a,\; rj + b} = f_{cr^2 + ra + b,\; i,\; j} . $$
#
# *Toy example.* Four channels of one pixel, 1, 2, 3 and 4, become $\begin{pmatrix} 1 & 2 \\ 3 & 4
# \end{pmatrix}$.
#
# ### Exercise 4: pixel shuffle
#
# Write it with views and permutations of axes.
#
# *Expect* `[[1.0, 2.0], [3.0, 4.0]]`, and below that bicubic interpolation *is* a convolution with
# four kernels of 5 × 5 and a shuffle.
#
# <details><summary>Hint</summary>
#
# `unflatten(1, (-1, scale, scale))` has the axes $(B, c, a, b, i, j)$. In which order do you want
# them, and which pairs become one?
# </details>


# %% tags=["nbval-check-output"]
def shuffle(features: Tensor, scale: int) -> Tensor:
    """Features (B, C · scale², H, W) -> (B, C, scale · H, scale · W)."""
    ### BEGIN SOLUTION
    cells = features.unflatten(1, (-1, scale, scale))
    return cells.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    ### END SOLUTION


shuffle = check("sr.shuffle", shuffle)
print(shuffle(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1), 2)[0, 0].tolist())
small = halve(photos["coins"])
phases = [bicubic_weights(4 + phase, torch.arange(5.0), 2.0) for phase in (0, 1)]
kernels = torch.stack([torch.outer(a, b) for a in phases for b in phases])[:, None]
inner = (..., slice(4, -4), slice(4, -4))
by_shuffle = shuffle(F.conv2d(small, kernels, padding=2), 2)
same = torch.allclose(by_shuffle[inner], imresize(small, 2)[inner], atol=1e-5)
print("bicubic interpolation:", same)

# %% [markdown]
# Why 5 × 5? Each of the four pixels looks at four old rows and four old columns: the left ones at
# columns from two before to one after, the right ones from one before to two after, and likewise up
# and down. Together that is 5 × 5. NSR's *skip*, a convolution of 5 × 5 from the small image
# straight to the shuffle, has just this size. The network is
#
# $$ \hat{\mathbf x} = \operatorname{shuffle}\bigl( \operatorname{skip}(\mathbf y) +
#    \operatorname{tail}(\operatorname{blocks}(\operatorname{head}(\mathbf y))) \bigr) , $$
#
# with blocks of two convolutions and a ReLU between them. WDSR makes them wide inside: `expansion`
# times as many channels before the ReLU as after it. The shipped network has no groups of kernels
# (lesson 12). In the table *wide* is the NSR of the paper's Table 4 that is called *sparse +*: EDSR
# (S) with four kernels in the place of one.

# %%
config = model.config
print(f"shipped: {config.blocks} blocks, {config.width} channels, {config.expansion} times as many "
      f"inside; sees {receptive_field(model)} × {receptive_field(model)} pixels of the small image")
own = {"blocks": config.blocks, "expansion": config.expansion}
wide = {"channels": 3, "width": 64, "expansion": 1, "groups": 4, "cardinality": 16}
print("                     million    MAC for each pixel    for each of the large image")
print("                  parameters     that it works on      × 2       × 3       × 4")
for name, kind, options in (("DnCNN-3, VDSR", "dncnn", {"layers": 20, "batch_norm": False}),
                            ("NLRN", "nlrn", {}), ("shipped", "nsr", own), ("wide", "nsr", wide)):
    inside, size = kind == "nsr", 43 if kind == "nlrn" else 32
    nets = [build(kind, options | ({"scale": r} if inside else {})) for r in (2, 3, 4)]
    macs = [macs_per_pixel(net, size) for net in (nets if inside else 3 * nets[:1])]
    count = sum(parameter.numel() for parameter in nets[0].parameters()) / 1e6
    share = [cost / (r**2 if inside else 1) for r, cost in zip((2, 3, 4), macs, strict=True)]
    print(f"{name:17s}{count:11.2f}{macs[0]:20,.0f}    ", *(f"{one:9,.0f}" for one in share))

# %% [markdown]
# **What to notice.** The shipped network has nearly as many parameters as DnCNN-3, and multiplies a
# quarter as often at × 2, an eighteenth at × 4: its pixels are fewer. NLRN has the fewest
# parameters and uses them twelve times; and each pixel of a tile of 43 × 43 is compared with all
# others.
#
# Mind whose pixel a table counts. NSR's Table 4 has a line "FLOPs (M)" with 0.67 for VDSR and 1.4
# for EDSR (S) and for *sparse +*, as if VDSR were the cheaper one. These are numbers like those of
# our second column (the original EDSR has a convolution more than ours, and a costlier end). Each
# counts the pixels that it works on, and VDSR's are those of the large image. For the same
# photograph VDSR multiplies $4 \cdot 0.67 / 1.4 = 1.9$ times as often at × 2, and 7.7 times at × 4.
#
# What each sees differs as well. The 20 layers of DnCNN-3 see 41 × 41 pixels of the large grid. The
# shipped network has 18 one after the other, and sees 37 × 37 pixels of the *small* one: 74 × 74 on
# the large grid at × 2.
#
# **Checkerboards.** Each of the four pixels has kernels of its own. Nothing says that they agree.
# Show a fresh network an even grey, and look.

# %%
fresh, equal = (build("nsr", own | {"scale": 2}) for _ in range(2))
equal.tail.weight.copy_(equal.tail.weight[:, :1].expand_as(equal.tail.weight))
shown, grey = {}, torch.full((1, 1, 64, 64), 0.3)
for name, net in {"fresh": fresh, "fresh, equal kernels": equal, "trained": model}.items():
    even = net(grey)[..., 56:72, 56:72]
    spread = 255 * float(even.max() - even.min())
    shown[f"{name}: {spread:.2f} levels"] = (0.5 + 8 * (even - even.mean())).clamp(0, 1)
figures.show_images(shown, columns=3, width=7)

# %%
learned = model.skip.kernels()[0]
cosines = F.cosine_similarity(learned.flatten(1), kernels.flatten(1)).tolist()
print("cosine with bicubic interpolation:", *(f"{one:.2f}" for one in cosines))
figure = figures.show_dictionary(torch.cat([kernels, learned]).flatten(1).T, 5, columns=4, width=4)
for row, name in enumerate(("bicubic", "skip")):
    figure.axes[0].text(-1, 6 * row + 3, name, ha="right", va="center")
figure

# %% [markdown]
# **What to notice.** A fresh network paints a pattern of several grey levels on an even grey. If
# the four pixels start with one kernel in the tail, there is none, and Aitken and others propose to
# start so. But training finds out by itself that the four have to agree.
#
# The skip began as bicubic interpolation (in the authors' program it is drawn at random). It could
# have become any four kernels, and has hardly moved: the network inside keeps for itself what the
# one before is given, and its blocks are left with what interpolation cannot do.
#
# ## 5. Results
#
# Against bicubic interpolation, as it is and made consistent.

# %%
methods = {"bicubic": lambda small: imresize(small, 2),
           "back-projected": lambda small: back_project(imresize(small, 2), small, 10),
           "NSR": lambda small: restore(model, small),
           "NSR, consistent": lambda small: nearest_consistent(restore(model, small), small, D, D)}
results = {}
print("PSNR in dB" + "".join(f"{name:>17s}" for name in methods) + "   off by: bicubic, NSR")
for name, photo in photos.items():
    small = halve(photo)
    images = {title: method(small) for title, method in methods.items()}
    results[name] = [float(sr_psnr(image, photo, 2)) for image in images.values()]
    off = [255 * float((small - halve(images[title])).square().mean().sqrt())
           for title in ("bicubic", "NSR")]
    print(f"{name:10s}" + "".join(f"{score:17.2f}" for score in results[name])
          + "".join(f"{one:11.2f}" for one in off))

# %%
means = [sum(column) / len(column) for column in zip(*results.values(), strict=True)]
print("mean      " + "".join(f"{score:17.2f}" for score in means))
assert means[2] > means[1] + 1, "the network against back-projection"
assert means[2] > means[0] + 2, "the network against bicubic interpolation"

# %% tags=["nbsphinx-thumbnail"]
def compare(name: str, top: int = 32, left: int = 32, size: int = 64) -> figures.Figure:
    """One photograph, enlarged by three methods."""
    photo = photos[name]
    images = {title: methods[title](halve(photo)) for title in ("bicubic", "back-projected", "NSR")}
    return figures.show_images({"clean": photo} | images, clean=photo, residual=True,
                               crop=(top, left, size, size), width=11)


compare("astronaut")

# %% [markdown]
# **What to notice.** Without having learned anything, back-projection gains 0.7 to 1.2 dB. The
# network gains more on all six: three decibels and more on cups and coins, with their long edges,
# least on fur, hair and the grain of bricks, waves that the small image does not hold. It does not
# know $\mathbf D$, but has learned to keep what was measured: made smaller, its estimates are off
# by a quarter of a grey level, those of bicubic interpolation by 1.5 to 3.2. To make them
# consistent gains next to nothing. (A title counts the whole image, unrounded, and differs from the
# table by a tenth or so: section 2.)
#
# On whole data sets, × 2, beside print. Printed are NLRN's Table 6, NSR's Table 4 and, for DnCNN-3,
# the number of its authors. What was measured, DnCNN-3 with their weights, is kept with the
# library.

# %%
names = {"bicubic": ("bicubic", "Bicubic"), "shipped NSR": ("nsr-sr-2", ""),
         "DnCNN-3": ("dncnn-3@cszn", "DnCNN-3"), "NLRN": ("", "NLRN"),
         "EDSR (S)": ("", "EDSR(S)"), "NSR, sparse +": ("", "NSR sparse+ (EDSR-S)")}
measured = {(score.method, score.dataset): f"{score.psnr:.2f}"
            for score in stored(data.shipped("scores")) if score.setting == "x2"}
printed = {(row["method"], row["dataset"]): row["psnr"] for row in rows()
           if row["setting"] == "x2" and not row["source"].endswith("README")}
print("measured | printed" + "".join(f"{name:>15s}" for name in ("Set5", "Set14", "BSD100")))
for title, keys in names.items():
    cells = [f"{measured.get((keys[0], name), '–'):>7s} | {printed.get((keys[1], name), '–'):5s}"
             for name in ("Set5", "Set14", "BSD100")]
    print(f"{title:18s}" + "".join(cells))

# %% [markdown]
# **What to notice.** In print, networks gain 2.6 to 4.4 dB over bicubic interpolation, and are
# close to each other. NLRN, with 0.34 million parameters, is level with EDSR (S) on Set5 and
# BSD100, and 0.1 dB behind on Set14; it pays in multiplications. Four kernels in the place of one
# (*sparse +*) bring EDSR (S) 0.03 to 0.10 dB. The shipped network gains 2.3 to 3.8 dB, as much as
# DnCNN-3 to 0.05 dB, with a quarter of its multiplications; EDSR (S), a quarter to half a decibel
# ahead, has more than twice as many parameters, and more than 0.35 hours of training. And DnCNN-3
# with its authors' own weights has 0.04 dB less here than its authors print: they round in another
# place.
#
# ## What breaks
#
# The network has never been told $\mathbf D$. It has learned to undo the one that its training
# used.
#
# **Predict.** The small image of the camera man holds means of 2 × 2 pixels. With MATLAB's small
# image the network is more than two decibels ahead of bicubic interpolation. And now?


# %%
def gain(name: str, photo: Tensor, ways=ways, model=model) -> float:
    """Decibels of the network above bicubic interpolation, with a small image of some kind."""
    small = ways[name](photo)
    return float(sr_psnr(restore(model, small), photo, 2) - sr_psnr(imresize(small, 2), photo, 2))


def of_means(photo=photos["camera"], gain=gain) -> tuple[str, str]:
    usual, found = (gain(name, photo) for name in ("MATLAB's bicubic", "means of 2 × 2"))
    right = "a" if found > 0.8 * usual else "b" if found > 0 else "c"
    return right, f"It gains {found:+.2f} dB, where it gained {usual:+.2f} dB."


widgets.predict({"a": "about as much", "b": "less, but still ahead", "c": "it is behind"}, of_means)

# %%
ways |= {"with noise, σ = 2": lambda image: GaussianNoise(2 / 255)(halve(image), "small"),
         "with noise, σ = 5": lambda image: GaussianNoise(5 / 255)(halve(image), "small"),
         "as JPEG, quality 90": lambda image: JPEG(90)(halve(image))}
print("dB above bicubic       " + "".join(f"{name:>10s}" for name in photos) + "      mean")
gains = {}
for name in ways:
    found = [gain(name, photo) for photo in photos.values()]
    gains[name] = sum(found) / len(found)
    print(f"{name:23s}" + "".join(f"{one:+10.2f}" for one in [*found, gains[name]]))
assert gains["MATLAB's bicubic"] > max(gains["torch's bicubic"], gains["with noise, σ = 5"]) + 0.5


# %%
def look(small_image: str, photo: str, ways=ways, photos=photos) -> figures.Figure:
    """What the network makes of a small image of some kind."""
    clean = photos[photo]
    small = ways[small_image](clean)
    images = {"clean": clean, "bicubic": imresize(small, 2), "NSR": restore(model, small)}
    return figures.show_images(images, clean=clean, residual=True, crop=(32, 32, 64, 64), width=9)


look("torch's bicubic", "camera")

# %%
widgets.explore(look, small_image=list(ways), photo=list(photos))

# %% [markdown]
# **What to notice.** Pillow's small images serve as well as MATLAB's. Means of 2 × 2 leave a third
# of the gain. With torch's bicubic, without antialiasing, the network falls almost three decibels
# *below* bicubic interpolation, although, or because, these small images are crisper: it
# takes away a blur that is not there, and draws bright and dark rims along every edge. Half a pixel
# off, the gain is gone: both restore the wrong place. Noise of 2 takes almost half of the gain on
# average, noise of 5 makes a loss of it, for the network sharpens noise as well. And a file of JPEG
# quality 90 leaves less than half.
#
# None of this shows in a table where all small images come from one kernel. Photographs come from
# none of them. *Blind* super-resolution does not know the kernel: it estimates it from the small
# image, or learns from images of many kernels, as networks for unknown noise learn from many
# levels.
#
# **When D is known, use it.** Exercise 3 takes any $\mathbf D$. Here the small images hold means of
# 2 × 2, and the network's estimate is made consistent, once with the wrong matrix and once with the
# right one.

# %%
pairs = torch.kron(torch.eye(side // 2), torch.full((1, 2), 0.5))
print("PSNR in dB            bicubic       NSR   consistent with MATLAB's D   with pairs")
for name, photo in photos.items():
    small = ways["means of 2 × 2"](photo)
    estimate = restore(model, small)
    images = [imresize(small, 2), estimate, nearest_consistent(estimate, small, D, D),
              nearest_consistent(estimate, small, pairs, pairs)]
    scores = [float(sr_psnr(image, photo, 2)) for image in images]
    print("{:18s}{:11.2f}{:10.2f}{:29.2f}{:13.2f}".format(name, *scores))
    assert scores[3] >= scores[1] - 0.01

# %% [markdown]
# **What to notice.** With the right matrix consistency gains 0.3 to 0.6 dB, on top of whatever the
# network has got right, and it cannot lose. With the wrong one it costs up to a tenth. That is an
# argument for the oldest form of this course's models: a step for what was measured, with $\mathbf
# D$ written out, and a prior that knows nothing of it (lesson 10).

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("16")

# %% [markdown]
# ## Problems
#
# **1. Luma's head start.** The same enlargement has a higher PSNR on $Y$ than on red, green and
# blue together. By how many decibels, if you know the mean products of the errors of the three
# channels? What if all three errors are equal, and what if they are equally strong, but have
# nothing to do with each other?
#
# <details><summary>Solution</summary>
#
# Let $\mathbf C$ hold the mean products of the errors, and $\mathbf w = (65.481, 128.553, 24.966) /
# 255$. The error of $Y$ is $\mathbf w^\top \mathbf e$, with the mean square $\mathbf w^\top \mathbf
# C \mathbf w$; on all channels together it is a third of the trace of $\mathbf C$. The head start
# is $10 \log_{10} (\operatorname{tr} \mathbf C / 3\, \mathbf w^\top \mathbf C \mathbf w)$. For
# equal errors $\mathbf w^\top \mathbf C \mathbf w$ has the factor $(219/255)^2$, which gives 1.32
# dB: luma has 219 steps where a file has 255. For errors that are equally strong and have nothing
# to do with each other it is 4.82 dB. Errors of enlargement are nearly grey.
#
# ```python
# weights = torch.tensor([65.481, 128.553, 24.966]) / 255
# for name, rgb in colours.items():
#     estimate = imresize(halve(rgb), 2)
#     errors = (estimate - rgb).flatten(2)[0]
#     products = errors @ errors.T / errors.shape[1]
#     said = 10 * torch.log10(products.trace() / 3 / (weights @ products @ weights))
#     found = metrics.psnr(rgb_to_luma(estimate), rgb_to_luma(rgb)) - metrics.psnr(estimate, rgb)
#     print(f"{name}: {said:.2f} dB")
#     assert abs(said - float(found)) < 1e-3
# ```
#
# </details>
#
# **2. Two runs of × 2 are not × 4.** A network for × 2 can be run a second time, on its own
# estimate. The tables' small image for × 4 is made with the kernel stretched by 4. Is that what two
# halvings give? What does the difference cost?
#
# <details><summary>Solution</summary>
#
# No: the kernel of two halvings is a sum of shifted kernels, and is not Keys' cubic, so the small
# images differ by one or two grey levels at most. It costs bicubic interpolation 0.05 to 0.16 dB.
# The network, run twice, loses 0.2 dB on the cups, gains 0.7 on the bricks, and is as before on the
# rest: its second pass has learned to undo one halving, and gets what two of them left. (How far it
# stays behind a network for × 4 this does not tell: that pass sees an estimate where it has learned
# from photographs.)
#
# ```python
# for name, photo in photos.items():
#     once, twice = BicubicDown(4)(photo), halve(halve(photo))
#     scores = [float(sr_psnr(way(small), photo, 4)) for small in (once, twice)
#               for way in (lambda y: imresize(y, 4), lambda y: restore(model, restore(model, y)))]
#     apart = 255 * float((once - twice).abs().max())
#     print("{:10s} {:4.1f} levels apart;{:7.2f}{:7.2f} |{:7.2f}{:7.2f} dB".format(
#         name, apart, *scores))
#     assert apart > 1
# ```
#
# </details>
#
# ## Further reading
#
# - A. Aitken and others, *Checkerboard artifact free sub-pixel convolution*, 2017: the equal start.
# - W. Shi and others, *Real-time single image and video super-resolution using an efficient
#   sub-pixel convolutional neural network*, CVPR 2016: the shuffle.
# - J. Yu, Y. Fan, T. Huang, *Wide activation for efficient image and video super-resolution*, BMVC
#   2019: WDSR.
# - K. Zhang, W. Zuo, L. Zhang, *Learning a single convolutional super-resolution network for
#   multiple degradations*, CVPR 2018: a network that is told the kernel.
#
# **Next:** [17 · Capstone](17_capstone.ipynb) measures all systems of this course by one protocol,
# and takes their gaps to print apart.
