# %% [markdown]
# # 07 · The group lasso: similar patches choose their atoms together
#
# Lesson 06 found the patches that resemble this one, and filtered them together in a fixed basis.
# Lessons 02 and 03 coded each patch alone, in a dictionary that suits the picture. This lesson does
# both: similar patches, a learned dictionary, and one rule that ties them together. They may use
# the atoms as they like, but they must agree on *which*.
#
# **You will be able to**
#
# - write joint sparsity as a norm, and derive and check its proximal operator;
# - say how large λ must be for a group of $n$ patches, and why agreement makes it smaller;
# - run ISTA on groups, and prove from the optimality conditions that it has arrived;
# - measure that groups choose their atoms more reliably than single patches;
# - beat the lasso with its own dictionary and its own rule, and spoil it with wrong groups.
#
# **Before you start**
#
# - **Time:** 60 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 02 (the lasso, its prox, its KKT conditions) and 06 (block matching).
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, ECCV 2020, eq. 4, 9 and 10, and Figure 2. The
#   group lasso is by Yuan and Lin, 2006; LSSC, the denoiser, by Mairal and others, 2009.
# - **Letters:** the table in lesson 00.

# %%
# %matplotlib inline
import math

import torch
from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check, lesson_02, lesson_06
from lessons_lib.ops import dictionary as dictionaries
from lessons_lib.ops import patches as pieces
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.ops.similarity import block_matching
from lessons_lib.solvers import fista, group_ista
from lessons_lib.viz import figures, widgets

torch.set_num_threads(1)  # sums in one order, and no waiting between many small steps

# %% [markdown]
# ## 1. Can one noisy patch know its atoms?
#
# Photograph the same wall twice. The noise changes and the wall does not, so each patch should get
# the same atoms both times. Does it? Take the wall of lesson 03 with two draws of the noise, a
# dictionary learned from the first, and the lasso with lesson 03's λ. *Agreement* of two codes is
# the number of atoms in both over the number of atoms in either (intersection over union): 1 for
# equal choices.
# (Without SPAMS, the dictionary and your numbers differ a little from those in the text.)


# %%
def learn(noisy: Tensor, budget: int = 4096) -> Tensor:
    """144 atoms (81, 144), learned from a noisy image as in lesson 03."""
    patches, _ = pieces.centre(pieces.extract_patches(noisy, 9))
    chosen = torch.randperm(patches.shape[2], generator=torch.Generator().manual_seed(0))[:budget]
    lam, start = sigma * math.sqrt(2 * math.log(144)), dictionaries.dct_dictionary(9, 144)
    return dictionaries.learn_dictionary(
        patches[0][:, chosen], 144, lam, iterations=budget // 256, initial=start
    )


def agreement(first: Tensor, second: Tensor) -> float:
    """Mean share of common atoms of two sets of codes, along the axis before the last."""
    both, either = (first != 0) & (second != 0), (first != 0) | (second != 0)
    both, either = both.sum(dim=-2), either.sum(dim=-2)
    return float((both / either)[either > 0].mean())


# %%
sigma = 25 / 255
clean = data.sample("brick", size=96)
noisy, again = (GaussianNoise(sigma, seed)(clean, "brick") for seed in (0, 1))
D = learn(noisy)
X, Y, Y_again = (
    pieces.centre(pieces.extract_patches(z, 9)[0])[0] for z in (clean, noisy, again)
)
lam = sigma * math.sqrt(2 * math.log(144))
codes, codes_again = (fista(z[:, ::7], D, lam, max_iterations=100)[0] for z in (Y, Y_again))
print(f"lasso, λ = {lam / sigma:.2f} σ: {(codes != 0).sum(dim=0).float().mean():.1f} atoms a patch")
again_chosen = ((codes != 0) & (codes_again != 0)).sum() / (codes != 0).sum()
print(f"of the atoms chosen in the first photograph, chosen again: {again_chosen:.0%}")
print(f"agreement of the two photographs: {agreement(codes, codes_again):.2f}")

# %% [markdown]
# Hardly more than one atom in three is chosen again. The agreement is lower still, since it also
# counts what only the second photograph chose. This is not the lasso's fault: the atoms of a
# learned dictionary resemble each other (lesson 03), and noise decides between neighbours. But a
# wall has many patches that want the same atoms. Let them vote.
#
# Put the codes of $n$ similar patches side by side into a matrix $\mathbf A$ ($K \times n$). The
# lasso wants few non-zero *entries*. We want few non-zero *rows*: an atom that one patch uses
# should be cheap for the others. GroupSC eq. 4 measures that by
#
# $$ \lVert \mathbf A \rVert_{1,2} = \sum_{j=1}^{K} \lVert \mathbf A^j \rVert_2 , $$
#
# where $\mathbf A^j$ is row $j$. It is an $\ell_1$ norm, which makes zeros, of $\ell_2$ norms,
# which do not.
#
# *Toy example.* Two patches and two atoms, with the coefficients 3 and 4. In one row,
# $\begin{pmatrix} 3 & 4 \\ 0 & 0 \end{pmatrix}$, they cost $\sqrt{3^2 + 4^2} = 5$; in two rows,
# $\begin{pmatrix} 3 & 0 \\ 0 & 4 \end{pmatrix}$, they cost $3 + 4 = 7$. The lasso charges 7 for
# both.
#
# ### Exercise 1: the norm
#
# Compute $\lVert \mathbf A \rVert_{1,2}$ of the codes of one group, $(K, n)$.
#
# *Expect* 5 and 7.
#
# <details><summary>Hint</summary>
#
# `codes.norm(dim=...)`: the axis you name is the one that disappears.
# </details>


# %% tags=["nbval-check-output"]
def l12_norm(codes: Tensor) -> Tensor:
    """Sum of the lengths of the rows, (K, n) -> a number."""
    ### BEGIN SOLUTION
    return codes.norm(dim=1).sum()
    ### END SOLUTION


l12_norm = check("group_lasso.norm", l12_norm)
for toy in ([[3.0, 4.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 4.0]]):
    print(toy, "costs", l12_norm(torch.tensor(toy)).item())

# %% [markdown]
# ## 2. What is the prox of a row?
#
# As in lesson 02, $\mathbf Z$ is given, and we need the minimiser over $\mathbf U$ of $\frac12
# \lVert \mathbf U - \mathbf Z \rVert^2 + \lambda \lVert \mathbf U \rVert_{1,2}$. Both parts are
# sums over rows, so each row is a problem of its own: find $\mathbf u$ near $\mathbf z$ that is
# short.
#
# - Among all $\mathbf u$ of a given length $s$, the nearest to $\mathbf z$ points in its direction,
#   $\mathbf u = s\, \mathbf z / \lVert \mathbf z \rVert$. So only the length is to be found.
# - It minimises $\frac12 (\lVert \mathbf z \rVert - s)^2 + \lambda s$ over $s \ge 0$, and that is
#   the problem of lesson 02 for the number $\lVert \mathbf z \rVert$: $s = \max(\lVert \mathbf z
#   \rVert - \lambda, 0)$.
#
# Together, this is the paper's Lemma 1 (eq. 10), soft thresholding of lengths:
#
# $$ \mathbf U^j = \max\Bigl(1 - \frac{\lambda}{\lVert \mathbf Z^j \rVert_2},\, 0\Bigr)\,
#    \mathbf Z^j . $$
#
# (The lemma has the two letters the other way round.)
#
# *Toy example.* The row $(3, 4)$ has length 5. With $\lambda = 1$ it keeps $\frac45$ of itself,
# $(2.4, 3.2)$. The row $(0.3, 0.4)$ has length 0.5, and nothing of it is left.
#
# ### Exercise 2: group thresholding
#
# Write it for one group $(K, n)$ or many $(R, K, n)$: rows always run along the last axis.
#
# *Expect* the arrows in the figure below.
#
# <details><summary>Hint</summary>
#
# `norm(dim=-1, keepdim=True)` has one number per row. A row of zeros must not divide by zero:
# `clamp_min` with something tiny.
# </details>


# %% tags=["nbval-check-output"]
def group_threshold(z: Tensor, threshold: float) -> Tensor:
    """Shorten every row, (..., K, n) -> same shape."""
    ### BEGIN SOLUTION
    length = z.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return z * (1 - threshold / length).clamp_min(0)
    ### END SOLUTION


group_threshold = check("group_lasso.prox", group_threshold)
toy = group_threshold(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
print([[round(value, 3) for value in row] for row in toy.tolist()])

# %% [markdown]
# **Predict.** An atom has the coefficients $(a, b)$ in two patches. Which pairs does your function
# set to zero, with λ = 1?


# %%
def dropped() -> tuple[str, figures.Figure]:
    plane = torch.cartesian_prod(*[torch.linspace(-1.5, 1.5, 201)] * 2)
    zero = (group_threshold(plane, 1.0) == 0).all(dim=1)
    figure = figures.new_figure(3, 3)
    figure.axes[0].plot(*plane[zero].T, ",", color=figures.COLOURS[0])
    figure.axes[0].set(aspect="equal", xlabel="a", ylabel="b", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    area = zero.float().mean().item() * 9
    shapes = {"a": 4.0, "b": 2.0, "c": math.pi}  # area of a square, a diamond, a disc
    return min(shapes, key=lambda key: abs(shapes[key] - area)), figure


widgets.predict({"a": "a square", "b": "a diamond, a square on its tip", "c": "a disc"}, dropped)

# %% [markdown]
# ### Exercise 3: agree on the atoms, and be free to leave some out
#
# Patches that are alike need not be equal: an atom that most of them use may be wrong for a few.
# Two penalties together say so,
#
# $$ \lambda_1 \sum_{j, i} \lvert u_{ji} \rvert
#    + \lambda_2 \sum_j \lVert \mathbf U^j \rVert_2 , $$
#
# one for every entry, and one for every row. Derive the proximal operator of their sum, and write
# it for one group $(K, n)$ or many $(R, K, n)$. It has a closed form.
#
# *Expect* soft thresholding with $\lambda_2 = 0$, and exercise 2 with $\lambda_1 = 0$.
#
# <details><summary>Hint</summary>
#
# A row is a problem of its own again. Suppose that its solution $\mathbf u$ is not 0, and set the
# derivative with respect to one entry $u_i \ne 0$ to zero. Which sign has $u_i$? Collect what
# multiplies it. What must hold where $u_i = 0$?
# </details>


# %%
def sparse_group_threshold(z: Tensor, entry: float, row: float) -> Tensor:
    """Prox of λ₁ = entry and λ₂ = row, (..., K, n) -> same shape."""
    ### BEGIN SOLUTION
    # For u_i ≠ 0: u_i (1 + λ₂/‖u‖) = z_i − λ₁ sign z_i, so u lies along the soft-thresholded row.
    return group_threshold(soft_threshold(z, entry), row)
    ### END SOLUTION


sparse_group_threshold = check("group_lasso.sparse_prox", sparse_group_threshold)

# %%
angles = (torch.arange(16) + 0.5) * math.pi / 8
points = torch.cat([r * torch.stack([angles.cos(), angles.sin()], dim=1) for r in (0.8, 1.7, 2.6)])
trial = torch.cartesian_prod(*[torch.linspace(-3, 3, 301)] * 2)
figure = figures.new_figure(9, 3.2, columns=3)
cases = {"lasso: entry by entry": (1.0, 0.0), "group: as a row": (0.0, 1.0), "both": (0.5, 0.5)}
for axes, (title, (entry, row)) in zip(figure.axes, cases.items(), strict=True):
    penalty = entry * trial.norm(p=1, dim=1) + row * trial.norm(dim=1)
    found = [(((trial - z) ** 2).sum(dim=1) / 2 + penalty).argmin() for z in points]
    after = sparse_group_threshold(points, entry, row)
    assert (trial[torch.stack(found)] - after).abs().max() < 0.03, "brute force must agree"
    axes.quiver(*points.T, *(after - points).T, angles="xy", scale_units="xy", scale=1,
                width=0.005, color="0.6")
    axes.plot(*after.T, "o", markersize=4, color=figures.COLOURS[1])
    axes.set(title=title, aspect="equal", xlabel="patch 1", ylabel="patch 2")
figure

# %% [markdown]
# **What to notice.** Each arrow starts at the coefficients of one atom in two patches and ends,
# with a dot, at their prox with λ = 1; on the right each penalty has half of it. (Brute force over
# 90,601 points agrees.) On the left many dots lie on the axes: the atom is kept for one patch and
# dropped for the other. In the middle all
# arrows point to the origin, and what does not arrive there stays off the axes: kept for both, or
# dropped for both. The region that is dropped is a disc now, not a square. On the right both
# happen: weak rows are dropped, and of those that are kept, weak entries. Problem 1 asks what that
# is good for; the lesson goes on with groups that agree altogether.
#
# ## 3. How large is λ for a group?
#
# GroupSC eq. 9 sums a penalty $\lambda_i \lVert \mathbf A_i \rVert_{1,2}$ over all patches $i$,
# where $\mathbf A_i$ holds the codes of the group $S_i$ and $\lambda_i = \lambda / \sqrt{|S_i|}$.
# If the $n$ patches of a group have this group in common, it is counted $n$ times, and $n \lambda /
# \sqrt n = \lambda \sqrt n$. For one group, then,
#
# $$ \min_{\mathbf A}\ \tfrac12 \lVert \mathbf Y - \mathbf D \mathbf A \rVert_F^2
#    + \lambda \sqrt n\, \lVert \mathbf A \rVert_{1,2} . $$
#
# The $\sqrt n$ makes sense. Noise in the correlations $\mathbf d_j^\top \mathbf Y$ of an atom with
# $n$ patches is a row of $n$ numbers of size σ, of length about $\sigma \sqrt n$. So λ is to be
# compared with the *root mean square* of a row, $\lVert \cdot \rVert / \sqrt n$. For $n = 1$ that
# is a magnitude, and we are back at the lasso.
#
# When is everything zero? When no atom is worth starting, that is
#
# $$ \lambda \ge \lambda_{\max}
#    = \max_j\ \lVert (\mathbf D^\top \mathbf Y)^j \rVert_2 / \sqrt n . $$
#
# (This is the dual norm of $\sqrt n \lVert \cdot \rVert_{1,2}$ at $\mathbf D^\top \mathbf Y$; the
# optimality conditions in section 4 will say why.)
#
# ### Exercise 4: the largest λ
#
# Return $\lambda_{\max}$ of one group of patches, $(m, n)$.
#
# *Expect* pure noise to have a $\lambda_{\max}$ that falls with $n$.
#
# <details><summary>Hint</summary>
#
# Correlations, lengths of rows, the largest, $\sqrt n$. How many columns has a patch matrix?
# </details>


# %%
def largest_lambda(patches: Tensor, dictionary: Tensor) -> float:
    """Smallest λ with no atom in use, for one group (m, n) and (m, K)."""
    ### BEGIN SOLUTION
    lengths = (dictionary.T @ patches).norm(dim=1)
    return lengths.max().item() / math.sqrt(patches.shape[1])
    ### END SOLUTION


largest_lambda = check("group_lasso.largest_lambda", largest_lambda)

# %% [markdown]
# **Predict.** Take 64 patches of pure noise instead of one. What happens to $\lambda_{\max}$, the
# threshold that it takes to keep all atoms silent?


# %%
def silence(dictionary=D) -> tuple[str, str]:
    noise = torch.randn(100, 81, 64, generator=torch.Generator().manual_seed(1))
    noise = pieces.centre(noise)[0]
    one, many = (
        sum(largest_lambda(group[:, :n], dictionary) for group in noise) / 100 for n in (1, 64)
    )
    right = "a" if many > 4 * one else "b" if many > 0.8 * one else "c"
    return right, f"On average {one:.2f} σ for one patch, {many:.2f} σ for 64."


widgets.predict({"a": "it grows, as there is more noise", "b": "it stays about the same",
                 "c": "it becomes much smaller"}, silence)

# %%
generator = torch.Generator().manual_seed(0)
sizes, rule = (1, 2, 4, 8, 16, 32, 64), {}
figure = figures.new_figure(6, 3.2)
for n in sizes:
    groups = pieces.centre(torch.randn(300, 81, n, generator=generator))[0]
    largest = torch.tensor([largest_lambda(group, D) for group in groups])
    rule[n] = float(largest.quantile(0.8))
    figure.axes[0].plot([str(n)] * 300, largest, ".", color="0.75", markersize=3)
values = list(rule.values())
figure.axes[0].plot([str(n) for n in sizes], values, "o-", label="exceeded by one group in five")
figure.axes[0].axhline(1, color="black", linestyle=":", label="σ")
figure.axes[0].set(xlabel="patches in a group of pure noise", ylabel="largest λ / σ", ylim=(0, 5))
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** This is the whole point of groups. One noise patch needs λ = 3σ to be kept
# silent: some atom among 144 always looks like it. It takes only 1.5σ for 16, since it would have
# to look like all of them. What the noise does at random averages out, and what the picture does
# alike adds up: a coefficient of 2σ is hopeless in a single patch, and safe in a group that shares
# it. From here on, λ is this blue curve, whatever the size of the group: in pure noise, four groups
# of five come out empty.
#
# ## 4. ISTA on groups
#
# The smooth part has not changed, so neither has the recipe: a gradient step, then the prox,
#
# $$ \mathbf A \leftarrow \operatorname{prox}_{\eta\, \lambda \sqrt n \lVert\cdot\rVert_{1,2}}
#    \bigl[\mathbf A + \eta\, \mathbf D^\top (\mathbf Y - \mathbf D \mathbf A)\bigr], \qquad
#    \eta \le 1 / \lVert \mathbf D \rVert^2 . $$
#
# ### Exercise 5: one step
#
# Take one step for $R$ groups at once: patches $(R, m, n)$, codes $(R, K, n)$.
#
# *Expect* with $n = 1$ a step of the lasso.
#
# <details><summary>Hint</summary>
#
# `dictionary @ codes` works on all groups at once. In the threshold there are three factors.
# </details>


# %%
def group_step(
    patches: Tensor, dictionary: Tensor, codes: Tensor, lam: float, step: float
) -> Tensor:
    """One step of ISTA, (R, m, n), (m, K), (R, K, n) -> (R, K, n)."""
    ### BEGIN SOLUTION
    gradient = dictionary.T @ (dictionary @ codes - patches)
    threshold = step * lam * math.sqrt(patches.shape[-1])
    return group_threshold(codes - step * gradient, threshold)
    ### END SOLUTION


group_step = check("group_lasso.step", group_step)


# %%
def code_groups(patches: Tensor, dictionary: Tensor, lam: float, steps: int) -> Tensor:
    """FISTA on groups: the momentum of lesson 02 around your step, (R, m, n) -> (R, K, n)."""
    codes = patches.new_zeros(len(patches), dictionary.shape[1], patches.shape[2])
    step = 1 / dictionaries.spectral_norm(dictionary) ** 2
    ahead, t = codes, 1.0
    for _ in range(steps):
        before, codes = codes, group_step(patches, dictionary, ahead, lam, step)
        t, old = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
        ahead = codes + (old - 1) / t * (codes - before)
    return codes


numbers, _ = block_matching(noisy, 9, 39, 16, stride=6)
groups = Y[:, numbers[0]].permute(2, 0, 1)  # (R, 81, 16)
A = code_groups(groups, D, rule[16] * sigma, 60)
print(f"{len(groups)} groups of 16 patches: {(A != 0).any(dim=2).sum(dim=1).float().mean():.1f} "
      "atoms each, on average")

# %% [markdown]
# Has it arrived? Zero is in the subdifferential of the objective if and only if, with $\mathbf E =
# \mathbf Y - \mathbf D \mathbf A$ and for each atom,
#
# $$ (\mathbf D^\top \mathbf E)^j = \lambda \sqrt n\, \frac{\mathbf A^j}{\lVert \mathbf A^j \rVert}
#    \text{ if } \mathbf A^j \neq 0, \qquad
#    \lVert (\mathbf D^\top \mathbf E)^j \rVert \le \lambda \sqrt n
#    \text{ if } \mathbf A^j = 0 . $$
#
# These are the KKT conditions of lesson 02 with rows for entries: an atom in use is correlated with
# what is left by exactly $\lambda$ (root mean square), in the direction of its own codes. The
# second condition at $\mathbf A = 0$ is $\lambda_{\max}$.

# %%
busy = int((A != 0).any(dim=2).sum(dim=1).argmax())
lam16, group = rule[16] * sigma, groups[busy]
figure = figures.new_figure(8.5, 2.8, columns=2)
for axes, steps in zip(figure.axes, (10, 400), strict=True):
    found = code_groups(group[None], D, lam16, steps)[0]
    correlation, used = D.T @ (group - D @ found) / (4 * lam16), (found != 0).any(dim=1)
    cosine = torch.cosine_similarity(correlation[used], found[used], dim=1).min()
    lengths = correlation.norm(dim=1)
    axes.plot(lengths.where(~used, math.nan), ".", markersize=4, label="unused")
    axes.plot(lengths.where(used, math.nan), "D", markersize=5, label="in use")
    axes.axhspan(0, 1, color="black", alpha=0.08)
    axes.set(xlabel="atom", title=f"{steps} steps, smallest cosine {cosine:.3f}", ylim=(0, 1.6))
figure.axes[0].set_ylabel("correlation / λ")
figure.axes[1].legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** After 400 steps the diamonds lie on the line, the dots below it, and the
# cosine says that the directions agree: this code is optimal, and the picture is the proof. The
# library's `group_ista` takes groups of any size, as a list of numbers. It counts each group once,
# with $\lambda/\sqrt n$, so to have $\lambda\sqrt n$ we hand it $n \lambda$.

# %% tags=["nbval-check-output"]
few = groups[[busy, 0]].double()
together, names = few.permute(1, 0, 2).flatten(1), torch.arange(2).repeat_interleave(16)
theirs, history = group_ista(together, D.double(), 16 * lam16, names, max_iterations=20_000)
ours = code_groups(few, D.double(), lam16, 2000).permute(1, 0, 2).flatten(1)
apart = ((ours - theirs).norm() / theirs.norm()).item()
print(f"your steps and the library's: {apart:.0%} apart")
assert apart < 0.01
assert history.residual[-1] <= 1e-5

# %% [markdown]
# ## 5. Does it help to agree?
#
# First look at the codes of one group, the busiest, with the lasso and with the group lasso, each
# with its own λ. This is Figure 2 of the paper, on a real wall.

# %% tags=["nbsphinx-thumbnail"]
alone = fista(group, D, rule[1] * sigma, max_iterations=300)[0]
joint = code_groups(group[None], D, lam16, 300)[0]
awake = ((alone != 0) | (joint != 0)).any(dim=1)
figure = figures.new_figure(8, 4, columns=2)
for axes, codes, title in zip(figure.axes, (alone, joint), ("lasso", "group lasso"), strict=True):
    shown = codes[awake].where(codes[awake] != 0, math.nan) / sigma
    drawn = axes.imshow(shown, cmap="coolwarm", vmin=-8, vmax=8, aspect="auto",
                        interpolation="nearest")
    rows, entries = int((codes != 0).any(dim=1).sum()), float((codes != 0).sum() / 16)
    axes.set(title=f"{title}: {entries:.1f} atoms a patch, {rows} in all", xlabel="patch",
             xticks=(0, 5, 10, 15))
figure.axes[0].set_ylabel("atom")
figure.colorbar(drawn, ax=figure.axes[1], label="code / σ")
figure

# %% [markdown]
# **What to notice.** White is zero. The lasso's patches look alike and choose apart: most atoms are
# chosen by one or two of them. The group lasso switches whole rows on or off, and within a row the
# sixteen numbers still differ. It gives each patch *more* atoms, and needs fewer in all.
#
# Are they the *right* atoms? On a wall nobody knows, so make patches that we do know: 200 groups,
# each from three atoms of $\mathbf D$ drawn at random, with coefficients of deviation 4σ that
# differ from patch to patch, plus noise.

# %%
print("patches   true atoms found   found atoms that are true")
for n in (1, 4, 16):
    atoms = torch.stack([torch.randperm(144, generator=generator)[:3] for _ in range(200)])
    weights = 4 * sigma * torch.randn(200, 3, n, generator=generator)
    noise, _ = pieces.centre(sigma * torch.randn(200, 81, n, generator=generator))
    made = D[:, atoms].permute(1, 0, 2) @ weights + noise
    found = (code_groups(made, D, rule[n] * sigma, 80) != 0)[:, :, 0]
    true = torch.zeros(200, 144, dtype=torch.bool).scatter_(1, atoms, True)
    recall, precision = ((found & true).sum() / z.sum() for z in (true, found))
    print(f"{n:7d} {recall:17.0%} {precision:23.0%}")
assert recall > 0.9, "16 patches that share three atoms must find them"

# %% [markdown]
# **What to notice.** A single patch misses more than half of its atoms, and more than half of what
# it takes is wrong. Sixteen that vote miss none. They still take too many: the norm leaves the
# right atoms too small (the bias of lesson 02), and atoms that resemble them fill the gap.
#
# Now the wall, photographed twice as in section 1. The groups are those of the first photograph.
# Fewer atoms are easier to agree on, so compare at the same number of atoms: each curve has four
# values of λ, from 0.8 to 1.6 times the rule of section 3.

# %%
curves = {}
for n in (1, 4, 16):
    numbers, _ = block_matching(noisy, 9, 39, n, stride=9)
    for factor in (0.8, 1.0, 1.25, 1.6):
        groups = [z[:, numbers[0]].permute(2, 0, 1) for z in (Y, Y_again)]
        pair = [code_groups(z, D, factor * rule[n] * sigma, 40)[:, :, :1] for z in groups]
        atoms = (pair[0] != 0).sum(dim=1).float().mean().item()
        curves.setdefault(n, []).append((atoms, agreement(*pair)))
figure = figures.new_figure(6, 3.2)
for (n, curve), style in zip(curves.items(), ("o:", "s--", "^-"), strict=True):
    figure.axes[0].plot(*zip(*curve, strict=True), style, label=str(n))
figure.axes[0].set(xlabel="atoms per patch", ylabel="agreement", ylim=(0, None))
figure.axes[0].legend(frameon=False, title="patches in a group")
assert curves[16][2][1] > curves[1][1][1] + 0.05, "more atoms, and more agreement"
figure

# %% [markdown]
# **What to notice.** At the same number of atoms, sixteen patches agree with their second
# photograph far better than one. A small λ spoils it for all, since then everybody adds atoms for
# the noise.
#
# Choose the size of the group and λ. When does the estimate of the first patch come close to the
# clean one?


# %%
def draw(patches: int, factor: float) -> figures.Figure:
    """What becomes of the first patch of the busiest group."""
    numbers = block_matching(noisy, 9, 39, patches, stride=6)[0][0, :, busy]
    found = code_groups(Y[None, :, numbers], D, factor * rule[patches] * sigma, 100)[0]
    x, y, estimate = X[:, numbers[0]], Y[:, numbers[0]], D @ found[:, 0]
    atoms = int((found[:, 0] != 0).sum())
    shown = {}
    for name, z in {"clean": x, "noisy": y, f"{atoms} atoms": estimate}.items():
        off = 255 * (z - x).square().mean().sqrt()
        shown[f"{name}: off by {off:.1f} grey levels"] = 0.5 + z.view(1, 1, 9, 9)
    return figures.show_images(shown, width=8)


widgets.explore(draw, patches=[16, 1, 4, 64], factor=[1.0, 0.5, 0.7, 1.5, 2.0, 3.0])

# %% [markdown]
# ## 6. Does it denoise?
#
# The denoiser is the one of lesson 06 with other insides: match 16 patches to every fourth one,
# code each group, put all its patches back, average. Like any $\ell_1$ method it makes codes too
# small, so we refit as in lesson 02: keep the chosen atoms, forget their sizes. The lasso gets all
# patches, the same dictionary, the same refit, and its own λ from the rule.


# %%
def lasso(noisy: Tensor, dictionary: Tensor, lam: float, refits: int = 20) -> Tensor:
    """Every patch alone, (1, 1, H, W) -> same shape."""
    patches, mean = pieces.centre(pieces.extract_patches(noisy, 9))
    codes, _ = fista(patches[0], dictionary, lam, max_iterations=25)
    step = 1 / lesson_02.lipschitz(dictionary)
    codes = lesson_02.refit(patches[0], dictionary, codes, step, refits)
    return pieces.overlap_average(dictionary @ codes + mean, noisy.shape[-2:], 9)


# %%
def group_lasso(
    noisy: Tensor, dictionary: Tensor, numbers: Tensor, lam: float, refits: int = 20
) -> Tensor:
    """Patches in the groups (1, n, R) that have these numbers, (1, 1, H, W) -> same shape."""
    patches, mean = pieces.centre(pieces.extract_patches(noisy, 9)[0])
    groups = patches[:, numbers[0]].permute(2, 0, 1)
    codes = code_groups(groups, dictionary, lam, 25)
    step = 1 / lesson_02.lipschitz(dictionary)
    codes = lesson_02.refit(groups, dictionary, codes, step, refits)
    estimates = (dictionary @ codes).permute(1, 2, 0) + mean[:, numbers[0]]
    return pieces.group_average(estimates[None], numbers, (noisy.shape[-2], noisy.shape[-1]), 9)


# %%
def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


matched, _ = block_matching(noisy, 9, 39, 16, stride=4)
estimates = {
    "lasso": lasso(noisy, D, rule[1] * sigma),
    "group lasso": group_lasso(noisy, D, matched, rule[16] * sigma),
}
figures.show_images({"noisy": noisy, **estimates}, clean=clean, residual=True, width=9)

# %% [markdown]
# **What to notice.** Same atoms, same rule, same refit. On the bare bricks both say little. The
# difference is at the joints, where many similar atoms compete and each patch alone decides as its
# noise would have it; along a joint, a group decides as one.
#
# ## Results: against the lasso
#
# Three photographs, each with a dictionary learned from its own noisy version. Without the refit,
# both get the better of two values of λ, about half of the rule: that is the plain comparison of
# $\ell_1$ with $\ell_{1,2}$. With the refit both keep to the rule. The last column is lesson 06
# with both its passes.

# %%
print("PSNR in dB  plain: lasso  group   refitted: lasso  group   gain   lesson 06")
for name in ("chelsea", "astronaut", "brick"):
    truth = data.sample(name, size=96)
    seen = GaussianNoise(sigma)(truth, name)
    atoms, numbers = learn(seen), block_matching(seen, 9, 39, 16, stride=4)[0]
    one, many = rule[1] * sigma, rule[16] * sigma
    plain = [[lasso(seen, atoms, f * one, 0) for f in (0.5, 0.65)],
             [group_lasso(seen, atoms, numbers, f * many, 0) for f in (0.5, 0.65)]]
    full = [lasso(seen, atoms, one), group_lasso(seen, atoms, numbers, many)]
    full.append(lesson_06.denoise(seen, sigma, pilot=lesson_06.denoise(seen, sigma)))
    scores = [max(decibels(image, truth) for image in images) for images in plain]
    scores += [decibels(image, truth) for image in full]
    print("{:10s}{:14.2f}{:7.2f}{:18.2f}{:7.2f}{:7s}{:12.2f}".format(
        name, *scores[:4], f"{scores[3] - scores[2]:+7.2f}", scores[4]))
assert scores[3] - scores[2] > 0.25, "on the wall, the last of the table, the gain must be clear"

# %% [markdown]
# **What to notice.** Groups help everywhere: a lot on the wall, a little on the astronaut, hardly
# on the cat. Without the refit they gain as much or more, because a smaller λ also means less
# shrinking. And lesson 06 is still ahead. It has what we left out: a second pass, matched on a
# first estimate, and a mean weighted by trust. What we have in return is one convex problem, with a
# dictionary in it and a λ in it, solved by a loop of simple steps. That is what lesson 08 needs:
# loops can be unrolled, and what they contain can be trained.
#
# ## What breaks

# %%
strangers = matched.clone()
strangers[:, 1:] = torch.randint(88**2, strangers[:, 1:].shape, generator=generator)
cases = {
    "as it should be": (matched, rule[16]),
    "fifteen strangers, drawn at random": (strangers, rule[16]),
    "groups of 4": (matched[:, :4], rule[4]),
    "λ without its √n": (matched, rule[16] / 4),
    "twice the λ": (matched, 2 * rule[16]),
    "four times the λ": (matched, 4 * rule[16]),
}
print(f"{decibels(estimates['lasso'], clean):.2f} dB  the lasso")
for name, (numbers, factor) in cases.items():
    print(f"{decibels(group_lasso(noisy, D, numbers, factor * sigma), clean):.2f} dB  {name}")

# %% [markdown]
# **What to notice.** Strangers do not want the same atoms, and being made to agree costs them two
# decibels and more. Four relatives are less than sixteen. Without its $\sqrt n$, λ is four times
# too small, and all atoms come in. Twice the λ is even better for the wall, which is content with
# few atoms once the refit has undone the shrinking; four times is too much for anybody.
#
# **Hard groups.** The penalty is convex, the loop is smooth enough, and every atom in it could be
# trained. The groups could not. Let the noise of the wall change slowly, from the first photograph
# towards the second, and follow one pixel.

# %%
i = int(block_matching(noisy, 9, 39, 1, stride=6)[0][0, 0, busy])  # the patch of section 4
times, groups_seen, moving, fixed = torch.linspace(0, 0.2, 161), [], [], []
for t in times.tolist():
    patches = pieces.extract_patches(noisy + t * (again - noisy), 9)[0]
    distances = (patches - patches[:, [i]]).square().sum(dim=0)
    groups_seen.append(distances.topk(16, largest=False).indices)
    for numbers, values in ((groups_seen[-1], moving), (groups_seen[0], fixed)):
        centred, mean = pieces.centre(patches[:, numbers])
        codes = code_groups(centred[None], D, rule[16] * sigma, 40)[0]
        values.append(255 * float(D[40] @ codes[:, 0] + mean[0, 0]))
axes = (figure := figures.new_figure(6.5, 2.8)).axes[0]
axes.plot(times, moving, "-", times, fixed, "--")
axes.legend(["matched anew", "the first group, kept"], frameon=False)
axes.set(xlabel="way to the second photograph", ylabel="one pixel, in grey levels")
figure

# %% [markdown]
# **What to notice.** Kept together, a group gives an estimate that changes steadily with its noise.
# Matched anew, the estimate jumps whenever one patch leaves and another comes in. Between two jumps
# there is a derivative, and it says nothing about them: it knows how codes change with the patches,
# not who should be in the group. So nothing in the matching can be learned by gradient descent, not
# even how to measure a distance.
#
# Lesson 08 lets patches belong to a group a little.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("07")

# %% [markdown]
# ## Problems
#
# **Problem 1.** When is it worth having both penalties? Make groups of 16 patches with six true
# atoms, each of which only half of the patches use, code them with the lasso, the group lasso and
# both, and compare the true entries that were found (recall) with the found ones that are true
# (precision). Why can the group lasso's precision not exceed one half here?
#
# <details><summary>Solution</summary>
#
# The group lasso keeps whole rows. Half of the entries of a true row are 0, so that half of what it
# finds is wrong even if it finds the true atoms and no other. With both, an atom comes in because
# the group has it, and a patch may still go without. The loop is that of exercise 5 with another
# prox.
#
# ```python
# g = torch.Generator().manual_seed(1)
# atoms = torch.stack([torch.randperm(144, generator=g)[:6] for _ in range(40)])
# values = 6 * torch.randn(40, 6, 16, generator=g) * (torch.rand(40, 6, 16, generator=g) < 0.5)
# truth = torch.zeros(40, 144, 16).scatter_(1, atoms[:, :, None].expand(40, 6, 16), values)
# Y, eta = D @ truth + torch.randn(40, 81, 16, generator=g), 1 / float(torch.linalg.norm(D, 2)) ** 2
# for name, entry, row in (("lasso", 3, 0), ("group lasso", 0, 3), ("both", 2, 1)):
#     found = torch.zeros_like(truth)
#     for _ in range(100):
#         ahead = found + eta * D.T @ (Y - D @ found)
#         found = sparse_group_threshold(ahead, entry * eta, row * eta * 4)
#     hits = ((found != 0) & (truth != 0)).sum()
#     print(f"{name:12s} recall {hits / (truth != 0).sum():.2f}  "
#           f"precision {hits / (found != 0).sum():.2f}")
# ```
#
# It prints 0.55 and 0.33 for the lasso, 0.89 and 0.39 for the group lasso, and 0.72 and 0.49 for
# both. At larger thresholds each of them is more precise and finds less.
# </details>
#
# **Problem 2.** In the table of results the group lasso gains as much or more before the refit as
# after it. Show why shrinking costs a group less than a single patch: compare how much of a
# coefficient $a$, the same in all $n$ patches, the two proximal operators take away at the λ that
# keeps noise silent.
#
# <details><summary>Solution</summary>
#
# A row $(a, \dots, a)$ has length $\lvert a \rvert \sqrt n$, and the threshold is $\lambda_n
# \sqrt n$. What is left is $1 - \lambda_n \sqrt n / (\lvert a \rvert \sqrt n) = 1 - \lambda_n /
# \lvert a \rvert$ of it, so that every coefficient loses $\lambda_n$, whatever the size of the
# group. But $\lambda_n$ is not the same: section 3 found 3σ for one patch, and 1.5σ for 16.
# Shrinking is a bias, and it is halved.
# </details>
#
# ## Further reading
#
# - M. Yuan, Y. Lin, *Model selection and estimation in regression with grouped variables*, Journal
#   of the Royal Statistical Society B, 2006: the group lasso.
# - J. Mairal, F. Bach, J. Ponce, G. Sapiro, A. Zisserman, *Non-local sparse models for image
#   restoration*, ICCV 2009: LSSC. It clusters the patches, so that each is in one group.
# - J. Tropp, A. Gilbert, M. Strauss, *Algorithms for simultaneous sparse approximation*, Signal
#   Processing, 2006: why signals that share their atoms are easier to decode.
# - F. Bach, R. Jenatton, J. Mairal, G. Obozinski, *Optimization with sparsity-inducing penalties*,
#   2012: norms, dual norms and proximal operators, this one and many more.
