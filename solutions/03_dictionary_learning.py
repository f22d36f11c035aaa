# %% [markdown]
# # 03 · Learning a dictionary
#
# So far the atoms came from a formula: cosines, the same for every picture. Here they come from
# the picture itself, and from nothing better than its noisy version.
#
# **You will be able to**
#
# - write dictionary learning as a matrix factorisation, and solve it by taking turns;
# - read a dictionary: which atoms are used, how much they resemble each other, which are noise;
# - code a noisy patch with as many atoms as the noise allows, and no more;
# - derive K-SVD's step, which moves an atom and its codes together;
# - build the adaptive denoiser of Elad and Aharon, measure what learning adds to it, and break it.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 01 (patches, the DCT denoiser) and 02 (the lasso, FISTA).
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, ECCV 2020, §2 (eq. 1, 2), §3.1 (eq. 5) and §3.6. The
#   learning is that of Mairal et al., 2010, the denoiser that of Elad and Aharon, 2006.
# - **Letters:** the table in lesson 00.

# %%
# %matplotlib inline
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import classical, data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check
from lessons_lib.ops import dictionary as dictionaries
from lessons_lib.ops import patches as pieces
from lessons_lib.solvers import fista, omp
from lessons_lib.viz import figures, widgets

torch.set_num_threads(1)  # as in lesson 02

# %% [markdown]
# ## 1. Which atoms does a picture want?
#
# GroupSC §2 codes each patch with a dictionary "which we assume given at the moment". Now we look
# for the dictionary too. Put the $N$ centred patches of $m$ pixels into the columns of
# $\mathbf Y$, their codes into those of $\mathbf A$ ($K \times N$), and choose both together:
#
# $$ \min_{\mathbf D, \mathbf A}\ \tfrac12 \|\mathbf Y - \mathbf D \mathbf A\|_F^2
#    + \lambda \|\mathbf A\|_1 \quad\text{such that}\quad \|\mathbf d_j\|_2 = 1
#    \text{ for every atom } j. $$
#
# This is *matrix factorisation* with a sparse factor. Without the constraint it would be
# pointless: make all atoms ten times longer and all codes ten times smaller; $\mathbf D\mathbf A$
# stays, and the penalty falls to a tenth.
#
# *Toy example.* Patches of two pixels, so that we can see them: 200 points, each near
# one of three lines through the origin. One atom per line is what we hope to find.
#
# The problem is not convex. Swap two atoms, and their two rows of codes, and you have another
# solution just as good. That alone proves nothing: a convex problem may have many solutions too.
# But then everything halfway between two of them is a solution as well, and here it is not: the
# mean of the two has the same atom twice, between the two lines, and fits neither (measured below).
# Yet each half of the problem is easy, so we take turns. With $\mathbf D$ at rest,
# the codes are the lasso of lesson 02. With $\mathbf A$ at rest, the atoms are a least squares
# problem, which we solve for one atom at a time.
#
# ### Exercise 1: update the atoms
#
# Go through the atoms once, from first to last. With $\mathbf a_j$ for row $j$ of $\mathbf A$,
#
# $$ \mathbf E = \mathbf Y - \mathbf D\mathbf A, \qquad
#    \mathbf u = \mathbf d_j + \mathbf E\, \mathbf a_j^\top / \|\mathbf a_j\|^2, \qquad
#    \mathbf d_j \leftarrow \mathbf u / \|\mathbf u\|. $$
#
# $\mathbf u$ is the best atom $j$ while all others rest, and $\mathbf u / \|\mathbf u\|$ the best
# of length 1. An atom that no patch uses ($\mathbf a_j = 0$) stays.
#
# *Expect* three learned lines on top of the true ones in the figure below.
#
# <details><summary>Hint</summary>
#
# Work on `dictionary.clone()`. Once $\mathbf d_1$ has moved, $\mathbf E$ is another. A fast way:
# $\mathbf E \mathbf a_j^\top$ needs no more than $\mathbf D$ as it is by then, and the matrices
# $\mathbf Y\mathbf A^\top$ and $\mathbf A\mathbf A^\top$, which do not change.
# </details>


# %%
def update_atoms(patches: Tensor, dictionary: Tensor, codes: Tensor) -> Tensor:
    """Each atom in turn, (m, N), (m, K), (K, N) -> (m, K) with unit columns."""
    ### BEGIN SOLUTION
    updated = dictionary.clone()
    wanted, overlap = patches @ codes.T, codes @ codes.T
    for j in range(codes.shape[0]):
        if overlap[j, j] > 0:
            step = (wanted[:, j] - updated @ overlap[:, j]) / overlap[j, j]
            best = updated[:, j] + step
            updated[:, j] = best / best.norm()
    return updated
    ### END SOLUTION


update_atoms = check("dictionary.update_atoms", update_atoms)

generator = torch.Generator().manual_seed(0)
angles = torch.tensor([20.0, 80.0, 140.0]).deg2rad()
truth = torch.stack([angles.cos(), angles.sin()])  # (2, 3): three unit atoms
line = torch.randint(3, (200,), generator=generator)
points = truth[:, line] * torch.randn(200, generator=generator)
points = points + 0.03 * torch.randn(2, 200, generator=generator)
start = dictionaries.random_dictionary(2, 3, torch.Generator().manual_seed(1))


# %% tags=["nbval-check-output"]
def alternate(
    patches: Tensor, dictionary: Tensor, lam: float, rounds: int, tolerance: float
) -> tuple[Tensor, list[float]]:
    """Take turns; returns the atoms, and the objective per patch before each of their updates."""
    codes, curve = None, []
    for _ in range(rounds):
        codes, history = fista(patches, dictionary, lam, tolerance=tolerance, initial=codes)
        curve.append(history.objective[-1] / patches.shape[1])
        dictionary = update_atoms(patches, dictionary, codes)
    return dictionary, curve


found, curve = alternate(points, start, lam=0.05, rounds=40, tolerance=1e-3)
assert torch.tensor(curve).diff().max() < 1e-6  # never up, but for rounding
print("lines at", (torch.atan2(found[1], found[0]).rad2deg() % 180).sort().values.round().tolist())

# %% tags=["nbval-check-output"]
codes, _ = fista(points, found, 0.05, tolerance=1e-4)
swap = [1, 0, 2]  # the first two atoms change places, and so do their codes
middle = (found + found[:, swap]) / 2, (codes + codes[swap]) / 2
for name, (atoms, rows) in {"learned": (found, codes), "swapped": (found[:, swap], codes[swap]),
                            "halfway between": middle}.items():
    value = (points - atoms @ rows).square().sum() / 2 + 0.05 * rows.abs().sum()
    print(f"{name:15s} objective per patch {value / 200:.3f}")

# %% tags=["nbsphinx-thumbnail"]
figure = figures.new_figure(8.5, 3.4, columns=2)
left, right = figure.axes
left.scatter(*points, s=6, color="0.6")
for atoms, style, label in ((start, "--", "start"), (found, "-", "learned")):
    for number, (x, y) in enumerate(2.4 * atoms.T):
        color = figures.COLOURS[0 if label == "start" else 1]
        left.plot([-x, x], [-y, y], style, color=color, label=None if number else label)
left.set(aspect="equal", title="200 patches of two pixels", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
left.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
right.plot(range(len(curve)), curve, "o-", markersize=3)
right.set(xlabel="rounds", ylabel="objective per patch", title="taking turns")
right.grid(alpha=0.3)
figure

# %% [markdown]
# **What to notice.** The curve never rises, and the cell above asserts it: the codes are the best
# for their atoms, then each atom is the best for these codes. That is all that is guaranteed: how
# fast it goes depends on the start. (Try 0 as the seed of `start`: 40 rounds are too few, 100 are
# enough.)
#
# **K-SVD**, with which Elad and Aharon learned their dictionaries, lets more move. While atom $j$
# has its turn, its row of codes may change as well, but not its zeros. Let $\mathbf E_j$ be what
# the *other* atoms leave of those patches that use atom $j$. Atom and row then solve
#
# $$ \min_{\|\mathbf d\| = 1,\ \mathbf a}\ \|\mathbf E_j - \mathbf d\, \mathbf a\|_F^2 . $$
#
# ### Exercise 2: an atom and its codes
#
# Find both, for any matrix $\mathbf E$. How is yours to work out. Of $\mathbf d$ and
# $-\mathbf d$, either will do.
#
# *Expect* about half of the error that a turn of exercise 1 leaves, in the toy example.
#
# <details><summary>Hint</summary>
#
# If $\mathbf d$ were known, $\mathbf a$ would be a least squares problem, and an easy one, since
# $\|\mathbf d\| = 1$. Put its solution into the error. Which question about $\mathbf d$ is left,
# and what do you know about matrices that answers it?
# </details>


# %% tags=["nbval-check-output"]
def best_pair(rest: Tensor) -> tuple[Tensor, Tensor]:
    """Unit atom (m,) and codes (n,) whose product is nearest to ``rest`` (m, n)."""
    ### BEGIN SOLUTION
    # The best row is dᵀE, and leaves ‖E‖² − ‖dᵀE‖². So d makes ‖dᵀE‖ largest.
    left, values, right = torch.linalg.svd(rest, full_matrices=False)
    return left[:, 0], values[0] * right[0]
    ### END SOLUTION


best_pair = check("dictionary.best_pair", best_pair)


def ksvd(patches: Tensor, dictionary: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Each atom in turn, together with its row of codes; zeros stay zero."""
    atoms, codes = dictionary.clone(), codes.clone()
    for j in range(len(codes)):
        used = codes[j] != 0
        if used.any():
            rest = patches[:, used] - atoms @ codes[:, used]
            rest = rest + torch.outer(atoms[:, j], codes[j, used])
            atoms[:, j], codes[j, used] = best_pair(rest)
    return atoms, codes


codes, _ = omp(points, start, sparsity=1)  # the nearest of the three lines
for name, (atoms, rows) in {"at the start": (start, codes), "pairs": ksvd(points, start, codes),
                            "atoms": (update_atoms(points, start, codes), codes)}.items():
    print(f"{name:13s} squared error per patch {(points - atoms @ rows).square().sum() / 200:.4f}")

# %% [markdown]
# **What to notice.** Both turns see the same points at the same lines, those nearest at the start.
# Exercise 1 is not wrong about its atoms: for codes that rest, no others are better. The codes were
# made for the lines at the start, and hold it back. Where they follow, half of the error remains.
#
# ### On a photograph
#
# A brick wall repeats itself, which is what a learned dictionary can use. It gets noise of
# σ = 25/255. GroupSC takes patches of 9 × 9 pixels from grey pictures, and so do we. We learn
# 144 atoms, and start from as many cosines, the overcomplete DCT.
#
# How large should λ be? A patch $\mathbf y$ gets an empty code if no
# $|\mathbf d_j^\top \mathbf y|$ exceeds λ (the optimality conditions of lesson 02). If it is
# nothing but noise, each of these products is a normal number of standard deviation σ. The largest
# of $n$ independent normal numbers is about $\sigma\sqrt{2 \ln n}$, and because of the absolute
# value there are $2K$ of them, $\pm\mathbf d_j^\top \mathbf y$: this gives $3.4\,\sigma$. We take
# a little less, $\lambda = \sigma\sqrt{2 \ln K}$, which loses less of the picture. The cell below
# counts the price: one patch of noise in five gets past λ, and teaches the dictionary noise.

# %%
SPAMS = dictionaries.load_spams() is not None
# SPAMS is written in C++. Without it our own code does the same, slower: so give it less.
side, count = (192, 8192) if SPAMS else (160, 2048)
sigma, size, K = 25 / 255, 9, 144
lam = sigma * math.sqrt(2 * math.log(K))
dct = dictionaries.dct_dictionary(size, K)
clean = data.sample("brick", size=side)
noisy = GaussianNoise(sigma)(clean, "brick")
patches, _ = pieces.centre(pieces.extract_patches(noisy, size))
noise, _ = pieces.centre(sigma * torch.randn(1, size**2, 4000, generator=generator))
awake = ((dct.T @ noise[0]).abs() > lam).any(dim=0).float().mean()
print(f"{'SPAMS' if SPAMS else 'PyTorch'}: {patches.shape[2]} patches of {size**2} pixels")
print(f"λ = {lam / sigma:.2f} σ: {1 - awake:.0%} of pure noise patches have an empty code")

# %% [markdown]
# Taking turns looks at every patch before any atom moves. *Online* dictionary learning does not
# wait: it codes a small batch, updates the atoms, and goes on. All that it has to remember of
# earlier batches is two small matrices, the sums of $\mathbf Y\mathbf A^\top$ and
# $\mathbf A\mathbf A^\top$. SPAMS, the toolbox that GroupSC §3.6 takes its first dictionaries
# from, learns so, and our own code has the same algorithm. The library's `learn_dictionary` uses
# SPAMS where it is installed; the line above says which of the two runs here. (Without SPAMS, the
# pictures are smaller and your numbers differ a little from those in the text.)

# %%
order = torch.randperm(patches.shape[2], generator=generator)
few = patches[0][:, order[:4096]]
_, curve = alternate(few, dct, lam, rounds=7, tolerance=3e-3)
passes, online = (0.25, 1, 4) if SPAMS else (1,), []
for number in passes:  # a batch is 512 patches
    atoms = dictionaries.learn_dictionary(few, K, lam, iterations=int(8 * number), initial=dct)
    online.append(fista(few, atoms, lam, tolerance=3e-3)[1].objective[-1] / 4096)
figure = figures.new_figure(6, 3.2)
axes = figure.axes[0]
axes.plot(curve, "o-", label="taking turns")
axes.plot(passes, online, "s--", label="online")
axes.set(xlabel="passes over 4096 patches", ylabel="objective per patch")
axes.legend(frameon=False)
axes.grid(alpha=0.3)
figure

# %% [markdown]
# **What to notice.** Both go downhill, and both would go on. But one online pass gets lower than
# two rounds of turns: after a first glance at 512 patches the atoms are already better, so why
# code the other 3584 with the old ones?
#
# ## 2. What has it learned?
#
# Three dictionaries of 144 atoms: the DCT, one learned from the clean photograph, one from the
# noisy photograph. Both are learned in one pass over the same positions. Clean patches need no
# protection from noise, so for them λ is only σ. Atoms are sorted by how many patches use them.


# %%
def learn(image: Tensor, lam: float) -> Tensor:
    """Atoms (81, 144) from one pass over ``count`` patches of an image (1, 1, H, W)."""
    patches, _ = pieces.centre(pieces.extract_patches(image, size))
    chosen = torch.randperm(patches.shape[2], generator=torch.Generator().manual_seed(0))[:count]
    return dictionaries.learn_dictionary(
        patches[0][:, chosen], K, lam, iterations=count // 512, initial=dct
    )


def sheet(atoms: Tensor, patches: Tensor) -> Tensor:
    """Picture (1, 1, 120, 120) of 144 atoms, the one that most patches (81, N) use first."""
    codes, _ = omp(patches, atoms, residual_norm=1.1 * sigma * size)
    atoms = atoms[:, (codes != 0).sum(dim=1).argsort(descending=True)]
    tiles = (0.5 + 0.5 * atoms / atoms.abs().amax(dim=0)).T.reshape(-1, 1, size, size)
    return pieces.overlap_add(
        F.pad(tiles, (0, 1, 0, 1), value=1).reshape(1, K, -1).mT, (120, 120), 10, stride=10
    )


# %%
learned, learned_clean = learn(noisy, lam), learn(clean, sigma)
clean_patches, _ = pieces.centre(pieces.extract_patches(clean, size))
figures.show_images({
    "DCT": sheet(dct, few),
    "learned from the clean photograph": sheet(learned_clean, clean_patches[0][:, order[:4096]]),
    "learned from the noisy photograph": sheet(learned, few),
}, width=12)

# %% [markdown]
# **What to notice.** The cosines in demand are upright and level, but it takes several of them to
# build one edge. The learned atoms *are* the wall: an upright joint of mortar at every position
# within a patch, level joints, corners. The noisy photograph taught almost the same first row as
# the clean one, because the noise is different in every patch, and the wall is not. Further down
# they differ: what the clean wall never asked for is still a cosine, while the noisy one left atoms
# full of grain. And on every sheet one tile is white.
#
# *Question.* Which atom is the white tile, and why does no patch ever use it?
#
# <details><summary>Answer</summary>
#
# It is the DCT's first atom, the constant. The patches are centred, so their inner product with a
# constant is zero. Neither coding nor learning can ever pick it.
# </details>
#
# **Predict.** Cosines suit every picture a little; the atoms from the clean wall have at least seen
# a photograph. Take them to another one, the clean camera man, and code both ways to the same
# distance. Which needs fewer atoms for a patch?


# %%
def elsewhere(dct=dct, learned=learned_clean, size=size, sigma=sigma) -> tuple[str, str]:
    other, _ = pieces.centre(pieces.extract_patches(data.sample("camera", size=192), size))
    codes = [omp(other[0, :, ::7], D, residual_norm=sigma * size / 2)[0] for D in (dct, learned)]
    cosines, wall = ((A != 0).sum(dim=0).float().mean().item() for A in codes)
    right = "a" if wall < 0.95 * cosines else "b" if wall < 1.05 * cosines else "c"
    return right, f"A patch takes {wall:.2f} atoms of the wall on average, {cosines:.2f} cosines."


widgets.predict({"a": "the atoms of the wall", "b": "both about as many (within 5 %)",
                 "c": "the cosines"}, elsewhere)

# %% [markdown]
# ### Exercise 3: coherence
#
# Similar atoms are hard to tell apart. The *coherence* of a dictionary is its worst pair:
#
# $$ \mu(\mathbf D) = \max_{i \neq j} \frac{|\mathbf d_i^\top \mathbf d_j|}
#    {\|\mathbf d_i\|\,\|\mathbf d_j\|}. $$
#
# Compute it, for atoms of any length.
#
# *Expect* 0 for an orthonormal basis; 144 atoms in 81 dimensions cannot get below
# $\sqrt{(K - m)/(m(K - 1))} \approx 0.074$, the Welch bound.
#
# <details><summary>Hint</summary>
#
# One matrix product of the normalised dictionary with itself holds all cosines; its diagonal does
# not compare a pair.
# </details>


# %% tags=["nbval-check-output"]
def coherence(dictionary: Tensor) -> float:
    """Largest absolute cosine between two different atoms, (m, K) -> a number in [0, 1]."""
    ### BEGIN SOLUTION
    atoms = dictionary / dictionary.norm(dim=0)
    cosines = (atoms.T @ atoms).abs()
    cosines.fill_diagonal_(0)
    return cosines.max().item()
    ### END SOLUTION


coherence = check("dictionary.coherence", coherence)
print(f"DCT of 64 atoms: {coherence(dictionaries.dct_dictionary(8, 64)):.2f}")

# %% [markdown]
# **Predict.** Which of three dictionaries of 144 atoms is the *most* coherent?


# %%
def most_coherent(dct=dct, learned=learned, coherence=coherence) -> tuple[str, str]:
    random = dictionaries.random_dictionary(*dct.shape, torch.Generator().manual_seed(0))
    found = {"a": coherence(random), "b": coherence(dct), "c": coherence(learned)}
    return max(found, key=found.get), ", ".join(f"{key} {found[key]:.2f}" for key in found)


widgets.predict({"a": "random numbers", "b": "the overcomplete DCT",
                 "c": "the one learned from the noisy wall"}, most_coherent)

# %%
random = dictionaries.random_dictionary(size**2, K, generator)
rivals = {"random": random, "DCT": dct, "learned": learned}
figure = figures.new_figure(9, 2.8, columns=3)
pairs = torch.triu_indices(K, K, offset=1)
for axes, (name, atoms) in zip(figure.axes, rivals.items(), strict=True):
    cosines = (atoms.T @ atoms).abs()[pairs[0], pairs[1]]
    axes.hist(cosines.numpy(), bins=50, range=(0, 1), log=True, color="0.7")
    axes.axvline(coherence(atoms), color=figures.COLOURS[1], linestyle="--")
    norm = dictionaries.spectral_norm(atoms)
    axes.set(title=f"{name}: μ = {coherence(atoms):.2f}, ‖D‖ = {norm:.1f}", ylim=(0.7, 1e4),
             xlabel="|cosine| of a pair of atoms")
figure.axes[0].set_ylabel("pairs")
figure

# %% [markdown]
# **What to notice.** Theory likes low coherence: OMP, which comes next, and the lasso are sure to
# find the right atoms of an exactly sparse patch if there are fewer than $\tfrac12(1 + 1/\mu)$ of
# them (Tropp, 2004). None of the three is low enough: even for the random dictionary this is less
# than 2, so the promise covers a single atom. And the learned dictionary is the *most* coherent,
# because the same joint one pixel further on is almost the same atom. We shall see that it denoises
# best. The promise is about the worst case, and about finding the right atoms; denoising wants a
# good sum.
#
# ## 3. How many atoms does a noisy patch deserve?
#
# To denoise, Elad and Aharon do not use the lasso, which shrinks what it finds. They count atoms,
# and stop as soon as what is left could be noise:
#
# $$ \min_{\boldsymbol\alpha} \|\boldsymbol\alpha\|_0 \quad\text{such that}\quad
#    \|\mathbf y - \mathbf D \boldsymbol\alpha\|_2 \le \varepsilon. $$
#
# The best set of atoms is out of reach: there are too many sets. *Orthogonal matching pursuit*
# (OMP) is greedy instead.
#
# ### Exercise 4: orthogonal matching pursuit
#
# Start from the code 0 and the residual $\mathbf r = \mathbf y$. While $\|\mathbf r\| >
# \varepsilon$ and fewer than `most` atoms are in use: add the atom with the largest
# $|\mathbf d_j^\top \mathbf r|$, fit *all* chosen atoms to $\mathbf y$ by least squares, and
# compute $\mathbf r = \mathbf y - \mathbf D \boldsymbol\alpha$.
#
# *Expect* a residual orthogonal to every chosen atom, to rounding.
#
# <details><summary>Hint</summary>
#
# With a list `chosen` of indices, `dictionary[:, chosen]` is the matrix to fit, and
# `torch.linalg.lstsq(matrix, right)` wants `right` as a column.
# </details>


# %%
def pursue(patch: Tensor, dictionary: Tensor, limit: float, most: int) -> Tensor:
    """OMP of one patch, (m,), (m, K) with unit columns -> code (K,)."""
    ### BEGIN SOLUTION
    chosen: list[int] = []
    code, residual = dictionary.new_zeros(dictionary.shape[1]), patch
    while residual.norm() > limit and len(chosen) < most:
        chosen.append(int((dictionary.T @ residual).abs().argmax()))
        matrix = dictionary[:, chosen]
        code[chosen] = torch.linalg.lstsq(matrix, patch[:, None]).solution[:, 0]
        residual = patch - dictionary @ code
    return code
    ### END SOLUTION


pursue = check("dictionary.pursue", pursue)

busiest = patches[0][:, int(patches[0].norm(dim=0).argmax())]
for most in (1, 2, 4, 8):
    code = pursue(busiest, dct, 0.0, most)
    left = busiest - dct @ code
    inner = float((dct[:, code != 0].T @ left).abs().max())
    print(f"{most} atoms: residual {left.norm():.2f}, its products with them at most {inner:.0e}")

# %% [markdown]
# The loop of one patch is too slow for thousands. From here on we use the library's `omp`, which
# calls SPAMS or our own code. (SPAMS chooses a little differently: the atom that leaves the
# shortest residual *after* the fit.)
#
# When should it stop? We take 400 patches with something in them: longer than pure noise would be,
# by at least three standard deviations of that length. They get 1, 2, 3, ... atoms each. Since we
# own the clean photograph, we can look at both distances: to the noisy patches, which OMP sees, and
# to the clean ones, which we want.

# %%
busy = (patches[0].norm(dim=0) > sigma * (size + 3 / math.sqrt(2))).nonzero()[:, 0]
busy = busy[torch.randperm(len(busy), generator=generator)[:400]]
y, x = patches[0][:, busy], clean_patches[0][:, busy]
distances: dict[str, list[float]] = {"to the noisy patches": [], "to the clean patches": []}
for most in range(1, 16):
    estimate = learned @ omp(y, learned, sparsity=most)[0]
    for curve, target in zip(distances.values(), (y, x), strict=True):
        curve.append(255 * (target - estimate).square().mean().sqrt().item())
axes = figures.new_figure(6, 3.2).axes[0]
for (label, curve), style in zip(distances.items(), ("o-", "s--"), strict=True):
    axes.plot(range(1, 16), curve, style, label=label)
axes.axhline(255 * sigma, color="0.5", linestyle=":", label="σ")
axes.set(xlabel="atoms per patch", ylabel="distance per pixel\nin grey levels", ylim=(0, None))
axes.legend(frameon=False)
axes.figure

# %% [markdown]
# **What to notice.** More atoms always come closer to the noisy patches. To the clean ones, the
# first two come closer; from then on, atoms buy noise. The turn lies where the distance to the
# *noisy* patches falls below σ, and this we can see without knowing the truth.
#
# ### Exercise 5: when to stop
#
# The noise in a patch of $m$ pixels has a squared length of $m\sigma^2$ on average, or
# $(m - 1)\sigma^2$ once the patch is centred, and its length varies little. For $m = 81$ the two
# lengths differ by 0.6 %, so we keep to the simpler one, as Elad and Aharon do. Stop when the
# residual is no longer than that, with a bit to spare:
#
# $$ \varepsilon = c\, \sigma \sqrt m, \qquad c \approx 1.1 . $$
#
# Code a whole set of centred patches by this rule, with the library's `omp(patches, dictionary,
# residual_norm=...)`, which returns codes and a history. (A loop over your own `pursue` is right
# as well, but slow.)
#
# *Expect* most patches of pure noise to come out with no atom at all.
#
# <details><summary>Hint</summary>
#
# $m$ is the number of pixels of a patch, not of patches, and not of atoms.
# </details>


# %%
def code_noisy(patches: Tensor, dictionary: Tensor, sigma: float, factor: float) -> Tensor:
    """OMP up to a residual as long as the noise, (m, N), (m, K) -> codes (K, N)."""
    ### BEGIN SOLUTION
    limit = factor * sigma * math.sqrt(patches.shape[0])
    codes, _ = omp(patches, dictionary, residual_norm=limit)
    return codes
    ### END SOLUTION


code_noisy = check("dictionary.code_noisy", code_noisy)

figure = figures.new_figure(6, 3)
axes = figure.axes[0]
axes.hist((noise[0].norm(dim=0) / (sigma * size)).numpy(), bins=60, color="0.7")
for factor, style, color in zip((1.0, 1.1, 1.2), (":", "-", "--"), figures.COLOURS, strict=False):
    empty = (code_noisy(noise[0], learned, sigma, factor) == 0).all(dim=0).float().mean()
    label = f"c = {factor}: {empty:.0%} come out empty"
    axes.axvline(factor, color=color, linestyle=style, label=label)
axes.set(xlabel="length of a patch of pure noise / σ√m", ylabel="patches", xlim=(0.6, 1.8))
axes.legend(frameon=False, loc="upper right")
figure

# %% [markdown]
# **What to notice.** The lengths huddle around 1, which is why a limit works at all. At $c = 1$
# nearly half of the noise patches take an atom; at $c = 1.1$ about one in twelve does. A larger $c$
# keeps out more noise, and more of the picture.
#
# ## 4. How much does learning help?
#
# ### Exercise 6: the adaptive denoiser
#
# Put it together, as in lesson 01 but with your `code_noisy` in the middle: cut all patches of
# `size` × `size` (eq. 1), centre them (eq. 5), code them, give every estimate
# $\mathbf D\boldsymbol\alpha_i$ its mean back, and average the overlaps (eq. 2).
#
# (Elad and Aharon let the noisy picture take part in this average. Their estimate minimises
# $\mu \|x - y\|^2 + \sum_i \|\mathbf R_i^\top x - \hat{\mathbf x}_i\|^2$, where $\mathbf R_i^\top$
# cuts out patch $i$ and $\hat{\mathbf x}_i$ is its estimate. It splits into pixels,
#
# $$ \hat x(p) = \frac{\mu\, y(p) + (\sum_i \mathbf R_i \hat{\mathbf x}_i)(p)}{\mu + c(p)} , $$
#
# with $c(p)$ patches at pixel $p$. They take $\mu = 30/\sigma$ with σ in grey levels: here 1.2,
# beside 81 patches. Inside the picture that is nearly eq. 2, which has $\mu = 0$, and so do we.)
#
# *Expect* 34.7 dB on the wall below, 0.7 dB more than in lesson 01.
#
# <details><summary>Hint</summary>
#
# `pieces` has `extract_patches`, `centre` and `overlap_average(patches, (H, W), size)`. They work
# on $(B, m, N)$, `code_noisy` on $(m, N)$.
# </details>


# %%
def denoise(noisy: Tensor, dictionary: Tensor, size: int, sigma: float, factor: float) -> Tensor:
    """Centre, code, average: (1, 1, H, W), (m, K) -> (1, 1, H, W)."""
    ### BEGIN SOLUTION
    centred, mean = pieces.centre(pieces.extract_patches(noisy, size))
    codes = code_noisy(centred[0], dictionary, sigma, factor)
    estimate = (dictionary @ codes)[None] + mean
    return pieces.overlap_average(estimate, noisy.shape[-2:], size)
    ### END SOLUTION


denoise = check("dictionary.denoise", denoise)


# %%
def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


baseline = classical.METHODS["dct"].function  # lesson 01: hard thresholding of the 8 × 8 DCT
estimates = {"DCT of lesson 01": baseline(noisy, sigma)}
estimates["learned"] = denoise(noisy, learned, size, sigma, 1.1)
middle = side // 2 - 48
crop = (middle, middle, 96, 96)
figures.show_images(
    {"clean": clean, "noisy": noisy, **estimates}, clean=clean, crop=crop, residual=True, width=11
)

# %% [markdown]
# **What to notice.** Look at the amplified errors. The DCT leaves ripples beside the joints:
# cosines that were needed for an edge, and go on after it. The learned atoms end where the joint
# ends. Both lose the fine grain of the bricks, which is weaker than the noise.
#
# Is this the doing of *learning*? Much else is new: OMP, patches of 9 × 9, 144 cosines, and equal
# weights in the mean, where the DCT of lesson 01 trusts patches with few waves more. OMP in the
# fixed DCT has all of that, and differs from the last column in nothing but the dictionary. And a
# wall is a friendly example, so here are three more photographs, each with a dictionary learned
# from its own noisy version: coins, grass, and a cat (`chelsea`).

# %%
print("PSNR in dB   noisy   DCT, lesson 01   OMP in DCT   OMP in learned   margin")
margins = {}
for name in ("brick", "coins", "grass", "chelsea") if SPAMS else ("brick", "chelsea"):
    truth = data.sample(name, size=side)
    seen = GaussianNoise(sigma)(truth, name)
    scores = [decibels(seen, truth), decibels(baseline(seen, sigma), truth)]
    for atoms in (dct, learn(seen, lam)):
        scores.append(decibels(denoise(seen, atoms, size, sigma, 1.1), truth))
    margins[name] = scores[3] - scores[1]
    print("{:10s} {:7.2f} {:16.2f} {:12.2f} {:16.2f}".format(name, *scores), end="")
    print(f"{margins[name]:+9.2f}")
assert margins["brick"] > 0.2
print(f"on the wall, learning beats the DCT of lesson 01 by {margins['brick']:.2f} dB")
seen, truth = (image[..., middle : middle + 96, middle : middle + 96] for image in (noisy, clean))

# %% [markdown]
# **What to notice.** On the wall and on the coins OMP in the fixed DCT does no better than lesson
# 01, so the gain is learning's own, and it is largest where the picture repeats itself. On the
# grass, all that is new beside learning gives more than learning does, and half of that is the
# doing of equal weights. On the cat, whose fur repeats little, learning wins back what the rest
# lost, and a tenth of a decibel more: hardly worth the trouble.
#
# ### The learning of Elad and Aharon
#
# Their dictionary is not learned with the lasso. They take turns between OMP up to $\varepsilon$,
# that is your `code_noisy`, and K-SVD. Here are four rounds on 2048 patches of the wall, and
# beside them four in which exercise 1 updates the atoms. Both start from the DCT.

# %%
part, scores, figure = few[:, :2048], {}, figures.new_figure(5.5, 3)
for name, style in {"atoms alone (exercise 1)": "s--", "pairs (K-SVD)": "o-"}.items():
    atoms, curve = dct, []
    for _ in range(4):
        codes = code_noisy(part, atoms, sigma, 1.1)
        curve.append((part - atoms @ codes).square().sum().item() / 2048)
        pair = ksvd(part, atoms, codes)
        atoms, codes = pair if "K" in name else (update_atoms(part, atoms, codes), codes)
        curve.append((part - atoms @ codes).square().sum().item() / 2048)
    figure.axes[0].plot(torch.arange(8) / 2, curve, style, markersize=4, label=name)
    used, estimate = (codes != 0).sum() / 2048, denoise(seen, atoms, size, sigma, 1.1)
    print(f"{name:25s}{used:.2f} atoms per patch, {decibels(estimate, truth):.2f} dB")
figure.axes[0].set(xlabel="rounds: whole coded, half updated", ylabel="squared error per patch")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Each coding lets the error rise again, since it stops as soon as a patch is
# below the limit, and uses fewer atoms in return. In the first update, with the same codes, pairs
# gain half as much again as atoms alone. It does not last: the codes are found anew in every round,
# so what became of them in between hardly counts, and after four rounds both dictionaries denoise
# alike. They are half a decibel above the DCT, and half of one below online learning, which saw
# four times as many patches (the numbers stand in the last table).
#
# Now it is your turn, with sliders for $c$ and the dictionary.


# %%
def draw(tolerance: float, atoms: str) -> figures.Figure:
    """The middle of the wall, coded up to a tolerance in one of the three dictionaries."""
    estimate = denoise(seen, rivals[atoms], size, sigma, tolerance)
    return figures.show_images(
        {"noisy": seen, f"{atoms}, c = {tolerance}": estimate}, clean=truth, residual=True, width=6
    )


widgets.explore(
    draw, tolerance=[1.1, 0.8, 0.9, 1.0, 1.05, 1.2, 1.4, 2.0], atoms=["learned", "DCT", "random"]
)

# %% [markdown]
# ## What breaks
#
# A method that learns from noisy data can learn the noise. Here is a dictionary learned from
# nothing but noise, with the λ of above and with 5 σ.

# %%
static = sigma * torch.randn(1, 1, side, side, generator=generator)
static_patches, _ = pieces.centre(pieces.extract_patches(static, size))
static_patches = static_patches[0][:, order[:4096]]
fooled, careful = learn(static, lam), learn(static, 5 * sigma)
figures.show_images({
    "the DCT it starts from": sheet(dct, static_patches),
    f"learned from noise, λ = {lam / sigma:.2f} σ": sheet(fooled, static_patches),
    "learned from noise, λ = 5 σ": sheet(careful, static_patches),
}, width=12)

# %% [markdown]
# **What to notice.** One noise patch in five got past our λ, and with nothing else to learn from,
# nearly all atoms became noise. With λ = 5 σ next to nothing gets past, and the cosines stay as
# they are. On the wall, noise patches got past too: they are the grain in the rarely used atoms of
# section 2. A larger λ would keep them out, and weak structure with them.
#
# Now the middle of the wall once more, with all that one can get wrong.

# %%
cases = {
    "all as it should be": (learned, sigma),
    "not learned: the DCT": (dct, sigma),
    "learned from the clean wall": (learned_clean, sigma),
    "σ taken for 0.75 σ": (learned, 0.75 * sigma),
    "σ taken for 1.5 σ": (learned, 1.5 * sigma),
    "learned with λ = σ": (learn(noisy, sigma), sigma),
    "learned with λ = 8 σ": (learn(noisy, 8 * sigma), sigma),
    "learned from 20 × 20 pixels": (learn(noisy[..., :20, :20], lam), sigma),
    "learned from pure noise": (fooled, sigma),
}
print("PSNR in dB                      here   DCT, lesson 01")
for name, (atoms, believed) in cases.items():
    ours = decibels(denoise(seen, atoms, size, believed, 1.1), truth)
    print(f"{name:28s} {ours:7.2f} {decibels(baseline(seen, believed), truth):16.2f}")

# %% [markdown]
# **What to notice.**
#
# - **σ must be known.** With half as much again, most patches look like noise and keep only their
#   mean; with three quarters of it, nearly every patch gets atoms that fit noise. Thresholding the
#   DCT forgives both more easily.
# - **λ too small** learns noise, **λ too large** learns from the strongest patches alone. Either
#   way the wall falls below lesson 01.
# - **Few patches** (20 × 20 pixels hold 144) leave a dictionary that is no better than the DCT it
#   started from. **Noise atoms** are much worse than that.
# - A dictionary from the clean wall, which nobody has, is only a little better than our own. In
#   practice one takes clean photographs of *other* things.
#

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("03")

# %% [markdown]
# ## Problems
#
# **1. The Welch bound.** Exercise 3 says that $K$ unit atoms in $m$ dimensions have a coherence of
# $\sqrt{(K - m)/(m(K - 1))}$ at least. Prove it. Which of this lesson's dictionaries reaches it?
#
# <details><summary>Solution</summary>
#
# $\mathbf G = \mathbf D^\top \mathbf D$ has ones on its diagonal, so its eigenvalues add up to $K$.
# At most $m$ of them are not zero. Then the sum of their squares is smallest if they are equal, and
# it is also the sum of the squares of all entries:
#
# $$ \frac{K^2}{m} \;\le\; \sum_i \lambda_i^2 \;=\; \|\mathbf G\|_F^2 \;=\; K + \sum_{i \ne j}
#    (\mathbf d_i^\top \mathbf d_j)^2 \;\le\; K + K (K - 1)\, \mu^2 . $$
#
# Solve for $\mu$. It is reached if all pairs have the same cosine and all eigenvalues are equal, as
# with the three lines of the toy example, 60 degrees apart. Random atoms are far from it: the
# largest of 10,296 cosines is 0.46, though their root mean square, 0.11, is not much above 0.074.
#
# ```python
# lines = torch.stack([angles.cos(), angles.sin()])
# print(f"three lines: {coherence(lines):.3f}, bound {math.sqrt((3 - 2) / (2 * (3 - 1))):.3f}")
# assert abs(coherence(lines) - 0.5) < 1e-5
# cosines = (random.T @ random)[pairs[0], pairs[1]]
# print(f"random: largest {cosines.abs().max():.2f}, rms {cosines.square().mean().sqrt():.3f}")
# ```
#
# </details>
#
# **2. How much noise does an atom learn?** Let the codes be right, and the noise in the patches
# have standard deviation σ. By which angle is an atom wrong after exercise 1, if its row of codes
# is $\mathbf a_j$? How many patches must use it, with codes of about $4\sigma$, so that the sine is
# below 0.2? Measure it: make patches from the dictionary of the clean wall and add noise.
#
# <details><summary>Solution</summary>
#
# With noise $\boldsymbol\eta_i$ in patch $i$, $\mathbf u$ is the right atom plus
# $\sum_i a_{ji} \boldsymbol\eta_i / \|\mathbf a_j\|^2$, if other atoms are right as well. That is
# noise with variance $\sigma^2 / \|\mathbf a_j\|^2$ in each of $m$ directions, of which $m - 1$
# turn the atom: with $v = (m - 1)\,\sigma^2 / \|\mathbf a_j\|^2$ the tangent of the angle is about
# $\sqrt v$, and the squared sine $v / (1 + v)$. For $n$ patches with codes of $4\sigma$,
# $v = 80 / (16 n)$: it takes some 120 of them. Atoms that fewer patches use are full of grain, as
# at the end of the sheets in section 2.
#
# ```python
# codes = code_noisy(clean_patches[0][:, order[:4096]], learned_clean, sigma, 1.0)
# made = learned_clean @ codes
# made = made + sigma * torch.randn(made.shape, generator=generator)
# turned = update_atoms(made, learned_clean, codes)
# v = (size**2 - 1) * sigma**2 / codes.square().sum(dim=1)
# sines, users = 1 - (turned * learned_clean).sum(dim=0).square(), (codes != 0).sum(dim=1)
# for low, high in ((3, 10), (10, 30), (30, 100), (100, 4096)):
#     some = (users >= low) & (users < high)
#     measured, expected = sines[some].mean().sqrt(), (v / (1 + v))[some].mean().sqrt()
#     print(f"{low:3d} to {high:4d} patches: sine {measured:.2f}, expected {expected:.2f}")
# ```
#
# </details>
#
# ## Where this goes
#
# GroupSC §3.6 starts all its networks from a dictionary learned with SPAMS. First it is divided by
# its largest singular value, the ‖D‖ above each histogram in section 2: then ‖D‖ = 1, and ISTA with
# step 1 is safe (lesson 02). Lesson 04 unrolls that ISTA and trains it. The learned dictionary has
# a far larger ‖D‖ than the DCT, since its atoms have so much in common.
#
# **Further reading**
#
# - M. Elad and M. Aharon, *Image denoising via sparse and redundant representations over learned
#   dictionaries*, IEEE Trans. Image Processing, 2006: the denoiser of this lesson, with K-SVD
#   in the place of online learning.
# - J. Mairal, F. Bach, J. Ponce, G. Sapiro, *Online learning for matrix factorization and sparse
#   coding*, JMLR 2010: algorithm 2 is exercise 1, with atoms of length at most 1.
# - J. Tropp, *Greed is good: algorithmic results for sparse approximation*, IEEE Trans.
#   Information Theory, 2004: what coherence promises.
# - J. Mairal, F. Bach, J. Ponce, *Sparse modeling for image and vision processing*, 2014: a book
#   about all of this.
