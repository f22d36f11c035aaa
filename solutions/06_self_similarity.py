# %% [markdown]
# # 06 · Self-similarity: what other patches tell about this one
#
# In all lessons so far a patch was alone with its noise: coded, shrunk, and put back, as if there
# were no other picture in the world, and no other place in this one. But a wall has many bricks,
# a coat has one edge a hundred patches long, and noise is different each time. Other patches know
# things about this one. The question is which of them to ask, and what to do with the answers.
#
# **You will be able to**
#
# - measure how alike patches are, and derive what noise does to that measure;
# - find the patches most like a given one, and say what noise does to the choice;
# - write non-local means, and get scikit-image's numbers;
# - filter a whole group of patches at once, twice, and beat the learned dictionary of lesson 03;
# - say on which photographs this pays, before you try it.
#
# **Before you start**
#
# - **Time:** 75 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 01 (DCT, hard threshold, averaging) and 03 (the denoiser to beat).
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, ECCV 2020, §2 and the sets $S_i$ of §3.2; NLRN:
#   Liu et al., NeurIPS 2018, §3. Non-local means is by Buades, Coll and Morel, 2005,
#   collaborative filtering (BM3D) by Dabov, Foi, Katkovnik and Egiazarian, 2007.
# - **Letters:** the table in lesson 00.

# %%
# %matplotlib inline
import math

import torch
import torch.nn.functional as F
from skimage.restoration import denoise_nl_means
from torch import Tensor

from lessons_lib import classical, data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check, lesson_03
from lessons_lib.ops import dictionary as dictionaries
from lessons_lib.ops import patches as pieces
from lessons_lib.ops import similarity
from lessons_lib.ops.prox import hard_threshold
from lessons_lib.viz import figures, widgets

# %% [markdown]
# ## 1. Does a photograph repeat itself?
#
# To ask that, we need a number for how alike two patches are. The simplest is the squared
# Euclidean distance of their pixels, $d_{il} = \lVert \mathbf x_i - \mathbf x_l \rVert^2$. For $N$
# patches that makes $N^2$ numbers, and a loop over pairs would take minutes. Multiply out instead:
#
# $$ \lVert \mathbf x_i - \mathbf y_l \rVert^2 = \lVert \mathbf x_i \rVert^2 + \lVert \mathbf y_l
#    \rVert^2 - 2\, \mathbf x_i^\top \mathbf y_l , $$
#
# and all inner products together are one matrix product.
#
# *Toy example.* $\mathbf x_1 = (1, 0)$ and $\mathbf y_1 = (3, 4)$: the formula says $1 + 25 - 2
# \cdot 3 = 20$, and so does $2^2 + 4^2$.
#
# ### Exercise 1: all distances at once
#
# Compute the distances between all columns of `x` and all columns of `y`, without a loop. The
# formula subtracts large numbers, so rounding can leave something slightly negative where two
# patches are equal. A distance must not be.
#
# *Expect* the two lines of numbers below.
#
# <details><summary>Hint</summary>
#
# Of the three terms, which depends on $i$ alone, which on $l$ alone, and which on both? A column
# plus a row makes a matrix. What rounding has spoilt can be put right at the very end.
# </details>


# %% tags=["nbval-check-output"]
def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances between columns, (m, N) and (m, M) -> (N, M)."""
    ### BEGIN SOLUTION
    lengths = x.square().sum(dim=0)[:, None] + y.square().sum(dim=0)
    return (lengths - 2 * x.T @ y).clamp_min(0)
    ### END SOLUTION


squared_distances = check("similarity.squared_distances", squared_distances)
toy = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
print(squared_distances(toy, torch.tensor([[3.0, 1.0, 0.0], [4.0, 0.0, 2.0]])).tolist())

# %% [markdown]
# Take one patch in each of three clean photographs, the blue one, and draw the fifteen most
# similar ones as boxes. (We look at every fourth position only, so that the boxes do not hide each
# other.) The colour says how much a pixel differs on average: the root of $d / m$, in grey levels.


# %% tags=["nbsphinx-thumbnail"]
size = 8
photos = {name: data.sample(name, size=192) for name in ("brick", "camera", "grass")}
photos["camera"] = data.sample("camera")[..., 60:252, 140:332]
steps = torch.arange(192 - size + 1)  # rows, and columns, of patches


def relatives(image: Tensor, row: int, column: int) -> tuple[Tensor, Tensor, Tensor]:
    """A picture of 192 × 192, the 16 patches most like one, and their differences."""
    patches = pieces.extract_patches(image, size)[0]
    distances = squared_distances(patches[:, [row * len(steps) + column]], patches)[0]
    between = ((steps[:, None] - row) % 4 != 0) | ((steps - column) % 4 != 0)
    nearest, numbers = distances.masked_fill(between.flatten(), torch.inf).topk(16, largest=False)
    return image, numbers, 255 * (nearest / size**2).sqrt()


places = {"brick": (52, 58), "camera": (98, 60), "grass": (92, 92)}
groups = {name: relatives(photos[name], *place) for name, place in places.items()}
figures.show_groups(groups, size, label="difference in grey levels", width=11)

# %% [markdown]
# **What to notice.** The wall has the same joint again and again, brick above brick, and the jaw
# goes on as it began. Their relatives differ by a few grey levels, far less than noise of σ = 25
# would add. The grass has relatives, too, but only in a manner of speaking: they are some
# twenty-five grey levels apart.
#
# How about averaging the relatives? Say $n$ patches are alike but for noise. Their mean has the
# noise of one, divided by $\sqrt n$. And they are never quite alike: what they differ by stays, as
# a blur. So the fifteen relatives of a patch are useful if they differ by less than σ.
#
# ## 2. Whom does noise introduce to us?
#
# We do not own the clean photograph. We compare noisy patches $\mathbf y_i = \mathbf x_i +
# \boldsymbol\eta_i$, and $\boldsymbol\eta_i - \boldsymbol\eta_l$ has variance $2\sigma^2$ in each
# of $m$ pixels:
#
# $$ \mathbb E\, \lVert \mathbf y_i - \mathbf y_l \rVert^2 = \lVert \mathbf x_i - \mathbf x_l
#    \rVert^2 + 2\, \mathbb E\, (\mathbf x_i - \mathbf x_l)^\top (\boldsymbol\eta_i -
#    \boldsymbol\eta_l) + \mathbb E\, \lVert \boldsymbol\eta_i - \boldsymbol\eta_l \rVert^2
#    = \lVert \mathbf x_i - \mathbf x_l \rVert^2 + 2 m \sigma^2 . $$
#
# The middle term is 0 on average, and the distance of any two *different* patches is too large by
# $2m\sigma^2$. That would be harmless, since it is the same for all. But it also varies. How much?
#
# ### Exercise 2: how far does noise throw a distance?
#
# Two patches of $m$ pixels do not overlap, so the noise of one says nothing about that of the
# other. Their clean versions are at squared distance $d$; the squared distance of the noisy ones
# changes with every draw of the noise. Derive its standard deviation, for each $d$ of a tensor. It
# is on no line of this page: take pencil and paper.
#
# *Expect* the band of the figure below to hold nearly all pairs.
#
# <details><summary>Hint</summary>
#
# Begin with one pixel: the clean patches differ by $a$, the noise by $u$. What varies in $(a +
# u)^2$, how large are $\mathbb E\, u^2$, $\mathbb E\, u^3$ and $\mathbb E\, u^4$ of a Gaussian, and
# which variances may be added?
# </details>


# %%
def distance_spread(distances: Tensor, m: int, sigma: float) -> Tensor:
    """Deviations of noisy squared distances, from the clean ones, (...) -> same shape."""
    ### BEGIN SOLUTION
    one = 2 * sigma**2  # variance of a difference of two pixels' noise
    return (2 * m * one**2 + 4 * one * distances).sqrt()
    ### END SOLUTION


distance_spread = check("similarity.distance_spread", distance_spread)

# %%
sigma, generator = 25 / 255, torch.Generator().manual_seed(0)
clean = photos["brick"]
noisy = GaussianNoise(sigma)(clean, "brick")
x, y = (pieces.extract_patches(image, size)[0] for image in (clean, noisy))
pair = torch.randint(x.shape[1], (2, 4000), generator=generator)
down, right = (pair // len(steps)).diff(dim=0).abs(), (pair % len(steps)).diff(dim=0).abs()
pair = pair[:, (torch.maximum(down, right) >= size)[0]]
before, after = ((z[:, pair[0]] - z[:, pair[1]]).square().sum(dim=0) for z in (x, y))
unit, m = 2 * size**2 * sigma**2, size**2
off = (after - before - unit) / distance_spread(before, m, sigma)
print(f"{len(off)} pairs of the wall: off by {off.mean():.2f} ± {off.std():.2f} deviations, "
      f"{(off.abs() < 2).float().mean():.1%} within two")
assert abs(off.mean()) < 0.2
assert abs(off.std() - 1) < 0.1

# %%
figure = figures.new_figure(5.5, 3.4)
axes = figure.axes[0]
axes.plot(before / unit, after / unit, ".", markersize=2, color="0.6")
line = torch.linspace(0, 5.5, 100)
axes.plot(line, line, ":", label="without noise")
axes.plot(line, line + 1, "-", label="expected")
wide = 2 * distance_spread(line * unit, m, sigma) / unit
axes.fill_between(line, line + 1 - wide, line + 1 + wide, alpha=0.2, label="± 2 deviations")
axes.set(xlabel="distance of clean patches / 2mσ²", ylabel="of noisy patches / 2mσ²", xlim=(0, 5.5),
         ylim=(0, 8))
axes.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Every distance moves up by the same amount, and then scatters, and so do
# patches that are truly alike (at the left end). So a rule "in the group if the distance is at most
# $\xi$", which is how GroupSC §3.2 defines the sets $S_i$ of LSSC, needs a $\xi$ beyond
# $2m\sigma^2$, and your function says how far beyond. Take two deviations. Who gets in?

# %%
xi = unit + 2 * distance_spread(torch.zeros(1), m, sigma).item()
gaps = torch.linspace(0, 3 * unit, 1000)
hidden = gaps[gaps + unit - 2 * distance_spread(gaps, m, sigma) <= xi].max()
other = pieces.extract_patches(GaussianNoise(sigma, 1)(clean, "brick"), size)[0]
refused = ((y - other).square().sum(dim=0) > xi).float().mean()
print(f"{refused:.1%} refused of patches photographed twice; what is within "
      f"{255 * (hidden / m).sqrt():.0f} grey levels may get in")
figure = figures.new_figure(9, 3, columns=3)
for axes, (name, photo) in zip(figure.axes, photos.items(), strict=True):
    near = similarity.block_matching(GaussianNoise(sigma)(photo, name), 8, 39, 400, stride=8)[1]
    members = (near[0] <= xi).sum(dim=0)
    drawn = axes.imshow(members.view(24, 24), cmap="magma", norm="log", vmin=1, vmax=400)
    axes.set(title=f"{name}: half have {members.median()} or more", xticks=[], yticks=[])
figure.colorbar(drawn, ax=figure.axes, label="patches within ξ")
figure

# %% [markdown]
# **What to notice.** A bright square is a patch with hundreds of others that may be the same but
# for noise: bricks, sky. A joint finds a few dozen. On the grass half of the patches have
# themselves and one other at most. But ξ lets strangers in, too: what differs by less than the
# noise of two patches is not told apart for certain, and the only cure within your formula is a
# larger $m$. In practice one takes the nearest few in a window around the patch, which is called
# *block matching*.
#
# ### Exercise 3: block matching
#
# For each of the $N$ patches of a grid (row by row), find the `count` nearest patches in its search
# window, itself among them. Return their numbers and their distances, both $(\mathrm{count}, N)$,
# the nearest first.
#
# *Expect* the same as the library's `block_matching`, which needs no $N \times N$ matrix.
#
# <details><summary>Hint</summary>
#
# `similarity.window_mask(grid, window)` says who is in whose window. Give all others an infinite
# distance, then read `help(torch.topk)`. A patch is at distance 0 from itself: say so, since
# rounding may not.
# </details>


# %%
def block_matching(
    patches: Tensor, grid: tuple[int, int], window: int, count: int
) -> tuple[Tensor, Tensor]:
    """Numbers and distances of the nearest patches, (m, N) -> twice (count, N)."""
    ### BEGIN SOLUTION
    distances = squared_distances(patches, patches).fill_diagonal_(0)
    distances = distances.masked_fill(~similarity.window_mask(grid, window), torch.inf)
    nearest, numbers = distances.topk(count, dim=0, largest=False)
    return numbers, nearest
    ### END SOLUTION


block_matching = check("similarity.block_matching", block_matching)
part = noisy[..., 40:96, 30:86]
numbers, _ = block_matching(pieces.extract_patches(part, size)[0], (49, 49), 25, 16)
same = numbers == similarity.block_matching(part, size, 25, 16)[0][0]
print(f"{same.float().mean():.1%} of all matches are those of the library")

# %% [markdown]
# Now experiments that only the owner of the clean photograph can make. Match patches on the
# clean one, as an oracle would, and on the noisy one, as we must.
#
# **Predict.** Of each patch the oracle names the nearest other one. On which photograph is that
# one most often among the fifteen that are found at σ = 25?


# %%
def hits(photos: dict = photos, sigma: float = sigma) -> tuple[str, str]:
    share = {}
    for name, photo in photos.items():
        pair = photo, GaussianNoise(sigma)(photo, name)
        true, found = (similarity.block_matching(z, 8, 39, 16, stride=8)[0][0] for z in pair)
        share[name] = (found[1:] == true[1]).any(dim=0).float().mean().item()
    words = ", ".join(f"{name} {part:.0%}" for name, part in share.items())
    return max(share, key=lambda name: share[name]), f"Found among the fifteen: {words}."


widgets.predict({"brick": "the wall, whose relatives are nearest", "camera": "the coat and the sky",
                 "grass": "the grass, whose relatives are furthest"}, hits)

# %% [markdown]
# (Where many are alike, which is nearest is decided by noise, and matters little.) Then average
# each group of 16 *noisy* patches, and split the error of the average in two: the difference of
# the clean patches (blur), and the noise that is left.

# %%
names = ("brick", "chelsea", "astronaut", "coins", "grass")
blur, rest = {}, {}
for name in names:
    truth = data.sample(name, size=192)
    seen = GaussianNoise(sigma)(truth, name)
    x, y = (pieces.extract_patches(image, size)[0] for image in (truth, seen))
    for matched, image in {"clean": truth, "noisy": seen}.items():
        numbers = similarity.block_matching(image, size, 39, 16, stride=8)[0][0]
        error = x[:, numbers].mean(dim=1) - x[:, numbers[0]]
        left = (y - x)[:, numbers].mean(dim=1)
        blur[name, matched], rest[name, matched] = (
            255 * z.square().mean().sqrt().item() for z in (error, left)
        )

# %%
figure = figures.new_figure(9, 3, columns=2)
for axes, matched in zip(figure.axes, ("clean", "noisy"), strict=True):
    at = range(len(names))
    axes.bar([k - 0.2 for k in at], [blur[name, matched] for name in names], 0.4, label="blur")
    axes.bar([k + 0.2 for k in at], [rest[name, matched] for name in names], 0.4,
             label="noise left")
    axes.axhline(255 * sigma, color="black", linestyle=":", label="σ")
    axes.axhline(255 * sigma / 4, color="black", linestyle="--", label="σ / 4")
    axes.set(title=f"groups of 16, matched on the {matched} photograph", ylim=(0, 27))
    axes.set_xticks(at, names, rotation=30, fontsize=8)
figure.axes[0].set_ylabel("grey levels")
figure.axes[1].legend(frameon=False, fontsize=8, ncols=2)
figure

# %% [markdown]
# **What to notice.** On the left the noise falls to $\sigma/\sqrt{16}$, as it should, and the blur
# tells how much a photograph repeats itself: least on the wall, most in the grass. On the right
# both are worse. The blur, because a wrong patch gets in. And the noise, which is the more
# interesting half: *nearest* means that the noise of the chosen patches looks like the noise of
# this one. A group matched on noise agrees on something that is not there, and averaging keeps it.
#
# ## 3. Should all neighbours count the same?
#
# *Non-local means* does not choose. Everybody in the window has a weight, which falls with the
# distance (NLRN's eq. 3). Its authors later took off what noise explains (IPOL 2011), and so do
# we; without the $2\sigma^2$ this is NLRN's equation. For column $i$:
#
# $$ w_{li} = \frac1{\delta_i} \exp\Bigl(- \frac{\max(d_{li} - 2\sigma^2, 0)}{h^2} \Bigr), \qquad
#    \sum_l w_{li} = 1, \qquad \hat x_i = \sum_l w_{li}\, y_l , $$
#
# where $y_l$ is the pixel in the middle of patch $l$. Here $d_{li}$ is a *mean* squared difference,
# $\sum_j \kappa_j^2 (\mathbf y_l[j] - \mathbf y_i[j])^2$ with weights $\kappa_j^2$ that sum to 1,
# so its bias is $2\sigma^2$. Equal weights make it the squared distance over $m$; Buades, Coll and
# Morel let the middle of the patch count more.
#
# *Toy example.* With $\sigma = 0.1$, any $d$ up to 0.02 is forgiven. With $h = 0.2$, a patch at
# $d = 0.06$ weighs $e^{-1}$ times as much as one that is forgiven.
#
# ### Exercise 4: the weights
#
# Compute all weights at once: $w_{li}$ in row $l$, column $i$ of a matrix, from the distances, σ,
# $h$, and a `mask` that is true where patch $l$ is in the window of patch $i$.
#
# *Expect* columns that sum to 1, and nothing outside the window.
#
# <details><summary>Hint</summary>
#
# Multiply by the mask *before* you divide by the sum.
# </details>


# %%
def nlm_weights(distances: Tensor, mask: Tensor, sigma: float, h: float) -> Tensor:
    """Distances (N, N) and a boolean mask (N, N) -> weights (N, N), one patch per column."""
    ### BEGIN SOLUTION
    weights = torch.exp(-(distances - 2 * sigma**2).clamp_min(0) / h**2) * mask
    return weights / weights.sum(dim=0)
    ### END SOLUTION


nlm_weights = check("similarity.nlm_weights", nlm_weights)
part, clean_part = (image[..., 8:62, 34:88] for image in (noisy, clean))
y, x = (pieces.extract_patches(image, 7)[0] for image in (part, clean_part))
mask, row, column = similarity.window_mask((48, 48), 35), 24, 20
shown = {}
for name, (patches, level) in {"clean patches": (x, 0), "noisy patches": (y, sigma)}.items():
    weights = nlm_weights(squared_distances(patches, patches) / 49, mask, level, 0.5 * sigma)
    shown[f"{name}, h = 0.5 σ"] = weights[:, row * 48 + column].view(48, 48)
weights = nlm_weights(squared_distances(y, y) / 49, mask, sigma, 2 * sigma)
shown["noisy patches, h = 2 σ"] = weights[:, row * 48 + column].view(48, 48)
figures.show_similar(part, shown, (row, column), 7, width=10)

# %% [markdown]
# **What to notice.** A map of weights over the picture: who is asked about the framed patch, and
# how much. On clean patches it is the joint and nothing but the joint. With noise the map thins
# out, and some of the right patches drop out by bad luck. A large $h$ lets everybody in, the plain
# brick included, and the joint will be blurred away. (You may know such maps from elsewhere:
# weights that are positive, sum to 1, and fall off as an exponential. Lesson 08 comes back to it.)
#
# Does somebody else get the same? scikit-image's `denoise_nl_means` in its slow mode follows the
# definition above, with a Gaussian for $\kappa^2$, patches mirrored beyond the border, and windows
# that end there.

# %% tags=["nbval-check-output"]
offsets = torch.arange(-2.0, 3.0)
bell = torch.exp(-(offsets**2) / 2)  # a patch of 5 pixels: standard deviation 1
kappa = torch.outer(bell, bell).flatten().sqrt() / bell.sum()
pixels = noisy[..., :48, :48].double()
patches = pieces.extract_patches(F.pad(pixels, (2, 2, 2, 2), mode="reflect"), 5)[0]
distances = squared_distances(kappa[:, None] * patches, kappa[:, None] * patches)
mask = similarity.window_mask((48, 48), 15)
options = {"patch_size": 5, "patch_distance": 7, "sigma": sigma, "fast_mode": False}
for h in (0.6, 1000.0):
    ours = pixels.flatten() @ nlm_weights(distances, mask, sigma, h * sigma)
    theirs = denoise_nl_means(pixels[0, 0].numpy(), h=h * sigma, **options)
    apart = 255 * (ours.view(48, 48) - torch.from_numpy(theirs)).abs()
    print(f"h = {h:g} σ: at most {apart.max():.1f} grey levels apart")
    assert apart.max() < (2 if h < 1 else 0.01), "one definition, two programs"

# %% [markdown]
# **What to notice.** With a huge $h$ both take the plain mean of the window, and agree. With a
# sensible $h$ they differ by half a grey level where it is worst. That is no disagreement about the
# method: scikit-image computes $e^{-t}$ by a fast approximation, and drops weights beyond $t = 5$.
#
# (Its *fast* mode, the default and the library's `nlm`, gives all pixels of a patch the same weight
# and adds up the differences for all patches at once. In the version that runs here it counts one
# row and one column less than `patch_size` says: a reasonable filter, but not quite this one.)
#
# ## 4. Average, or filter?
#
# An average has one answer for all patches of a group, right or blurred. Dabov and his colleagues
# asked for more: *stack* the $n$ patches into an array $\mathbf S$ ($m \times n$), and look for a
# sparse code of the stack. Patches that are alike have DCT coefficients that are alike; a second
# DCT, **along** the stack, gathers what they have in common in its first column and leaves their
# small differences to the others:
#
# $$ \mathbf A = \mathbf D^\top \mathbf S\, \mathbf G, \qquad \hat{\mathbf S} = \mathbf D\,
#    H_t(\mathbf A)\, \mathbf G^\top, $$
#
# with the cosines of lesson 01 in $\mathbf D$, those of a line of $n$ numbers in $\mathbf G$, and
# the hard threshold $H_t$. Both are orthonormal, so the noise in $\mathbf A$ is again white, of the
# same σ. If a coefficient is $a$ in each of $n$ equal patches, the first column of $\mathbf A$ has
# $\sqrt n\, a$: with $n = 16$, a wave four times too weak for lesson 01 gets over the threshold.
# This is called *collaborative filtering*.
#
# *Toy example.* Two patches of one pixel, 3 and 3.2: $\mathbf G = \frac1{\sqrt2}
# \begin{pmatrix}1 & 1\\ 1 & -1\end{pmatrix}$ turns them into 4.38 and −0.14. With $t = 1$ the
# difference goes, and both become 3.1. With 3 and 9 both numbers are kept, and nothing happens.
#
# ### Exercise 5: filter a stack
#
# Filter $R$ stacks at once, $(R, m, n)$. Keep the first coefficient `[:, 0, 0]`, which is the mean
# of the stack, whatever its size. Also return a weight for each stack: one over the number of
# coefficients that are not zero now, or 1 if none is left (a black group). Fewer numbers let less
# noise through.
#
# *Expect* a stack of one patch to be denoised as in lesson 01, but for the mean.
#
# <details><summary>Hint</summary>
#
# `@` works on stacks of matrices: `across.T @ stacks @ along` is $(R, m, n)$. The way back takes
# the two transposes.
# </details>


# %%
def bases(stacks: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal cosines: over the m pixels of a patch (m, m), along the n patches (n, n)."""
    m, n = stacks.shape[-2:]
    return dictionaries.dct_dictionary(math.isqrt(m), m), dictionaries.cosine_basis(n)


def filter_stacks(stacks: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Hard threshold of the 3-D DCT, (R, m, n) -> estimates (R, m, n) and weights (R,)."""
    ### BEGIN SOLUTION
    across, along = bases(stacks)
    codes = across.T @ stacks @ along
    kept = hard_threshold(codes, threshold)
    kept[:, 0, 0] = codes[:, 0, 0]
    weights = 1 / (kept != 0).sum(dim=(1, 2)).clamp_min(1).to(stacks)
    return across @ kept @ along.T, weights
    ### END SOLUTION


filter_stacks = check("collaborative.filter", filter_stacks)

# %%
numbers = relatives(noisy, 84, 58)[1]
x, y = (pieces.extract_patches(image, size)[0][:, numbers] for image in (clean, noisy))
across, along = bases(y[None])
shown = {"clean stack, both DCTs": across.T @ x @ along, "noisy patches, one by one": across.T @ y,
         "noisy stack, both DCTs": across.T @ y @ along}
figure = figures.new_figure(9, 3.2, columns=3)
for axes, (title, codes) in zip(figure.axes, shown.items(), strict=True):
    drawn = axes.imshow((codes.abs() / sigma).clamp_min(0.5), aspect="auto", cmap="magma",
                        norm="log", vmin=0.5, vmax=200, interpolation="nearest")
    kept = (codes.abs() > 2.7 * sigma).sum()
    axes.set(title=f"{title}:\n{kept} above 2.7 σ", xlabel="patches, or waves along the stack")
figure.axes[0].set_ylabel("wave within the patch")
figure.colorbar(drawn, ax=figure.axes[2], label="|coefficient| / σ")
figure

# %% [markdown]
# **What to notice.** The scale is logarithmic. In the middle, each column is a patch: the wave of
# the joint shows in all of them, as bright lines, and so do specks of noise. On the right, the
# lines have run together into the first column, about four times as large; next to them is what
# distinguishes the patches, and the specks are as dark as before. The noisy stack has the few large
# numbers of the clean one. (The rest of its count is chance: of 1024 numbers that are nothing but
# noise, seven exceed 2.7 σ.)
#
# ## 5. Can a first guess help?
#
# After the first pass we own an estimate, the *pilot* $\mathbf p$, much cleaner than what we began
# with. It can help twice. First, match on the pilot: section 2 has shown what noise does to
# matching. Second, use it to choose how much of each coefficient to keep. If a coefficient is truly
# $c$ and we see $c + \eta$, the gain $g$ with the smallest expected error is
#
# $$ \min_g\ \mathbb E\,(g (c + \eta) - c)^2 = \min_g\ (1 - g)^2 c^2 + g^2 \sigma^2
#    \quad\Rightarrow\quad g = \frac{c^2}{c^2 + \sigma^2} . $$
#
# This is the *Wiener filter*. It would need the truth, so put the pilot's coefficient for $c$. A
# coefficient is no longer kept or killed, and one that the pilot believes in survives even where it
# is below the threshold.
#
# ### Exercise 6: filter again
#
# Filter noisy stacks with gains from the same stacks of the pilot. The weight of a stack is one
# over the sum of its squared gains: the noise that gets through.
#
# *Expect* half of a coefficient to be left where the pilot's is as large as σ.
#
# <details><summary>Hint</summary>
#
# Two transforms on the way in, of the noisy stacks and of the pilots, and one on the way out.
# </details>


# %%
def wiener_stacks(stacks: Tensor, pilots: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Wiener filter, noisy and pilot (R, m, n) -> estimates (R, m, n) and weights (R,)."""
    ### BEGIN SOLUTION
    across, along = bases(stacks)
    power = (across.T @ pilots @ along).square()
    gains = power / (power + sigma**2)
    estimates = across @ (gains * (across.T @ stacks @ along)) @ along.T
    return estimates, 1 / gains.square().sum(dim=(1, 2))
    ### END SOLUTION


wiener_stacks = check("collaborative.wiener", wiener_stacks)

# %% [markdown]
# Now put it together. Reference patches every three pixels; for each, the 16 nearest in a window of
# 39 × 39 positions; filter the stack; put *all* its patches back where they came from, and take the
# weighted mean at each pixel. `group_average` does the last step. These are the sizes of BM3D's
# first step. (Its second stacks 32 patches, and its transforms are partly wavelets.)


# %%
def denoise(
    noisy: Tensor, sigma: float, pilot: Tensor | None = None, count: int = 16, random: bool = False
) -> Tensor:
    """One pass over (1, 1, H, W), the second if there is a pilot; ``random`` is for later."""
    seen, shape = [noisy] if pilot is None else [noisy, pilot], (noisy.shape[-2], noisy.shape[-1])
    numbers, _ = similarity.block_matching(seen[-1], 8, 39, count, stride=3)
    if random:
        others, every = numbers[:, 1:], (shape[0] - 7) * (shape[1] - 7)
        others[:] = torch.randint(every, others.shape, generator=generator)
    stacks = [pieces.extract_patches(image, 8)[0][:, numbers[0]].permute(2, 0, 1) for image in seen]
    first = pilot is None
    found, weights = filter_stacks(*stacks, 2.7 * sigma) if first else wiener_stacks(*stacks, sigma)
    return pieces.group_average(found.permute(1, 2, 0)[None], numbers, shape, 8, weights[None])


SPAMS = dictionaries.load_spams() is not None  # as in lesson 03: without it, learn from less
side, budget = (192, 8192) if SPAMS else (160, 2048)


# %%
def lesson_three(noisy: Tensor) -> Tensor:
    """The denoiser to beat: 144 atoms learned from this noisy image, then pursuit."""
    patches, _ = pieces.centre(pieces.extract_patches(noisy, 9))
    chosen = torch.randperm(patches.shape[2], generator=torch.Generator().manual_seed(0))[:budget]
    atoms = dictionaries.learn_dictionary(
        patches[0][:, chosen], 144, sigma * math.sqrt(2 * math.log(144)),
        iterations=budget // 512, initial=dictionaries.dct_dictionary(9, 144),
    )
    return lesson_03.denoise(noisy, atoms, 9, sigma, 1.1)


clean = data.sample("brick", size=side)
noisy = GaussianNoise(sigma)(clean, "brick")
estimates = {"learned dictionary": lesson_three(noisy), "first pass": denoise(noisy, sigma)}
estimates["second pass"] = denoise(noisy, sigma, pilot=estimates["first pass"])
figures.show_images({"noisy": noisy, **estimates}, clean=clean, crop=(30, 20, 110, 110),
                    residual=True, width=11)

# %% [markdown]
# **What to notice.** The first pass is as good as the learned dictionary, and has no idea what a
# wall is: its atoms are the cosines of lesson 01. All it has learned is which patches belong
# together. But it has woven a fine cloth over the bricks. These are waves of pure noise that got
# over the threshold, because patches matched on noise agree about it. The second pass unpicks most
# of the cloth; a few stripes that the pilot believed in are left.
#
# ## Results: against lesson 03
#
# All photographs of section 2, in the order of their blur. NLM is the library's, the dictionary is
# the one of lesson 03, learned from each noisy photograph; the last column, *gain*, is by how many
# decibels our second pass is better than it.


# %%
def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


print("PSNR in dB  blur      NLM      DCT  learned   pass 1   pass 2    gain")
for name in sorted(names if SPAMS else ("grass", "brick"), key=lambda name: -blur[name, "clean"]):
    truth = data.sample(name, size=side)
    seen = GaussianNoise(sigma)(truth, name)
    rivals = [classical.nlm(seen, sigma), classical.dct(seen, sigma), lesson_three(seen)]
    rivals.append(denoise(seen, sigma))
    rivals.append(denoise(seen, sigma, pilot=rivals[-1]))
    scores = [decibels(estimate, truth) for estimate in rivals]
    print(("{:10s}" + 6 * "{:9.2f}").format(name, blur[name, "clean"], *scores), end="")
    print(f"{scores[4] - scores[2]:+8.2f}")
assert scores[4] - scores[2] > 0.35, "on the wall, the last of the table, the gain must be clear"

# %% [markdown]
# **What to notice.** The photographs are sorted by the blur of section 2. Where relatives are
# close, the gain is a third to two thirds of a decibel; on coins and grass, where they are not, the
# second pass only just draws level. The first pass alone beats the dictionary on two of five, by
# little. NLM, the plain average, stays behind even lesson 01 on all but the coins. LSSC is BM3D's
# idea with a learned dictionary: hard groups of similar patches, coded together. That is the next
# lesson; lesson 08 has the scores of all of them, trained ones too.
#
# How good are the groups? Choose a patch, and compare those found on the noisy photograph, on the
# estimate of the first pass, and on the clean photograph.

# %%
seen = {name: GaussianNoise(sigma)(photo, name) for name, photo in photos.items()}
pilots = {name: denoise(noisy, sigma) for name, noisy in seen.items()}
three = {"noisy": seen, "first pass": pilots, "clean": photos}


def draw(photograph: str, row: int, column: int, versions: dict = three) -> figures.Figure:
    """One patch and its relatives, found on three versions of a photograph."""
    found = {name: relatives(images[photograph], row, column) for name, images in versions.items()}
    return figures.show_groups(found, size, label="difference in grey levels", width=11)


draw("brick", 52, 58)

# %%
places = [92, *range(0, 185, 23)]
widgets.explore(draw, photograph=list(photos), row=places, column=places)

# %% [markdown]
# **What to notice.** On the noisy picture everybody is about $\sqrt 2 \cdot 25 = 35$ grey levels
# away, or a little less: the nearest are the lucky ones. On the first pass the differences are
# small again, and the group is nearly the oracle's. Try the grass, too.
#
# ## What breaks
#
# **Wrong groups, and groups too large.** How many patches should be asked? And what if we asked
# anybody: fifteen patches drawn at random, in place of the fifteen nearest?
#
# **Predict.** What do these strangers cost the first pass on the grass?


# %%
def cost_of_strangers(sigma: float = sigma, score=decibels) -> tuple[str, str]:
    truth = data.sample("grass", size=96)
    seen = GaussianNoise(sigma)(truth, "grass")
    friends, strangers = (score(denoise(seen, sigma, random=z), truth) for z in (False, True))
    cost = friends - strangers
    right = "a" if cost > 1 else "b" if cost > 0.1 else "c"
    return right, f"{friends:.2f} dB with relatives, {strangers:.2f} dB with strangers."


widgets.predict({"a": "more than 1 dB", "b": "a few tenths of a decibel", "c": "nothing, or less"},
                cost_of_strangers)

# %%
sizes = (1, 4, 16, 64)
figure = figures.new_figure(9, 2.8, columns=3)
for axes, name in zip(figure.axes, ("brick", "coffee", "grass"), strict=True):
    truth = data.sample(name, size=96)
    seen = GaussianNoise(sigma)(truth, name)
    first = {count: denoise(seen, sigma, count=count) for count in sizes}
    second = {count: denoise(seen, sigma, pilot, count) for count, pilot in first.items()}
    for images, style, label in ((first, "o-", "first pass"), (second, "s--", "second pass")):
        scores = [decibels(image, truth) for image in images.values()]
        axes.plot([str(count) for count in sizes], scores, style, label=label)
    strangers = decibels(denoise(seen, sigma, random=True), truth)
    axes.plot("16", strangers, "X", color="black", label="first, 16 at random")
    axes.set(title=name, xlabel="patches in a group", ylabel="PSNR in dB")
figure.axes[0].legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** The wall can feed groups of 64, in the second pass. On the coffee 64 are worse
# than 16, and in the grass 4 are enough: more and more strangers get in. A group of strangers costs
# the wall almost three decibels, for a stack without anything in common is not sparse. On the grass
# strangers are *as good* as relatives, or even a little better: they share nothing, but at least
# not this patch's noise.
#
# **Something out of nothing.** In a picture without anything in it, whatever is left after
# denoising has been made up.

# %%
flat = torch.full((1, 1, 128, 128), 0.5)
noisy = GaussianNoise(sigma)(flat, "flat")
first = denoise(noisy, sigma)
left = {"DCT": classical.dct(noisy, sigma), "NLM": classical.nlm(noisy, sigma), "first pass": first}
left["second pass"] = denoise(noisy, sigma, pilot=first)
figures.show_images({
    f"{name}: {255 * (image - flat).std():.1f} grey levels": 0.5 + 8 * (image - flat)
    for name, image in left.items()
}, width=10)

# %% [markdown]
# **What to notice.** A flat grey picture, errors amplified eight times. Each method has a hand of
# its own: the DCT leaves clouds and ripples, NLM leaves specks (patches that found nobody like
# them), the first pass leaves the cloth that we saw on the wall. The second pass leaves least, but
# in some corners there are stripes that a whole group believed in. They look like something. They
# are not.
#
# **Hard groups.** A patch is in the group, or it is not. Change one pixel a little, and the
# sixteenth patch may be another one. A method made of such decisions has no derivative, so it
# cannot be trained, and its 2.7, 16, 39 and 3 were found by hand. Lesson 08 finds a way out.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("06")

# %% [markdown]
# ## Problems
#
# **1. More noise.** Matching is the first thing to suffer. Take the wall at σ = 10, 25, 50 and 75,
# match on the noisy picture and on the first pass, and measure the numbers of section 2 once more:
# the blur, and the noise left, as a multiple of σ/4. When is the first pass no better than lesson
# 01, and why does the second recover?
#
# <details><summary>Solution</summary>
#
# At both ends. At σ = 75 groups matched on noise have a blur of 13 grey levels, four times that at
# σ = 10, and the first pass (25.5 dB) is no better than the DCT (25.6 dB). Matched on the first
# pass, poor as it is, the blur is 6, and the second pass reaches 27.5 dB. (BM3D matches on
# thresholded patches beyond σ = 40, for this reason.) At σ = 10 the first pass (39.1 dB) is behind
# the DCT (39.4 dB), too, but not for its groups: the blur is 3 on either picture.
#
# ```python
# print("   σ  blur, noise left: on noisy  on first pass   PSNR: DCT, pass 1, pass 2")
# wall = data.sample("brick", size=128)
# for level in (10, 75):
#     rough = GaussianNoise(level / 255)(wall, "brick")
#     pilot = denoise(rough, level / 255)
#     print(f"{level:4d}", end="")
#     for image in (rough, pilot):
#         numbers = similarity.block_matching(image, 8, 39, 16, stride=8)[0][0]
#         x, y = (pieces.extract_patches(z, 8)[0][:, numbers] for z in (wall, rough))
#         blurred = (x.mean(dim=1) - x[:, 0]).square().mean().sqrt()
#         noise_left = (y - x).mean(dim=1).square().mean().sqrt()
#         print(f"{255 * blurred:9.1f}{4 * 255 * noise_left / level:9.2f}", end="")
#     again = denoise(rough, level / 255, pilot=pilot)
#     results = classical.dct(rough, level / 255), pilot, again
#     print("{:8.2f}{:8.2f}{:8.2f}".format(*(decibels(result, wall) for result in results)))
# ```
# </details>
#
# **2. Whom to trust, and how much.** Section 3 took its weights from the air. Say that relative $l$
# of a patch differs from it by $b_l$ per pixel (mean square), that these differences are
# independent of each other and of the noise, and 0 on average. Which weights with the sum 1 make
# the expected error of the average smallest? How many relatives with $b = 3\sigma^2$ are worth one
# that is truly alike? Where is the assumption wrong?
#
# <details><summary>Solution</summary>
#
# The error is $\sum_l w_l e_l$, where $e_l$ has variance $v_l = b_l + \sigma^2$, so its expected
# square is $\sum_l w_l^2 v_l$. By Cauchy and Schwarz,
#
# $$ 1 = \Bigl(\sum_l w_l \sqrt{v_l} \cdot \frac{1}{\sqrt{v_l}}\Bigr)^2
#    \le \sum_l w_l^2 v_l\, \sum_l \frac1{v_l} , $$
#
# with equality if $w_l \propto 1 / v_l$: the weights are $1 / (b_l + \sigma^2)$ over their sum, and
# the error is one over the sum of all $1 / v_l$. A relative with $b = 3\sigma^2$ adds a quarter of
# what an equal one does: it takes four. It falls off far slower than an exponential. But relatives
# of a joint all err to the same side, towards the brick, and such errors do not average out; and
# what is matched on noise has noise that is not independent. Both call for smaller weights far off.
#
# ```python
# v = sigma**2 * (1 + 3 * torch.arange(4.0))  # b = 0, 3, 6, 9 σ²
# best = (1 / v) / (1 / v).sum()
# for _ in range(1000):
#     rival = (best + 0.1 * torch.randn(4)).clamp_min(1e-3)
#     rival /= rival.sum()
#     assert (rival**2 * v).sum() >= (best**2 * v).sum()
# ```
# </details>
#
# ## Further reading
#
# - A. Buades, B. Coll, J.-M. Morel, *A non-local algorithm for image denoising*, CVPR 2005.
# - K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, *Image denoising by sparse 3-D transform-domain
#   collaborative filtering*, IEEE Trans. Image Processing, 2007: BM3D.
# - M. Lebrun, *An analysis and implementation of the BM3D image denoising method*, Image
#   Processing On Line, 2012: every choice, and what it is worth.
# - J. Mairal, F. Bach, J. Ponce, G. Sapiro, A. Zisserman, *Non-local sparse models for image
#   restoration*, ICCV 2009: LSSC.
#
# **Next:** in [07 · The group lasso](07_group_lasso.ipynb) similar patches have to agree on their
# atoms, whatever the dictionary.
