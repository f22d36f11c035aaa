# %% [markdown]
# # 04 · LISTA: learning the steps
#
# ISTA takes hundreds of steps to code a patch, because its step must be safe for any patch
# whatever. Here we stop it after eight, and let examples decide what the eight should do. What
# comes out is the first neural network of this course.
#
# **You will be able to**
#
# - read ISTA as a network with one layer per step, and write it as one;
# - say what the weights $\mathbf C$, $\mathbf D$ and $\Lambda_k$ of GroupSC's eq. 3 can do that
#   ISTA's cannot;
# - compute good weights without any training, and see when that fails;
# - train the network, first to solve the lasso and then to denoise, compare layers with
#   iterations, and break it.
#
# **Before you start**
#
# - **Time:** 60 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 02 (ISTA, FISTA) and 03 (learned dictionaries); gradients.
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, ECCV 2020, §2 (eq. 3). The idea is that of Gregor and
#   LeCun, 2010, the coupled weights are those of Chen et al., 2018, the analytic ones of Liu et
#   al., 2019.

# %%
# %matplotlib inline
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lessons_lib import classical, data, metrics
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check

# %%
from lessons_lib.models import Lista, restore
from lessons_lib.models.lista import ListaConfig
from lessons_lib.ops import dictionary as dictionaries
from lessons_lib.ops import patches as pieces
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.solvers import fista, ista
from lessons_lib.training import DictionaryStart, Optimizer, Run, Stage
from lessons_lib.training.crops import Crops
from lessons_lib.viz import figures

torch.set_num_threads(1)  # sums in one order, and no waiting between many small steps

# %% [markdown]
# ## 1. How many steps does ISTA need?
#
# `Crops` supplies training data: it cuts random pieces out of photographs and adds fresh noise. Of
# our nine samples it keeps two for judging, *camera* and *gravel*. From patches of 8 × 8 pixels of
# the other seven we learn a dictionary of 100 atoms, as in lesson 03 but from *clean* patches.

# %%
sigma, size, p, steps = 25 / 255, 8, 100, 8
lam = 1.5 * sigma
run = Run("lesson-04", "lista", 25, {"patch": size, "atoms": p, "steps": steps},
          dataset="samples", dictionary=DictionaryStart(lam=0.1, patches=20_000))
crops = Crops(run, Stage(crop=size, batch=8000), channels=1)
D = crops.dictionary(size, p)
L = dictionaries.spectral_norm(D) ** 2
_, noisy = crops.batch(0)
patches, _ = pieces.centre(noisy.flatten(1).T)  # (64, 8000)

photographs = {"camera": data.sample("camera")[..., 106:234, 186:314],
               "gravel": data.sample("gravel", size=128)}
seen = {name: GaussianNoise(sigma)(image, name) for name, image in photographs.items()}
unseen, _ = pieces.centre(pieces.extract_patches(seen["camera"], size)[0, :, ::31])

# %% [markdown]
# The task: given a noisy patch, find its lasso code for $\lambda = 1.5\,\sigma$ (lesson 02). The
# answers to compare with come from FISTA, with all the time that it wants. We measure the squared
# distance to them relative to their squared length: at $-10$ dB a tenth is left, at $-20$ dB a
# hundredth.


# %%
def error(codes: Tensor, truth: Tensor) -> float:
    """Squared distance to the truth relative to its squared length, in dB."""
    return 10 * math.log10((codes - truth).square().sum() / truth.square().sum())


solvers, ticks = {"ISTA": ista, "FISTA": fista}, (1, 2, 4, 8, 16, 32, 64)
target, _ = fista(patches, D, lam, tolerance=2e-3)
solution, _ = fista(unseen, D, lam, tolerance=1e-5)
print(f"‖D‖² = {L:.1f}; {(solution != 0).sum(dim=0).float().mean():.1f} atoms per patch")


# %%
def compare(networks: dict[str, Lista], patches: Tensor, truth: Tensor, D: Tensor, lam: float):
    """Error after iterations of the solvers, and after layers of networks."""
    styles = (":", "--", "-o", "-^", "-s", "-d")
    figure = figures.new_figure(6, 3.4)
    curves = {name: [solver(patches, D, lam, max_iterations=k, tolerance=0)[0] for k in ticks]
              for name, solver in solvers.items()}
    curves |= {name: torch.cat(model.encode(patches[None])) for name, model in networks.items()}
    for (name, codes), style in zip(curves.items(), styles, strict=False):
        at = ticks if name in solvers else range(1, steps + 1)
        figure.axes[0].plot(at, [error(z, truth) for z in codes], style, label=name, markersize=4)
    figure.axes[0].set(xscale="log", xticks=ticks, xticklabels=ticks, ylabel="error in dB",
                       xlabel="iterations, or layers")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


compare({}, unseen, solution, D, lam)

# %% [markdown]
# **What to notice.** After eight iterations ISTA has half of the squared error still to
# go, and FISTA does little better. The step $1/L$ is to blame: it has to be safe for the one
# direction in which the atoms agree most, and is far too short for all the others.
#
# ## 2. What may a layer learn?
#
# GroupSC's eq. 3 keeps the form of ISTA and lets go of its numbers:
#
# $$ \boldsymbol\alpha^{(k+1)} = S_{\Lambda_k}\bigl[\boldsymbol\alpha^{(k)} + \mathbf C^\top
#    (\mathbf y - \mathbf D \boldsymbol\alpha^{(k)})\bigr] . $$
#
# $\mathbf D$ says what a code means. $\mathbf C$ says what to do about the part of the patch
# that is not explained yet, and has the shape of $\mathbf D$. $\Lambda_k \in \mathbb R^p$ holds
# one threshold for each atom. For $\mathbf C = \eta\,\mathbf D$ and $\Lambda_k = \eta\lambda$ this
# is ISTA with step $\eta$.
#
# ### Exercise 1: one layer
#
# Write eq. 3 for all patches at once. The thresholds are a column, $(p, 1)$.
#
# *Expect* two numbers below that differ by rounding only: with ISTA's weights, a layer is a step
# of ISTA.
#
# <details><summary>Hint</summary>
#
# One line. `soft_threshold` of lesson 02 is imported, and broadcasts its threshold.
# </details>


# %%
def layer(codes: Tensor, patches: Tensor, C: Tensor, D: Tensor, thresholds: Tensor) -> Tensor:
    """Eq. 3, (p, n), (m, n), (m, p), (m, p), (p, 1) -> (p, n)."""
    ### BEGIN SOLUTION
    return soft_threshold(codes + C.T @ (patches - D @ codes), thresholds)
    ### END SOLUTION


layer = check("lista.layer", layer)
codes = torch.zeros(p, unseen.shape[1])
for _ in range(steps):
    codes = layer(codes, unseen, D / L, D, torch.full((p, 1), lam / L))
theirs, _ = ista(unseen, D, lam, max_iterations=steps, tolerance=0)
print(f"8 layers: {error(codes, solution):.3f} dB, ISTA: {error(theirs, solution):.3f} dB")

# %% [markdown]
# ### Exercise 2: unroll
#
# Several layers in a row, each with weights of its own, are a network of $K$ layers. Its input is
# the patch; unlike in most networks, every layer looks at the input again. Start from codes of
# zero, and return the codes after *every* layer.
#
# *Expect* a tensor of shape (layers, atoms, patches).
#
# <details><summary>Hint</summary>
#
# A loop over `zip(C, thresholds)` calls `layer`; `torch.stack` makes one tensor of a list of them.
# Do not `detach` anything: gradients must find their way back to every weight.
# </details>


# %%
def unroll(patches: Tensor, C: Tensor, D: Tensor, thresholds: Tensor) -> Tensor:
    """Codes after each layer, (m, n), (k, m, p), (m, p), (k, p, 1) -> (k, p, n)."""
    ### BEGIN SOLUTION
    codes = patches.new_zeros(D.shape[1], patches.shape[1])
    found = []
    for weights, threshold in zip(C, thresholds, strict=True):
        codes = layer(codes, patches, weights, D, threshold)
        found.append(codes)
    return torch.stack(found)
    ### END SOLUTION


unroll = check("lista.unroll", unroll)
print(tuple(unroll(unseen, (D / L).repeat(3, 1, 1), D, torch.full((3, p, 1), lam / L)).shape))

# %% [markdown]
# ## 3. What does a layer learn?
#
# *Toy example.* Patches of two pixels, made of two atoms that are only 30 degrees apart; half of
# the coefficients are zero. ISTA is slow here: atoms that agree so much need a short step.
#
# The network is to come as near as possible to the lasso codes $\boldsymbol\alpha^\star$, on
# average over patches:
#
# $$ \min_{\mathbf C, \Lambda}\ \frac1n \sum_i \bigl\|\boldsymbol\alpha_i^{(K)} -
#    \boldsymbol\alpha_i^\star\bigr\|^2 . $$
#
# This is what Gregor and LeCun did. All operations are differentiable nearly everywhere.
#
# ### Exercise 3: one training step
#
# Take one step of gradient descent on `loss(C, thresholds)`, for both weights at once:
# $w \leftarrow w - \text{rate} \cdot \partial\,\text{loss} / \partial w$. A negative threshold
# would make codes *larger*, so stop thresholds at zero. Return new weights, without a history.
#
# *Expect* the loss below to fall to less than a quarter.
#
# <details><summary>Hint</summary>
#
# `free = C.detach().clone().requires_grad_()` makes a weight that wants a gradient;
# `torch.autograd.grad(value, (a, b))` returns the slopes of `value` in `a` and `b`.
# </details>


# %%
def descend(
    loss: Callable[[Tensor, Tensor], Tensor], C: Tensor, thresholds: Tensor, rate: float
) -> tuple[Tensor, Tensor]:
    """One gradient step on loss(C, thresholds); thresholds do not fall below zero."""
    ### BEGIN SOLUTION
    C = C.detach().clone().requires_grad_()
    thresholds = thresholds.detach().clone().requires_grad_()
    slopes = torch.autograd.grad(loss(C, thresholds), (C, thresholds))
    C, thresholds = (C - rate * slopes[0]).detach(), (thresholds - rate * slopes[1]).detach()
    return C, thresholds.clamp_min(0)
    ### END SOLUTION


descend = check("lista.descend", descend)
angles = torch.tensor([15.0, 45.0]).deg2rad()
pair = torch.stack([angles.cos(), angles.sin()])  # two atoms of two pixels
generator = torch.Generator().manual_seed(0)
some = (torch.rand(2, 300, generator=generator) < 0.5) * torch.randn(2, 300, generator=generator)
points = pair @ some + 0.02 * torch.randn(2, 300, generator=generator)
answers, _ = fista(points, pair, 0.2, max_iterations=3000)


def loss(C: Tensor, thresholds: Tensor) -> Tensor:
    return (unroll(points, C, pair, thresholds)[-1] - answers).square().sum(dim=0).mean()


step = 1 / dictionaries.spectral_norm(pair) ** 2
weights, curve = [((step * pair)[None], torch.full((1, 2, 1), 0.2 * step))], []  # one ISTA step
for _ in range(300):
    curve.append(loss(*weights[-1]).item())
    weights.append(descend(loss, *weights[-1], 0.3))
levels = {count: (ista(points, pair, 0.2, max_iterations=count, tolerance=0)[0] - answers)
          .square().sum(dim=0).mean() for count in (1, 5, 10)}

# %% tags=["nbsphinx-thumbnail"]
left, right = (figure := figures.new_figure(9, 3.6, columns=2)).axes
left.plot(*points, ".", markersize=4, color="0.75")
for name, columns, color in (("d", pair, 0), ("c", weights[-1][0][0], 1)):
    arrow = {"arrowstyle": "<-", "color": figures.COLOURS[color], "lw": 2}
    for x, y, number in zip(*columns, "₁₂", strict=True):
        left.annotate(name + number, (0, 0), (1.1 * x, 1.1 * y), arrowprops=arrow)
left.set(aspect="equal", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xlabel="first pixel",
         ylabel="second pixel", title="blue: D, orange: C, learned")
right.plot(curve, label="one layer, trained")
for (count, level), style in zip(levels.items(), ("-", "--", ":"), strict=True):
    right.axhline(level, color="0.5", linestyle=style, label=f"iteration {count} of ISTA")
right.set(xlabel="training steps", title="loss", yscale="log", ylim=(0.02, 0.6))
right.legend(fontsize=8)
figure

# %% [markdown]
# **What to notice.** One trained layer does more than ten iterations of ISTA. $\mathbf c_1$ has
# turned away from $\mathbf d_2$, until it is nearly at a right angle to it, and has grown until
# $\mathbf c_1^\top \mathbf d_1 \approx 1$. It sees its own atom fully and the other one hardly.
# ISTA's weights, which point along the atoms, see both, and mistake one for the other again and
# again.
#
# ## 4. Do we have to learn it?
#
# If that is what good weights look like, one can ask for them directly. Liu et al. (ALISTA, eq. 16)
# want each $\mathbf c_j$ to see its own atom fully, and all others together as little as possible:
#
# $$ \min_{\mathbf C}\ \|\mathbf C^\top \mathbf D\|_F^2 \quad\text{such that}\quad
#    \mathbf c_j^\top \mathbf d_j = 1 \ \text{ for every atom } j . $$
#
# Then only two numbers for each layer are left to learn, a step $\gamma_k$ and a threshold
# $\theta_k$: $\ \boldsymbol\alpha \leftarrow S_{\theta_k}[\boldsymbol\alpha + \gamma_k
# \mathbf C^\top(\mathbf y - \mathbf D\boldsymbol\alpha)]$.
#
# ### Exercise 4: analytic weights
#
# The columns of $\mathbf C$ do not depend on each other. With a Lagrange multiplier for
# $\mathbf c_j$'s condition you find $\mathbf D\mathbf D^\top \mathbf c_j \propto \mathbf d_j$; the
# condition fixes the factor. Compute $\mathbf C$.
#
# *Expect* a product $\mathbf C^\top\mathbf D$ equal to the identity for the two atoms of above.
#
# <details><summary>Hint</summary>
#
# Centred atoms have no mean, so $\mathbf D\mathbf D^\top$ has no inverse: take `torch.linalg.pinv`
# of it, with `hermitian=True`. Then divide every column by its product with its own atom.
# </details>


# %% tags=["nbval-check-output"]
def analytic_weights(dictionary: Tensor) -> Tensor:
    """The C of ALISTA's eq. 16, (m, p) -> (m, p)."""
    ### BEGIN SOLUTION
    directions = torch.linalg.pinv(dictionary @ dictionary.T, hermitian=True) @ dictionary
    return directions / (directions * dictionary).sum(dim=0)
    ### END SOLUTION


analytic_weights = check("lista.analytic_weights", analytic_weights)
print((analytic_weights(pair).T @ pair).abs().round(decimals=3).tolist())

# %% [markdown]
# Does it work with more atoms than pixels, where right angles to all other atoms are impossible?
# First as in the ALISTA paper: random atoms, 64 of 36 entries, patches that are *exact* sums of a
# few of them, without noise, and the codes that they were made of as targets. The library's
# `Lista` is your `unroll` with three ways to set its weights:
#
# - `untied` (Gregor and LeCun): $\boldsymbol\alpha \leftarrow S_{\Lambda_k}[\mathbf E_k \mathbf y +
#   \mathbf G_k \boldsymbol\alpha]$, where $\mathbf E_k$, $\mathbf G_k$ and $\Lambda_k$ are learned
#   (their letters are $W_e$ and $S$, which mean something else in GroupSC);
# - `coupled` (Chen et al.): eq. 3 with $\mathbf C_k$ and $\Lambda_k$ for every layer, as in your
#   `unroll`;
# - `alista` (Liu et al.): your analytic $\mathbf C$, and two numbers for every layer.
#
# We train with Adam, which scales each weight's step by itself, and lower the rate along a cosine.
# The loss adds up the errors after *all* layers.


# %%
def fit(model: Lista, patches: Tensor, target: Tensor, rate: float, count: int) -> Lista:
    """Train on the codes after all layers, with batches of 128 patches."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count)
    draw = torch.Generator().manual_seed(0)
    for _ in range(count):
        chosen = torch.randint(patches.shape[1], (128,), generator=draw)
        codes = torch.cat(model.encode(patches[None, :, chosen]))  # (layers, p, 128)
        loss = (codes - target[:, chosen]).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.requires_grad_(False)


# %%
atoms = dictionaries.random_dictionary(36, 64, generator)
active = torch.rand(64, 9000, generator=generator) < 0.05
truth = active * torch.randn(64, 9000, generator=generator)
made = atoms @ truth
models = {variant: Lista(ListaConfig(patch=6, atoms=64, threshold=0.1, variant=variant), atoms)
          for variant in ("coupled", "alista")}
for variant, rate, count in (("coupled", 3e-3, 600), ("alista", 3e-2, 200)):
    fit(models[variant], made[:, :8000], truth[:, :8000], rate, count)
    free = sum(weight.numel() for weight in models[variant].parameters())
    print(f"{variant:8s} {free:6d} learned numbers")
compare(models, made[:, 8000:], truth[:, 8000:], atoms, 0.1)

# %% [markdown]
# **What to notice.** Sixteen learned numbers do at least as well as eighteen thousand. Two layers
# of either do more than eight iterations of FISTA. (At $\lambda = 0.1$ the lasso itself is biased,
# so ISTA and FISTA end where it is, at about $-19$ dB. The networks were shown the true codes.)
#
# ## 5. And on real patches?
#
# Now the task of section 1: noisy patches, a learned dictionary, lasso codes as targets.

# %%
networks = {}
for variant, rate, count in (("untied", 3e-3, 500), ("coupled", 1e-3, 800), ("alista", 1e-2, 200)):
    config = ListaConfig(patch=size, atoms=p, steps=steps, threshold=lam, variant=variant)
    networks[variant] = fit(Lista(config, D), patches, target, rate, count)
print("error of alista after each layer:",
      [round(error(codes[0], solution), 1) for codes in networks["alista"].encode(unseen[None])])
for name, matrix in {"random atoms": atoms, "learned atoms": D}.items():
    length, singular = analytic_weights(matrix).norm(dim=0), torch.linalg.svdvals(matrix)
    print(f"{name}: singular values {singular[0]:.2f} ... {singular[singular > 1e-3][-1]:.2f}, "
          f"analytic weights {length.median():.1f} long, at most {length.max():.1f}")

# %% [markdown]
# The analytic network gives up: 0 dB is the error of codes that are zero. The last line says
# why. In some directions the learned atoms hardly vary, and there the patches hold nothing
# but noise. $(\mathbf D\mathbf D^\top)^{-1}$ amplifies just these, because it trusts that
# $\mathbf y = \mathbf D\boldsymbol\alpha$ holds exactly. Its weights are several times as long as
# the atoms, and so is the noise that they let in.
#
# The remedy is old: *damp* the inverse, $(\mathbf D\mathbf D^\top + \varepsilon \mathbf I)^{-1}$.
# We take $\varepsilon = \|\mathbf D\|^2$, and train the sixteen numbers again.

# %%
C = torch.linalg.inv(D @ D.T + L * torch.eye(size**2)) @ D
C = C / (C * D).sum(dim=0)
careful = Lista(networks["alista"].config, D)
safe = 1 / dictionaries.spectral_norm(C.T @ D)
start = {"analytic": C, "step_sizes": torch.full((steps,), safe),
         "raw_thresholds": torch.full((steps, 1), safe * lam)}
careful.load_state_dict(careful.state_dict() | start)
networks["damped"] = fit(careful, patches, target, 3e-2, 300)
figure = compare(networks, unseen, solution, D, lam)
figure.axes[0].set_ylim(-10, 2)
figure

# %%
long = {name: [error(solver(unseen, D, lam, max_iterations=count, tolerance=0)[0], solution)
               for count in range(4, 65, 4)] for name, solver in solvers.items()}
print("8 layers    error in dB   worth ISTA   worth FISTA   learned numbers")
for name, model in networks.items():
    last = error(model.encode(unseen[None])[-1][0], solution)
    worth = [4 * sum(value > last for value in curve) for curve in long.values()]
    free = sum(weight.numel() for weight in model.parameters())
    print(f"{name:8s} {last:14.1f} {worth[0]:12d} {worth[1]:13d} {free:17d}")
    if name in ("untied", "coupled"):
        assert min(worth) > steps

# %% [markdown]
# **What to notice.** On a photograph that they have never seen, eight trained layers are worth some
# forty iterations of ISTA, and more than ten of FISTA (the table counts in fours). And
# with the right matrix, 16 learned numbers again do what tens of thousands do.
#
# What have they learned? Below are the lengths of the steps: $\gamma_k$ of the damped network, and
# $\mathbf c_j^\top \mathbf d_j$ of the coupled one (line: the median over atoms; band: from the
# 10th to the 90th percentile). On the right are the thresholds. Dotted: ISTA.

# %%
coupled, layers = networks["coupled"], range(1, steps + 1)
lengths = (coupled.C * D).sum(dim=1)  # (layers, p)
figure = figures.new_figure(9, 3.2, columns=2)
for axes, title, spread, single, level in (
    (figure.axes[0], "step length", lengths, careful.step_sizes, 1 / L),
    (figure.axes[1], "threshold", coupled.thresholds[..., 0], careful.thresholds[:, 0], lam / L),
):
    low, middle, high = spread.quantile(torch.tensor([0.1, 0.5, 0.9]), dim=1)
    axes.fill_between(layers, low, high, alpha=0.2)
    axes.plot(layers, middle, "o-", label="coupled")
    axes.plot(layers, single, "^--", label="damped")
    axes.axhline(level, color="0.4", linestyle=":", label="ISTA")
    axes.set(xlabel="layer", ylim=(0, None), title=title)
figure.axes[1].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** All steps are longer than ISTA's, most of them several times. The damped
# network takes turns: a step far beyond what is safe, then short ones that repair what the long
# one has spoilt. ISTA may not do this, since each of its steps must be safe by itself; a
# network only has to be right at the end. The thresholds of the coupled network fall from layer
# to layer: first the few atoms that are certain, then the others. And they differ from atom to
# atom, which amounts to a weighted $\ell_1$-norm.
#
# And the matrices? Twenty atoms of $\mathbf D$ in the first row; below, what the first and
# the last layer of the coupled network look for in their place.

# %%
waves, axis = dictionaries.dct_dictionary(size, size**2), torch.arange(size)
fine = (axis[:, None] + axis >= size - 1).flatten()
print("          cosine with own atom   with others   energy in fine waves")
rows = {"D": D, "C, first": coupled.C[0], "C, last": coupled.C[-1]}
for name, matrix in rows.items():
    unit = matrix / matrix.norm(dim=0)
    seen_by, detail = (unit.T @ D).abs(), (waves.T @ unit).square()[fine].sum(dim=0)
    others = (seen_by.sum() - seen_by.diagonal().sum()) / (p * (p - 1))
    print(f"{name:9s}{seen_by.diagonal().median():22.2f}{others:14.3f}{detail.median():23.0%}")
figure = figures.show_dictionary(torch.cat([matrix[:, :20] for matrix in rows.values()], dim=1),
                                 size, columns=20, width=9)
for row, name in enumerate(rows):
    figure.axes[0].text(-3, 9 * row + 5, name, ha="right", va="center", fontsize=8)
figure

# %% [markdown]
# **What to notice.** The table has medians over the atoms, and the mean of all cosines with other
# atoms; a wave of the DCT is fine if its two frequencies add up to seven or more. As in the toy
# example, $\mathbf c_j$ in the *first* layer resembles $\mathbf d_j$, but sees less of the other
# atoms on average, and has several times as much of its energy in fine waves. In the *last* layer
# little is left of that: $\mathbf C$ has nearly gone back to the directions of $\mathbf D$.
#
# ## 6. Does it denoise?
#
# So far the network imitates the lasso. But the lasso was never what we wanted. So drop the
# middleman: cut a crop into patches, code them, average as in eq. 2, and compare the *picture* with
# the clean one. Nothing changes but the loss,
#
# $$ \min\ \mathbb E\, \|\hat{\mathbf x}(\mathbf y) - \mathbf x\|^2 , \qquad
#    \hat{\mathbf x} = \text{average of all } \mathbf D \boldsymbol\alpha_i^{(K)} + \mu_i , $$
#
# and gradients now pass through the average, too. $\mathbf D$ stays as it is; $\mathbf C_k$ and
# $\Lambda_k$ start from ISTA's. Four crops of 20 × 20 pixels at a time, 500 times.

# %%
stage = Stage(crop=20, batch=4, steps=500, optimizer=Optimizer(rate=2e-3, schedule="cosine"))
crops, config = Crops(run, stage, channels=1), replace(config, variant="coupled")
denoiser = Lista(config, D)
optimizer = torch.optim.Adam(denoiser.parameters())
for step in range(stage.steps):
    clean, noisy = crops.batch(step)
    optimizer.param_groups[0]["lr"] = stage.rate(step)
    loss = (denoiser(noisy) - clean).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
denoiser.requires_grad_(False)
print(f"mean squared error of the last four crops: {255**2 * loss:.0f}, with noise {25**2}")

# %% [markdown]
# Now the two photographs that it never saw. ISTA and FISTA get eight iterations and the better of
# two λ for each photograph, which nobody could choose without the truth. *The lasso* is FISTA with
# 32. *Lesson 03* is the library's version of that denoiser: 256 atoms learned from the noisy
# photograph itself, OMP, and a weighted average. The last row is `lista-gray-25`, which comes with
# the course: eight coupled layers and 256 atoms of 9 × 9 pixels, trained on 400 photographs and
# longer than a notebook can.


# %%
def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


def solve(solver: Callable, noisy: Tensor, lam: float, count: int) -> Tensor:
    """The picture that the codes of a solver make after some iterations."""
    centred, mean = pieces.centre(pieces.extract_patches(noisy, size))
    codes, _ = solver(centred, D, lam, max_iterations=count, tolerance=0)
    return pieces.overlap_average(D @ codes + mean, noisy.shape[-2:], size)


# %%
shipped = load_model("lista-gray-25")
results: dict[str, dict[str, Tensor]] = {}
for name, noisy in seen.items():
    trials = {method: [solve(solver, noisy, factor * sigma, steps) for factor in (1.0, 1.5)]
              for method, solver in solvers.items()}
    best = {f"{method}, 8 iterations": max(some, key=lambda x: decibels(x, photographs[name]))
            for method, some in trials.items()}
    results[name] = {
        "noisy": noisy, **best, "the lasso, λ = 1.5 σ": solve(fista, noisy, lam, 32),
        "lesson 03": classical.METHODS["dictionary"].function(noisy, sigma),
        "LISTA, trained above": restore(denoiser, noisy),
        "LISTA, shipped": restore(shipped, noisy),
    }

# %%
scores = {name: {method: decibels(image, photographs[name]) for method, image in row.items()}
          for name, row in results.items()}
print("PSNR in dB             " + "".join(f"{name:>10s}" for name in scores))
for method in results["camera"]:
    print(f"{method:23s}" + "".join(f"{row[method]:10.2f}" for row in scores.values()))
for row in scores.values():
    assert row["LISTA, trained above"] - row["ISTA, 8 iterations"] > 0.3
    assert row["LISTA, trained above"] > row["the lasso, λ = 1.5 σ"]
    assert row["LISTA, shipped"] - row["ISTA, 8 iterations"] > 0.4
margins = [row["LISTA, shipped"] - row["lesson 03"] for row in scores.values()]
print(f"shipped LISTA against lesson 03: {sum(margins) / 2:+.2f} dB on average")
assert sum(margins) / 2 > 0.1
shown = ("ISTA, 8 iterations", "lesson 03", "LISTA, trained above", "LISTA, shipped")
figures.show_images({name: results["camera"][name] for name in shown}, clean=photographs["camera"],
                    crop=(4, 40, 84, 84), residual=True, width=12)

# %% [markdown]
# **What to notice.**
#
# - With the same eight steps and the same dictionary, training buys more than a decibel on the
#   camera and more than half of one on the gravel. The network even passes the lasso that it could
#   have imitated: $\ell_1$ shrinks every coefficient (lesson 02), and trained $\mathbf C_k$ can
#   give some of that back. ISTA's residuals are the edges, which have lost contrast.
# - Against lesson 03 the score is close. Trained for some seconds, LISTA wins on the gravel and
#   loses on the camera; the shipped one wins on both, by a little. Its rival learns a new
#   dictionary for each photograph, and OMP does not shrink. LISTA's advantage is its cost: eight
#   steps are all that is left to do.
#
# ## What breaks
#
# **More layers than it was trained with.** ISTA gets better with every iteration. In the figure the
# last layer of the coupled network of section 5, and of its damped rival, is repeated up to 24
# layers. A patch is *lost* if its code ends further away than twice the length of the right one.
#
# **Another σ.** Multiply a picture and all thresholds by two, and the output doubles (the check of
# exercise 2 tried it). So there is a cheap repair for another σ: multiply the thresholds by the
# ratio of the two. The table shows both. **Another dictionary**, and **a rate that is too high**,
# stand in its last two lines.

# %%
more, repeat = 24, [*range(steps), *[steps - 1] * (24 - steps)]
damped = (careful.step_sizes[:, None, None] * careful.analytic)[repeat]
curves = {
    "coupled": unroll(unseen, coupled.C[repeat], D, coupled.thresholds[repeat]),
    "damped": unroll(unseen, damped, D, careful.thresholds[repeat].expand(-1, p, -1)),
    "ISTA": unroll(unseen, (D / L).expand(more, -1, -1), D, torch.full((more, p, 1), lam / L)),
}
away = (curves["coupled"][-1] - solution).norm(dim=0) > 2 * solution.norm(dim=0)
figure = figures.new_figure(6, 3)
for (name, codes), style in zip(curves.items(), ("-o", "--^", ":"), strict=True):
    figure.axes[0].plot(range(1, more + 1), [error(z, solution) for z in codes], style, label=name)
figure.axes[0].set(xlabel="layers", ylabel="error in dB", ylim=(-12, 4),
                   title=f"coupled: {int(away.sum())} of {len(away)} patches are lost")
figure.axes[0].legend(frameon=False)
figure

# %%
clean, weights = photographs["camera"], denoiser.state_dict()
print("PSNR in dB   ISTA, 8 iterations   LISTA   LISTA, thresholds scaled")
for level in (10, 25, 50):
    noisy = GaussianNoise(level / 255)(clean, "camera")
    scaled = Lista(config, D)
    scaled.load_state_dict(weights | {"raw_thresholds": weights["raw_thresholds"] * level / 25})
    row = [solve(ista, noisy, 1.5 * level / 255, steps), restore(denoiser, noisy),
           restore(scaled, noisy)]
    print(f"σ = {level:2d}/255" + "".join(f"{decibels(x, clean):14.2f}" for x in row))
stranger = Lista(config, D)
stranger.load_state_dict(weights | {"D": dictionaries.dct_dictionary(size, p)})
print(f"DCT in place of D: {decibels(restore(stranger, seen['camera']), clean):.2f} dB")
hasty = fit(Lista(config, D), patches, target, 1e-2, 300).encode(unseen[None])[-1][0]
print(f"trained at ten times the rate: codes with an error of {error(hasty, solution):+.0f} dB")

# %% [markdown]
# **What to notice.**
#
# - **Depth.** A few layers beyond the eighth still help; then the coupled network explodes, on the
#   few patches that the title counts. Its steps are far longer than is safe, and where many atoms
#   are active, each layer overshoots by more than the one before. The damped network, whose last
#   step happens to be short, goes on improving. Nothing in the training promised either.
# - **σ.** At 10 LISTA removes what is not noise; at 50 it leaves much of it, and ISTA with
#   the right λ is better. Scaled thresholds repair nearly all of it.
# - **The dictionary.** $\mathbf C_k$ belongs to *its* $\mathbf D$. With another one, even a good
#   one, the result is about as bad as the noisy photograph.
# - **The rate.** Adam moves each weight by about the rate in each step, whatever its size. The
#   entries of ISTA's $\mathbf C$ are some 0.01 in size: a rate of 0.01 replaces them within a step
#   or two, and what comes out is far worse than no code at all (0 dB).
#
# ## Where this goes
#
# Two things were still fixed: $\mathbf D$, and that it also turns a code back into a patch. Lesson
# 05 sets both free and trains *all* of a denoiser: GroupSC's SC. From lesson 06 on, patches that
# look alike help each other.
#
# **Further reading**
#
# - K. Gregor, Y. LeCun, *Learning fast approximations of sparse coding*, ICML 2010: LISTA.
# - X. Chen, J. Liu, Z. Wang, W. Yin, *Theoretical linear convergence of unfolded ISTA and its
#   practical weights and thresholds*, NeurIPS 2018: why the weights may be coupled.
# - J. Liu, X. Chen, Z. Wang, W. Yin, *ALISTA: analytic weights are as good as learned weights in
#   LISTA*, ICLR 2019: section 4 above, with proofs.
# - V. Monga, Y. Li, Y. Eldar, *Algorithm unrolling: interpretable, efficient deep learning for
#   signal and image processing*, IEEE Signal Processing Magazine, 2021.
