# %% [markdown]
# # 02 · ISTA and FISTA: sparse coding when atoms are not orthogonal
#
# Lesson 01 wrote patches as sums of waves, and edges rang. The cure seems simple: add edges to the
# waves. But then the patterns are no longer orthogonal, $\mathbf D^\top \mathbf y$ is no longer
# the code, and a problem that was solved in one line needs an algorithm. It is the algorithm of
# the next lessons: the networks of patches, from lesson 04 to lesson 10, are this loop, unrolled.
#
# **You will be able to**
#
# - derive soft thresholding as a proximal operator, and check it by brute force;
# - write ISTA with a step size that you can justify, and know when to stop it;
# - bound the minimum from below without knowing it, and stop on the gap;
# - accelerate ISTA to FISTA, and hold both to their guarantees;
# - explain why $\ell_1$ codes are too small, undo it, and beat lesson 01 on a photograph.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in half a minute.
# - **You need:** lesson 01; gradients; the largest eigenvalue of a matrix.
# - **Source:** B. Lecouat, J. Ponce, J. Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, 2020 (GroupSC), §2: eq. 1 and 3. A. Beck, M. Teboulle,
#   *A fast iterative shrinkage-thresholding algorithm for linear inverse problems*, 2009.
# - **Letters:** the table in lesson 00.

# %%
# %matplotlib inline
import math

import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from lessons_lib import data, solvers
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check, lesson_01
from lessons_lib.metrics import psnr
from lessons_lib.ops.dictionary import coherence, dct_dictionary, normalize_atoms
from lessons_lib.ops.patches import centre, extract_patches, overlap_average
from lessons_lib.viz import figures, widgets

# %%
torch.manual_seed(0)
torch.set_num_threads(1)  # sums in one order, and no waiting between many small steps
sigma = 25 / 255
photograph = data.sample("camera")[..., 40:296, 140:396]
whole = GaussianNoise(sigma)(photograph, "camera")  # lesson 01's picture
face = (..., slice(76, 196), slice(52, 172))  # and the part of it that we work on
clean, noisy = photograph[face], whole[face]
centred, means = centre(extract_patches(noisy, 8))
Y = centred[0]  # (64, 12769): all centred patches, one per column

# %% [markdown]
# ## 1. What if waves are not enough?
#
# A **dictionary** $\mathbf D = [\mathbf d_1, \dots, \mathbf d_K]$ is any set of patterns, called
# **atoms**, of length 1. We take the 63 waves of lesson 01 (patches are centred, so the flat one
# is not needed) and add straight edges: 8 directions, and for each 7 positions, one pixel apart.


# %% tags=["nbval-check-output"]
def straight_edges(size: int, directions: int) -> Tensor:
    """Centred steps from dark to bright, (size**2, directions * (size - 1)), of unit length."""
    axis = torch.arange(size) - (size - 1) / 2
    atoms = []
    for k in range(directions):
        angle = math.pi * k / directions
        across = axis[:, None] * math.sin(angle) + axis * math.cos(angle)
        for position in range(-(size // 2) + 1, size // 2):
            atoms.append((across - position).clamp(-0.5, 0.5).flatten())
    edges = torch.stack(atoms, dim=1)
    return normalize_atoms(edges - edges.mean(dim=0))


waves = dct_dictionary(8, 64)[:, 1:]
D = torch.cat([waves, straight_edges(8, 8)], dim=1)

# %%
print(f"D has {D.shape[0]} rows and {D.shape[1]} atoms, coherence {coherence(D):.2f}")
figures.show_dictionary(D, 8, columns=17, width=6)

# %% [markdown]
# **What to notice.** 119 atoms in 64 dimensions: such a dictionary is **overcomplete**, and every
# patch has infinitely many codes. Some atoms are nearly parallel: the *coherence* is the largest
# cosine of an angle between two of them, and it was 0 in lesson 01.
#
# Is it worth it? Take some hundreds of clean patches, allow each a few atoms, and measure the part
# of their energy that is left unexplained. For waves the best ones are those with the largest
# coefficients. For $\mathbf D$ nobody can try all subsets; *orthogonal matching pursuit* picks
# one atom after the other, the one that helps most.

# %%
some = centre(extract_patches(photograph, 8))[0][0, :, ::199]
ordered = (waves.T @ some).square().sort(dim=0).values  # smallest first
counts = range(1, 9)
left = {"63 waves": [ordered[:-s].sum() / some.square().sum() for s in counts], "with edges": []}
for s in counts:
    codes, _ = solvers.omp(some, D, sparsity=s)
    left["with edges"].append((some - D @ codes).square().sum() / some.square().sum())
figure = figures.new_figure(5.5, 2.8)
for (label, curve), style in zip(left.items(), ("o-", "s--"), strict=True):
    figure.axes[0].plot(counts, curve, style, label=label)
figure.axes[0].set(xlabel="atoms per patch", ylabel="energy left", yscale="log")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** One edge explains more than one wave, of course. But three atoms with edges
# leave about as little as five waves: the edges pay all along. The same picture needs fewer
# numbers, and each number that we need not keep is noise that we can drop.
#
# ## 2. What replaces the threshold?
#
# With $K > m$ atoms, counting non-zero entries is combinatorially hard. The paper's eq. 1 counts
# them softly, by the $\ell_1$ norm; statisticians call it the **lasso**:
#
# $$ \min_{\boldsymbol\alpha \in \mathbb R^K}\; \underbrace{\tfrac12 \lVert \mathbf y - \mathbf D
#    \boldsymbol\alpha \rVert_2^2}_{\text{smooth}} + \underbrace{\lambda \lVert \boldsymbol\alpha
#    \rVert_1}_{\text{simple}} . $$
#
# It is convex, so there are no local minima to get stuck in. First the simple part alone, for one
# number. The **proximal operator** of a penalty goes towards smaller penalty without going far:
#
# $$ \operatorname{prox}_{\lambda |\cdot|}(z) = \arg\min_u\; \tfrac12 (u - z)^2 + \lambda |u| . $$
#
# *Toy example.* $z = 2$, $\lambda = 1$. For $u > 0$ the derivative is $u - 2 + 1$, which vanishes
# at $u = 1$. For $z = 0.6$ it would vanish at $-0.4$, which is not positive: then the minimum is
# at the kink, $u = 0$.
#
# ### Exercise 1: soft thresholding
#
# Write this operator, entry by entry.
#
# *Expect* the line through the dots in the figure below, and `[-2.0, 0.0, 1.0]` from `[-3.0, 0.5,
# 2.0]`.
#
# <details><summary>Hint</summary>
#
# Magnitude and sign can be treated apart. `clamp_min(0)` cuts at zero.
# </details>


# %% tags=["nbval-check-output"]
def soft_threshold(z: Tensor, threshold: float) -> Tensor:
    """Proximal operator of threshold · ‖·‖₁; any shape -> same shape."""
    ### BEGIN SOLUTION
    return z.sign() * (z.abs() - threshold).clamp_min(0)
    ### END SOLUTION


soft_threshold = check("prox.soft_threshold", soft_threshold)
print(soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist())

# %%
u, z = torch.linspace(-4, 4, 801), torch.linspace(-3, 3, 25)
found = u[(0.5 * (u[:, None] - z) ** 2 + u[:, None].abs()).argmin(dim=0)]  # by trying all u
figure = figures.new_figure(8, 3, columns=2)
for at, style in ((0.6, "--"), (2.0, "-")):
    cost = 0.5 * (u - at) ** 2 + u.abs()
    line = figure.axes[0].plot(u, cost, style, label=f"½(u − {at})² + |u|")[0]
    figure.axes[0].plot(u[cost.argmin()], cost.min(), "o", color=line.get_color())
figure.axes[0].set(xlim=(-1.5, 3.5), ylim=(0, 4))
figure.axes[1].plot(z, found, "o", markersize=4, label="brute force")
figure.axes[1].plot(u, soft_threshold(u, 1.0), label="your prox")
figure.axes[1].plot(u, torch.where(u.abs() > 1, u, 0), ":", color="black", label="hard, lesson 01")
for axes, label in zip(figure.axes, "uz", strict=True):
    axes.set_xlabel(label)
    axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** Brute force tries 801 values of $u$ for each dot, and agrees. The
# kink at 0 is what makes entries *exactly* zero. But everything else moves towards zero by
# $\lambda$ as well, where the hard threshold leaves it alone. Remember this **bias**.
#
# ## 3. How do we get from one entry to a dictionary?
#
# With orthonormal atoms we would be done: $\boldsymbol\alpha = S_\lambda(\mathbf D^\top \mathbf
# y)$, where $S_\lambda$ is your function. Otherwise the smooth part $f(\boldsymbol\alpha) =
# \frac12 \lVert \mathbf y - \mathbf D \boldsymbol\alpha \rVert^2$ couples the entries. So replace
# it by a simpler function that lies above it and touches it at the current $\boldsymbol\alpha$:
#
# $$ f(\mathbf u) \;\le\; f(\boldsymbol\alpha) + \langle \nabla f(\boldsymbol\alpha), \mathbf u -
#    \boldsymbol\alpha \rangle + \tfrac L2 \lVert \mathbf u - \boldsymbol\alpha \rVert^2 , \qquad
#    \nabla f(\boldsymbol\alpha) = -\mathbf D^\top(\mathbf y - \mathbf D \boldsymbol\alpha) , $$
#
# where $L$ is the largest eigenvalue of $\mathbf D^\top \mathbf D$. The right side plus $\lambda
# \lVert\mathbf u\rVert_1$ splits into entries again, and its minimiser is a prox:
#
# $$ \boldsymbol\alpha \;\leftarrow\; S_{\lambda/L}\bigl[\boldsymbol\alpha + \tfrac1L \mathbf
#    D^\top (\mathbf y - \mathbf D \boldsymbol\alpha)\bigr] . $$
#
# A step of gradient descent, then a soft threshold: **ISTA**. It is the paper's eq. 3 with
# $\mathbf C = \mathbf D / L$ and $\Lambda_k = \lambda / L$. Since each step minimises something
# that lies above the objective and touches it, the objective cannot rise.
#
# ### Exercise 2: the Lipschitz constant
#
# Compute $L$ by **power iteration**: start with a random vector, apply $\mathbf D^\top \mathbf D$
# and scale to length 1, a hundred times. Then $L = \lVert \mathbf D \mathbf v \rVert^2$.
#
# *Expect* 17.7: with orthonormal atoms it would be 1.
#
# <details><summary>Hint</summary>
#
# Never form $\mathbf D^\top \mathbf D$: `D.T @ (D @ v)` is cheaper. Ones are a bad start, since
# they may be orthogonal to the answer.
# </details>


# %% tags=["nbval-check-output"]
def lipschitz(dictionary: Tensor) -> float:
    """Largest eigenvalue of DᵀD for D of shape (m, K)."""
    ### BEGIN SOLUTION
    v = torch.randn(dictionary.shape[1]).to(dictionary)
    for _ in range(100):
        v = dictionary.T @ (dictionary @ v)
        v = v / v.norm()
    return (dictionary @ v).square().sum().item()
    ### END SOLUTION


lipschitz = check("ista.lipschitz", lipschitz)
L = float(lipschitz(D))
print(f"L = {L:.1f}")

# %% [markdown]
# ### Exercise 3: ISTA
#
# Code all patches at once, columns of $\mathbf Y$. Start from zero, take `iterations` steps of
# the given `step` (in place of $1/L$, in both places), and record `objective` after each.
#
# *Expect* the figure below.
#
# <details><summary>Hint</summary>
#
# A loop with one line for the codes and one for the record; `torch.stack` makes a tensor of a list
# of numbers.
# </details>


# %%
def objective(patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float) -> Tensor:
    """Eq. 1, summed over patches."""
    return 0.5 * (patches - dictionary @ codes).square().sum() + lam * codes.abs().sum()


def ista(
    patches: Tensor, dictionary: Tensor, lam: float, step: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Codes (K, N) of patches (m, N), and the objective after each iteration (iterations,)."""
    ### BEGIN SOLUTION
    codes = patches.new_zeros(dictionary.shape[1], patches.shape[1])
    values = []
    for _ in range(iterations):
        residual = patches - dictionary @ codes
        codes = soft_threshold(codes + step * dictionary.T @ residual, step * lam)
        values.append(objective(patches, dictionary, codes, lam))
    return codes, torch.stack(values)
    ### END SOLUTION


ista = check("ista.ista", ista)

# %% [markdown]
# **Predict.** What will ISTA do with a step of $3/L$?


# %%
def too_far(few=Y[:, ::257], D=D, lam=3 * sigma, L=L, ista=ista) -> tuple[str, str]:
    _, values = ista(few, D, lam, 3 / L, 30)
    ratio = float(values[-1] / values[0])
    right = "c" if ratio > 10 else "a" if ratio < 0.9 else "b"
    return right, f"After 30 iterations the objective is {ratio:.1g} times that after the first."


widgets.predict({"a": "arrive about three times sooner", "b": "swing to and fro for ever",
                 "c": "get further away with each iteration"}, too_far)

# %%
lam = 3 * sigma
few = Y[:, ::257]  # 50 patches are enough to watch
optimum, history = solvers.fista(few.double(), D.double(), lam, max_iterations=1500, tolerance=1e-9)
minimum = history.objective[-1]
figure = figures.new_figure(6.5, 3)
for factor, style in zip((0.2, 1.0, 1.9, 3.0), ("-.", "-", "--", ":"), strict=True):
    _, values = ista(few, D, lam, factor / L, 100)
    figure.axes[0].plot(range(1, 101), values - minimum, style, label=f"step {factor} / L")
figure.axes[0].set(xlabel="iteration", ylabel="objective − minimum", yscale="log", ylim=(0.01, 1e3))
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** A small step is safe and slow. Beyond $1/L$ the argument above no longer
# holds, though below $2/L$ the objective still cannot rise, and ISTA converges. At $3/L$ every step
# overshoots by more than the one before: the objective explodes.

# %% [markdown]
# ## 4. When may we stop?
#
# The picture shows how far we are from the minimum because we computed it beforehand. Without
# that, look at the **optimality conditions** (Karush, Kuhn and Tucker). At a solution the
# correlation of every atom with what is left, $\mathbf r = \mathbf y - \mathbf D
# \boldsymbol\alpha$, balances the pull of the penalty:
#
# $$ \mathbf d_j^\top \mathbf r = \lambda \operatorname{sign}(\alpha_j) \ \text{ if } \alpha_j
#    \neq 0, \qquad |\mathbf d_j^\top \mathbf r| \le \lambda \ \text{ if } \alpha_j = 0 . $$
#
# An unused atom may correlate with the rest a little, but an atom in use does so by exactly
# $\lambda$. These are also the points at which an ISTA step changes nothing.
#
# ### Exercise 4: the KKT conditions
#
# For each patch, return the largest violation over all atoms: the distance from $\lambda
# \operatorname{sign}(\alpha_j)$ for atoms in use, the excess over $\lambda$ (or 0) for the
# others.
#
# *Expect* a number that falls towards 0 below.
#
# <details><summary>Hint</summary>
#
# Compute both numbers for all entries, choose with `torch.where`, take `amax(dim=0)`.
# </details>


# %%
def kkt_violation(patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float) -> Tensor:
    """Largest violation per patch, (m, N), (m, K), (K, N) -> (N,)."""
    ### BEGIN SOLUTION
    correlation = dictionary.T @ (patches - dictionary @ codes)
    used = (correlation - lam * codes.sign()).abs()
    unused = (correlation.abs() - lam).clamp_min(0)
    return torch.where(codes != 0, used, unused).amax(dim=0)
    ### END SOLUTION


kkt_violation = check("ista.kkt", kkt_violation)

# %%
patch, _ = centre(extract_patches(whole[..., 118:126, 26:34], 8)[0])  # an edge: the collar
figure = figures.new_figure(8.5, 2.8, columns=3)
for axes, iterations in zip(figure.axes, (10, 100, 2000), strict=True):
    codes, _ = ista(patch, D, lam, 1 / L, iterations)
    correlation = (D.T @ (patch - D @ codes))[:, 0] / lam
    used = codes[:, 0] != 0
    axes.plot(correlation.where(~used, math.nan), ".", markersize=4, label="unused")
    axes.plot(correlation.where(used, math.nan), "D", markersize=5, label="in use")
    axes.axhspan(-1, 1, color="black", alpha=0.08)
    worst = kkt_violation(patch, D, codes, lam).item() / lam
    axes.set(xlabel="atom", ylim=(-2.4, 2.4))
    axes.set_title(f"{iterations} iterations: off by {worst:.2f} λ", fontsize=10)
figure.axes[0].set_ylabel("correlation / λ")
figure.axes[0].legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** After 10 iterations too many atoms are in use, at all sorts of correlations.
# After 2000 the diamonds lie on the lines at $\pm\lambda$ and all dots between them: this code is
# optimal, and the picture is the proof. It takes long: at 100 iterations one of the edges is still
# off by a third of $\lambda$.
#
# A number per patch would be handier than a picture. Every code bounds the minimum from above, by
# its own objective. A bound from below that is nearly as high would prove that both are near.
#
# ### Exercise 5: a bound from below
#
# Find a function $b(\boldsymbol\theta)$ such that *no* code has an objective below
# $b(\boldsymbol\theta)$, for every vector $\boldsymbol\theta \in \mathbb R^m$ that is not too long.
# What "too long" means is yours to find as well. Then apply $b$ to the multiples
# $\boldsymbol\theta = s\,\mathbf r$ of a given $\mathbf r$, the residual of a bad code perhaps:
# return the largest $b(s\,\mathbf r)$ of those that are not too long, with $s$ of either sign. If
# $\mathbf r$ is the residual of the solution, this must be the minimum itself. You know neither the
# minimum nor a code: take pencil and paper.
#
# *Expect* bounds below that come up to meet the objective, and somebody else's solver between the
# two: scikit-learn minimises one coordinate after the other. (Its fit term is a mean over the
# $m = 64$ entries, so its `alpha` is $\lambda / m$.)
#
# <details><summary>Hint</summary>
#
# Give the residual a name and a life of its own: minimise $\frac12 \lVert \mathbf z \rVert^2 +
# \lambda \lVert \boldsymbol\alpha \rVert_1$ over pairs with $\mathbf z = \mathbf y - \mathbf D
# \boldsymbol\alpha$. On such pairs $\boldsymbol\theta^\top (\mathbf y - \mathbf D
# \boldsymbol\alpha - \mathbf z)$ is zero and may be added, for any $\boldsymbol\theta$. What is the
# minimum of the sum if $\mathbf z$ and $\boldsymbol\alpha$ need *not* belong together? When is it
# $-\infty$?
# </details>


# %% tags=["nbval-check-output"]
def lower_bound(patches: Tensor, dictionary: Tensor, residual: Tensor, lam: float) -> Tensor:
    """No objective is smaller: (m, N), (m, K), any (m, N) -> one number per patch (N,)."""
    ### BEGIN SOLUTION
    # Free z is best at θ, free α at 0 if no |d_jᵀθ| exceeds λ (else the minimum is −∞). What is
    # left is θᵀy − ½‖θ‖². With θ = s·r it is a parabola in s, on an interval around 0.
    tiny = torch.finfo(patches.dtype).tiny
    best = (residual * patches).sum(dim=0) / residual.square().sum(dim=0).clamp_min(tiny)
    farthest = lam / (dictionary.T @ residual).abs().amax(dim=0).clamp_min(tiny)
    theta = best.clamp(-farthest, farthest) * residual
    return (theta * (patches - theta / 2)).sum(dim=0)
    ### END SOLUTION


lower_bound = check("ista.lower_bound", lower_bound)
for iterations in (1, 10, 100, 1000):
    codes, values = ista(few, D, lam, 1 / L, iterations)
    bound = lower_bound(few, D, few - D @ codes, lam).sum()
    print(f"{iterations:4d} iterations: the minimum is between {bound:.2f} and {values[-1]:.2f}")
theirs = Lasso(alpha=lam / 64, fit_intercept=False, max_iter=100_000, tol=1e-8)
theirs.fit(D.double().numpy(), few.double().numpy())
value = objective(few, D, torch.from_numpy(theirs.coef_.T).float(), lam)
print(f"scikit-learn finds {value:.4f}")
assert bound - 1e-3 < value < values[-1] + 1e-3, "another solver, the same minimum"

# %% [markdown]
# Objective minus bound is the **duality gap**. It is *never smaller* than the distance of the
# objective from its minimum, and it costs one product with $\mathbf D^\top$. `solvers.ista` and
# `solvers.fista` stop when it falls below `tolerance` times the objective.
#
# A thousand iterations are many. **FISTA** changes one thing: it takes the step from a point
# $\boldsymbol\beta$ ahead, further along the way just made. It starts with $\boldsymbol\beta_1 =
# \boldsymbol\alpha_0 = \mathbf 0$ and $t_1 = 1$, and goes on with
#
# $$ \boldsymbol\alpha_k = S_{\lambda/L}\bigl[\boldsymbol\beta_k + \tfrac1L \mathbf D^\top
#    (\mathbf y - \mathbf D \boldsymbol\beta_k)\bigr], \quad
#    t_{k+1} = \tfrac12 \Bigl(1 + \sqrt{1 + 4 t_k^2}\Bigr), \quad
#    \boldsymbol\beta_{k+1} = \boldsymbol\alpha_k + \frac{t_k - 1}{t_{k+1}}
#    (\boldsymbol\alpha_k - \boldsymbol\alpha_{k-1}) . $$
#
# ### Exercise 6: FISTA
#
# Write one such step, in three lines. It is given $\boldsymbol\alpha_{k-1}$,
# $\boldsymbol\beta_k$ and $t_k$, and a `step` in the place of $1/L$.
#
# *Expect* a first step that is ISTA's.
#
# <details><summary>Hint</summary>
#
# One line for each of the three results. Keep the old codes and the old $t$ until the last of them.
# </details>


# %%
def fista_step(
    patches: Tensor, dictionary: Tensor, lam: float, step: float,
    codes: Tensor, ahead: Tensor, t: float,
) -> tuple[Tensor, Tensor, float]:
    """Codes α, point ahead β (both (K, N)) and t, each one step later."""
    ### BEGIN SOLUTION
    gradient_step = ahead + step * dictionary.T @ (patches - dictionary @ ahead)
    moved = soft_threshold(gradient_step, step * lam)
    following = (1 + math.sqrt(1 + 4 * t**2)) / 2
    return moved, moved + (t - 1) / following * (moved - codes), following
    ### END SOLUTION


fista_step = check("ista.fista_step", fista_step)


def fista(
    patches: Tensor, dictionary: Tensor, lam: float, step: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Your steps from zero; takes and returns what `ista` does."""
    codes = ahead = patches.new_zeros(dictionary.shape[1], patches.shape[1])
    values, t = [], 1.0
    for _ in range(iterations):
        codes, ahead, t = fista_step(patches, dictionary, lam, step, codes, ahead, t)
        values.append(objective(patches, dictionary, codes, lam))
    return codes, torch.stack(values)


# %% [markdown]
# Beck and Teboulle prove how far from the minimum the objective can be after $k$ steps of $1/L$, if
# $\boldsymbol\alpha^*$ is a solution:
#
# $$ \text{ISTA:}\; \frac{L \lVert \boldsymbol\alpha_0 - \boldsymbol\alpha^* \rVert^2}{2k},
#    \qquad \text{FISTA:}\; \frac{2L \lVert \boldsymbol\alpha_0 - \boldsymbol\alpha^*
#    \rVert^2}{(k+1)^2} . $$
#
# **Predict.** How many iterations will FISTA need for what ISTA reaches in 500?


# %%
def race(few=few, D=D, lam=lam, L=L, ista=ista, fista=fista) -> tuple[str, str]:
    slow, fast = (solver(few, D, lam, 1 / L, 500)[1] for solver in (ista, fista))
    needed = 1 + int((fast > slow[-1]).sum())
    return "a" if needed > 250 else "b" if needed >= 100 else "c", f"It needs {needed}."


widgets.predict({"a": "more than 250", "b": "100 to 250", "c": "fewer than 100"}, race)

# %%
figure = figures.new_figure(9, 3.2, columns=2)
k, way = torch.arange(1, 501), L * optimum.square().sum()  # L times the squared way from zero
looks = (1, 2, 5, 10, 20, 50, 100, 200, 500)
for (name, solver), style in zip({"ISTA": ista, "FISTA": fista}.items(), "-:", strict=True):
    figure.axes[0].plot(k, solver(few, D, lam, 1 / L, 500)[1] - minimum, style, label=name)
    found = [solver(few, D, lam, 1 / L, number) for number in looks]
    gaps = [values[-1] - lower_bound(few, D, few - D @ codes, lam).sum() for codes, values in found]
    figure.axes[1].plot(looks, gaps, "o" + style, markersize=4, label=name)
figure.axes[0].plot(k, way / (2 * k), "--", color="gray", linewidth=1, label="bound for ISTA")
figure.axes[0].plot(k, 2 * way / (k + 1) ** 2, "-.", color="gray", label="bound for FISTA")
for axes, label in zip(figure.axes, ("objective − minimum", "duality gap"), strict=True):
    axes.set(xlabel="iteration", ylabel=label, xscale="log", yscale="log", ylim=(1e-5, 60))
    axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** Both scales are logarithmic, so powers of $k$ are straight lines. Both solvers
# keep their promise with room to spare: after 20 iterations ISTA is 8 times closer than its bound,
# FISTA 5 times. Up to fifty iterations ISTA runs almost parallel to its bound; once the set of
# atoms in use has settled, both become much faster than promised. Late in its course FISTA
# ripples: momentum overshoots, and the objective may rise for a while (problem 2). The gap on the
# right lies well above the true distance on the left, which is the price of not knowing the
# minimum. From here on we use `solvers.fista`, which is yours, with a look at the gap in each step.
#
# ## 5. Does it denoise?
#
# How many atoms enter depends on $\lambda$. If $\lambda \ge \lVert \mathbf D^\top \mathbf y
# \rVert_\infty$, the zero code satisfies the KKT conditions. So $\lambda = 3\sigma$ is lesson
# 01's rule again: an atom of length 1 has correlation $\mathcal N(0, \sigma^2)$ with the noise.
# We follow one patch, the edge of the collar, from large to small $\lambda$.

# %%
lams = torch.linspace(24, 0.5, 60) * sigma
path, codes = [], None
for value in lams.tolist():
    codes, _ = solvers.fista(patch, D, value, tolerance=1e-4, initial=codes)
    path.append(codes[:, 0])
path = torch.stack(path)
figure = figures.new_figure(6.5, 3)
figure.axes[0].plot(lams / sigma, path[:, :63], color=figures.COLOURS[5], linewidth=1)
figure.axes[0].plot(lams / sigma, path[:, 63:], color=figures.COLOURS[1], linewidth=1)
figure.axes[0].axvline(3, color="black", linestyle=":")
figure.axes[0].set(xlabel="λ / σ", ylabel="code", title="waves blue, edges orange")
figure

# %% [markdown]
# **What to notice.** Read from right to left. Each code is zero until $\lambda$ falls to its
# correlation with what the others leave. An edge comes first and carries nearly everything; some
# edges and waves correct it; below $3\sigma$ (dotted) the noise comes in. And the large code
# *grows* by as much as $\lambda$ falls: at large $\lambda$ it is far too small. To keep noise out
# we want a large $\lambda$, to be unbiased a small one.
#
# ### Exercise 7: refit
#
# Keep ISTA's *choice* of atoms and forget its sizes: minimise the fit alone over codes with the
# same zeros. The prox of "these entries are zero" is to set them to zero. So the loop is ISTA's,
# with another prox: a gradient step of the given `step`, then the zeros again.
#
# *Expect* the curves of ℓ1 and of its refit to swap places below as $\lambda$ grows.
#
# <details><summary>Hint</summary>
#
# `codes != 0` at the start is a mask for the rest.
# </details>


# %%
def refit(
    patches: Tensor, dictionary: Tensor, codes: Tensor, step: float, iterations: int
) -> Tensor:
    """Codes (K, N) that fit the patches (m, N) better and have the zeros of ``codes``."""
    ### BEGIN SOLUTION
    support = (codes != 0).to(codes)
    for _ in range(iterations):
        residual = patches - dictionary @ codes
        codes = support * (codes + step * dictionary.T @ residual)
    return codes
    ### END SOLUTION


refit = check("ista.refit", refit)

# %%
def decibels(estimate: Tensor, target: Tensor = clean) -> float:
    """PSNR of the estimate, clipped to [0, 1]."""
    return psnr(estimate.clamp(0, 1), target).item()


def denoise(image: Tensor, dictionary: Tensor, lam: float, steps: int = 40) -> tuple[Tensor, ...]:
    """Estimates from ℓ1 codes and from refitted ones, and the mean number of atoms per pixel."""
    centred, means = centre(extract_patches(image, 8))
    sparse, _ = solvers.fista(centred[0], dictionary, lam, max_iterations=30)
    fitted = refit(centred[0], dictionary, sparse, 1 / lipschitz(dictionary), steps)
    used = (sparse != 0).float().sum(dim=0).expand(1, 64, -1)
    stacks = (dictionary @ sparse + means, dictionary @ fitted + means, used)
    return tuple(overlap_average(stack, image.shape[-2:], 8) for stack in stacks)


# %%
lens = (..., slice(20, 76), slice(48, 104))  # a small part, so that this stays quick
factors = [1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 3.5]
curves: dict[str, list[float]] = {"ℓ1": [], "ℓ1, refitted": [], "hard threshold (lesson 01)": []}
for factor in factors:
    plain, fitted, _ = denoise(noisy[lens], D, factor * sigma)
    hard = lesson_01.dct_denoise(noisy[lens], factor * sigma, 8, 1)
    for curve, estimate in zip(curves.values(), (plain, fitted, hard), strict=True):
        curve.append(decibels(estimate, clean[lens]))
figure = figures.new_figure(6.5, 3.2)
for (name, curve), style in zip(curves.items(), ("o-", "s--", "^:"), strict=True):
    figure.axes[0].plot(factors, curve, style, label=name)
figure.axes[0].set(xlabel="λ / σ, or threshold / σ", ylabel="PSNR in dB")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** $\ell_1$ codes have to compromise: their best $\lambda$ lets noise in and
# shrinks the picture, both moderately. The refit separates the two tasks. Now $\lambda$ only
# chooses atoms, and the rule $3\sigma$ is right again. At small $\lambda$ the refit is worse: it
# then fits the noise with all the atoms that came in.

# %% [markdown]
# ## Results: against lesson 01
#
# All methods see the same noise and average all patches with equal weights. The hard threshold
# of lesson 01 gets the best of three values, $\ell_1$ without refit the $\lambda$ that suits it,
# and the refit keeps to the rule. To see what the edges are worth, we also try a dictionary of
# 255 waves of finer frequencies.

# %% tags=["nbval-check-output"]
plain = denoise(noisy, D, 1.6 * sigma, steps=0)[0]
_, waved, _ = denoise(noisy, dct_dictionary(8, 256)[:, 1:], 3 * sigma)
_, fitted, used = denoise(noisy, D, 3 * sigma)
trials = {t: lesson_01.dct_denoise(noisy, t * sigma, 8, 1) for t in (2.4, 2.7, 3.0)}
best = max(trials, key=lambda t: decibels(trials[t]))
rows = {"noisy": noisy, f"63 waves, hard threshold {best} σ (lesson 01)": trials[best],
        "waves and edges, ℓ1, λ = 1.6 σ": plain, "255 waves, ℓ1 refitted, λ = 3 σ": waved,
        "waves and edges, ℓ1 refitted, λ = 3 σ": fitted}
for name, image in rows.items():
    print(f"{name:46s}{decibels(image):5.1f} dB")
margin = decibels(fitted) - decibels(trials[best])
print(f"waves and edges, refitted, against lesson 01: {margin:+.1f} dB")
assert margin > 0.3, "edges must beat the best hard threshold of waves by 0.3 dB"

# %% tags=["nbsphinx-thumbnail"]
shown = {figures.psnr_title("lesson 01", trials[best], clean): trials[best],
         figures.psnr_title("waves and edges", fitted, clean): fitted,
         "clean": clean, "atoms per patch: white is 10": used / 10}
figures.show_images(shown)

# %% [markdown]
# **What to notice.** The ripples beside the profile and along the camera are gone. In exchange the
# cheek looks cut from paper: where light fades slowly, edges are the wrong atoms. The map on the
# right says where atoms went: hardly any to the sky and the coat, many to the profile and the
# camera.
#
# The table is honest about the reasons. $\ell_1$ alone loses to lesson 01 in spite of its edges:
# that is the bias. Refitted, 255 waves do no better than 63 with a threshold: *more* atoms are not
# the point. *Other* atoms are. (Thirty iterations of FISTA do not reach the minimum, but twice as
# many change the last row by less than 0.01 dB.)
#
# Choose $\lambda$. Where does the noise come in, and what is the last thing to disappear?


# %%
def draw(lam: float):
    plain, fitted, used = denoise(noisy[lens], D, lam * sigma)
    target = clean[lens]
    shown = {figures.psnr_title("ℓ1", plain, target): plain,
             figures.psnr_title("refitted", fitted, target): fitted,
             "clean": target, "atoms per patch: white is 10": used / 10}
    return figures.show_images(shown)


widgets.explore(draw, lam=[(f"{t} σ", t) for t in (3.0, 1.0, 1.5, 2.0, 2.5, 3.5, 4.5, 6.0, 10.0)])

# %% [markdown]
# ## What breaks
#
# **A coherent dictionary.** The more edges, the more alike they are: $L$ grows, the steps $1/L$
# shrink, and ISTA crawls. Lesson 04 learns the steps instead.
#
# **The wrong atoms.** A dictionary is a bet on what pictures are made of. Against a hard threshold
# with the best of three values, ours pays for a cup of coffee and an astronaut, makes no
# difference on bricks, and loses on grass:

# %% tags=["nbval-check-output"]
for directions in (2, 8, 32):
    atoms = torch.cat([waves, straight_edges(8, directions)], dim=1)
    _, history = solvers.ista(few, atoms, lam, max_iterations=100)
    print(f"{directions:2d} directions: L = {lipschitz(atoms):.0f}, and the duality gap "
          f"after 100 iterations is {history.residual[-1]:.1%} of the objective")
for name in ("coffee", "astronaut", "brick", "grass"):
    target = data.sample(name, size=96)
    version = GaussianNoise(sigma)(target, name)
    edges = decibels(denoise(version, D, 3 * sigma)[1], target)
    hard = max(decibels(lesson_01.dct_denoise(version, t * sigma, 8, 1), target)
               for t in (2.4, 2.7, 3.0))
    print(f"{name:9s} lesson 01 {hard:.1f} dB, waves and edges {edges:.1f} dB")

# %% [markdown]
# **The choice of λ.** It came from σ, and σ was given. A network can learn a threshold for every
# atom and every step: the $\Lambda_k$ of eq. 3.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("02")

# %% [markdown]
# ## Problems
#
# **1. Steps that are too long.** Prove that for $\lambda = 0$ steps longer than $2/L$ carry almost
# every start away from the minimum. Then explain an oddity. Solve the collar patch of section 4,
# disturb its code by a millionth, and go on: ISTA comes back to the solution even with steps of
# $16/L$. From zero it explodes with steps of $3/L$.
#
# <details><summary>Solution</summary>
#
# Without a threshold, $\boldsymbol\alpha - \boldsymbol\alpha^*$ is multiplied by $\mathbf I - s
# \mathbf D^\top \mathbf D$ in each step of length $s$. Its part along the eigenvector of $L$ is
# multiplied by $1 - sL$, which is below $-1$ if $s > 2/L$: it grows, and changes its sign each
# time. Only a start without such a part escapes.
#
# Near the solution the threshold protects. Unused atoms with a correlation *below* $\lambda$ stay
# at zero under a small disturbance, those in use keep their signs, and the shrinking cancels in the
# difference. What remains is the same argument for the columns $\mathbf D_u$ of the atoms in use.
# These are 7, and alike they are not: $\mathbf D_u^\top \mathbf D_u$ has 2.0 as its largest
# eigenvalue, not 17.7. So the limit is $17.6/L$. From zero, the first steps wake many atoms, and
# these have the large $L$.
#
# ```python
# y, atoms = patch.double(), D.double()
# solution, _ = solvers.fista(y, atoms, lam, tolerance=1e-12, max_iterations=20_000)
# L_used = float(torch.linalg.matrix_norm(atoms[:, solution[:, 0] != 0], ord=2)) ** 2
# print(f"L = {L:.1f}, of the {(solution != 0).sum()} atoms in use {L_used:.1f}")
# near = solution + 1e-6 * torch.randn_like(solution)
# for step, start, returns in ((3 / L, 0 * near, False), (16 / L, near, True),
#                              (1.9 / L_used, near, True), (2.1 / L_used, near, False)):
#     codes = start
#     for _ in range(300):
#         codes = soft_threshold(codes + step * atoms.T @ (y - atoms @ codes), step * lam)
#     assert bool((codes - solution).norm() < 1e-5) == returns
# ```
#
# </details>
#
# **2. Ripples.** Momentum that was gathered on a long way down carries FISTA past the minimum. Take
# it away when it does harm: where the objective rises, set $t = 1$ and $\boldsymbol\beta =
# \boldsymbol\alpha$. How many iterations does that save on the way to $10^{-3}$, and to $10^{-6}$?
#
# <details><summary>Solution</summary>
#
# None, and nearly half of them: 118 both times, then 214 in place of 385. Ripples come late, when
# the atoms in use have settled and the objective is a bowl; before, there is nothing to restart.
# (B. O'Donoghue, E. Candès, *Adaptive restart for accelerated gradient schemes*, 2015.)
#
# ```python
# def iterations_to(distance: float, restart: bool) -> int:
#     codes = ahead = torch.zeros_like(optimum)
#     t, before = 1.0, math.inf
#     for k in range(1, 2000):
#         codes, ahead, t = fista_step(few.double(), D.double(), lam, 1 / L, codes, ahead, t)
#         value = objective(few.double(), D.double(), codes, lam).item()
#         if value < minimum + distance:
#             break
#         if restart and value > before:
#             ahead, t = codes, 1.0
#         before = value
#     return k
#
# for distance in (1e-3, 1e-6):
#     counts = [iterations_to(distance, restart) for restart in (False, True)]
#     print(f"to {distance:.0e}: {counts[0]} iterations, with restarts {counts[1]}")
# assert counts[1] < 0.7 * counts[0]
# ```
#
# </details>
#
# ## Further reading
#
# - R. Tibshirani, *Regression shrinkage and selection via the lasso*, 1996.
# - I. Daubechies, M. Defrise, C. De Mol, *An iterative thresholding algorithm for linear inverse
#   problems with a sparsity constraint*, 2004: ISTA.
# - A. Beck, M. Teboulle, *A fast iterative shrinkage-thresholding algorithm for linear inverse
#   problems*, 2009: FISTA, and both guarantees.
# - J. Mairal, F. Bach, J. Ponce, *Sparse modeling for image and vision processing*, 2014: the long
#   version of this lesson and the next.
#
# **Next:** [03 · Learning a dictionary](03_dictionary_learning.ipynb) does not bet: it learns the
# atoms from the noisy photograph itself.
