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
# - send gradients back through a layer by hand, and say which weights get none;
# - compute good weights without any training, and see when that fails;
# - train the network, to solve the lasso and to denoise, and break it.
#
# **Before you start**
#
# - **Time:** 60 minutes; all cells together run in less than a minute on a laptop.
# - **You need:** lessons 02 (ISTA, FISTA) and 03 (learned dictionaries); gradients.
# - **Letters:** the table in lesson 00.
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, ECCV 2020, §2 (eq. 3), and the papers at the end.

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
from lessons_lib.viz import figures, widgets

torch.set_num_threads(1)  # sums in one order, and no waiting between many small steps

# %% [markdown]
# ## 1. How many steps does ISTA need?
#
# `Crops` supplies training data: it cuts random pieces out of photographs and adds fresh noise. Of
# our nine samples it keeps two for judging, *camera* and *gravel*. From patches of 8 × 8 pixels of
# the other seven we learn a dictionary of 100 atoms, as in lesson 03 but from *clean* patches.

# %%
sigma, size, K, depth = 25 / 255, 8, 100, 8
lam = 1.5 * sigma
run = Run("lesson-04", "lista", 25, {"patch": size, "atoms": K, "steps": depth},
          dataset="samples", dictionary=DictionaryStart(lam=0.1, patches=20_000))
crops = Crops(run, Stage(crop=size, batch=8000), channels=1)
D = crops.dictionary(size, K)
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
def compare(networks: dict[str, Lista]) -> figures.Figure:
    """Error after iterations of the solvers, and after layers of networks."""
    styles = (":", "--", "-o", "-^", "-s", "-d")
    curves = {name: [solver(unseen, D, lam, max_iterations=k, tolerance=0)[0] for k in ticks]
              for name, solver in solvers.items()}
    curves |= {name: torch.cat(model.encode(unseen[None])) for name, model in networks.items()}
    figure = figures.new_figure(6, 3.4)
    for (name, codes), style in zip(curves.items(), styles, strict=False):
        at = ticks if name in solvers else range(1, depth + 1)
        figure.axes[0].plot(at, [error(some, solution) for some in codes], style, label=name)
    figure.axes[0].set(xscale="log", xticks=ticks, xticklabels=ticks, ylabel="error in dB",
                       xlabel="iterations, or layers")
    figure.axes[0].legend(frameon=False)
    return figure


compare({})

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
# that is not explained yet, and has the shape of $\mathbf D$. $\Lambda_k \in \mathbb R^K$ holds
# one threshold for each atom. For $\mathbf C = \eta\,\mathbf D$ and $\Lambda_k = \eta\lambda$ this
# is ISTA with step $\eta$.
#
# ### Exercise 1: one layer
#
# Write eq. 3 for all patches at once. The thresholds are a column, $(K, 1)$.
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
    """Eq. 3, (K, N), (m, N), (m, K), (m, K), (K, 1) -> (K, N)."""
    ### BEGIN SOLUTION
    return soft_threshold(codes + C.T @ (patches - D @ codes), thresholds)
    ### END SOLUTION


layer = check("lista.layer", layer)
codes = torch.zeros(K, unseen.shape[1])
for _ in range(depth):
    codes = layer(codes, unseen, D / L, D, torch.full((K, 1), lam / L))
theirs, _ = ista(unseen, D, lam, max_iterations=depth, tolerance=0)
print(f"8 layers: {error(codes, solution):.3f} dB, ISTA: {error(theirs, solution):.3f} dB")

# %% [markdown]
# ### Exercise 2: unroll
#
# Several layers in a row, each with weights of its own, are a network. Its input is the patch;
# unlike in most networks, every layer looks at the input again. Start from codes of zero, and
# return the codes after *every* layer.
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
    """Codes after each layer, (m, N), (layers, m, K), (m, K), (layers, K, 1) -> (layers, K, N)."""
    ### BEGIN SOLUTION
    codes = patches.new_zeros(D.shape[1], patches.shape[1])
    found = []
    for weights, threshold in zip(C, thresholds, strict=True):
        codes = layer(codes, patches, weights, D, threshold)
        found.append(codes)
    return torch.stack(found)
    ### END SOLUTION


unroll = check("lista.unroll", unroll)
print(tuple(unroll(unseen, (D / L).repeat(3, 1, 1), D, torch.full((3, K, 1), lam / L)).shape))

# %% [markdown]
# ## 3. What does a layer learn?
#
# *Toy example.* Patches of two pixels, made of two atoms that are only 30 degrees apart; half of
# the coefficients are zero. ISTA is slow here: atoms that agree so much need a short step.
#
# The codes $\boldsymbol\alpha_i$ after the last layer are to come as near as possible to the lasso
# codes $\boldsymbol\alpha_i^\star$, on average over patches, as with Gregor and LeCun:
#
# $$ \min_{\mathbf C, \Lambda}\ \frac1N \sum_i \bigl\|\boldsymbol\alpha_i -
#    \boldsymbol\alpha_i^\star\bigr\|^2 . $$
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
# ISTA's weights see both, and mistake one for the other again and again.
#
# ## 4. Which weights learn at all?
#
# So far `autograd` found the slopes. What does it do at a soft threshold?
#
# ### Exercise 4: soft thresholding, backwards
#
# A loss depends on $\boldsymbol\alpha = S_\Lambda(\mathbf z)$, and `slopes` holds its derivative in
# every entry of $\boldsymbol\alpha$. Derive the derivatives in every entry of $\mathbf z$ and in
# every threshold. Thresholds broadcast: a column $(K, 1)$ serves a whole row of $\mathbf z$, and a
# single number all of it. In the kinks, anything between the slopes on the two sides will do. No
# `autograd`.
#
# *Expect* the weights of section 3 again, now trained by your derivatives alone.
#
# <details><summary>Hint</summary>
#
# Take one number. Draw the output once over $z$ and once over the threshold, for a positive and a
# negative $z$, and read the slopes off the drawings. Then ask what a small change of *one*
# threshold does to *all* that it serves.
# </details>


# %%
def backward(z: Tensor, thresholds: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives in z and in the thresholds, given those in soft_threshold(z, thresholds)."""
    ### BEGIN SOLUTION
    passed = slopes * (z.abs() > thresholds)
    return passed, -(passed * z.sign()).sum_to_size(thresholds.shape)
    ### END SOLUTION


backward = check("lista.backward", backward)


def by_hand(factor: float) -> tuple[Tensor, list[Tensor]]:
    """Section 3 without autograd, from thresholds so many times ISTA's: its C, and its losses."""
    C, thresholds, values = step * pair, torch.full((2, 1), factor * 0.2 * step), []
    for _ in range(300):
        z = C.T @ points  # of a layer that starts from codes of zero
        wrong = soft_threshold(z, thresholds) - answers
        values.append(wrong.square().sum(dim=0).mean())
        in_z, in_thresholds = backward(z, thresholds, 2 * wrong / points.shape[1])
        C = C - 0.3 * points @ in_z.T
        thresholds = (thresholds - 0.3 * in_thresholds).clamp_min(0)
    return C, values


print(f"largest difference to autograd: {(by_hand(1)[0] - weights[-1][0][0]).abs().max():.0e}")

# %% [markdown]
# Start the same training with thresholds that are too high (left). And how many of the 100 atoms
# of section 1 get a derivative for their threshold at all, in the first layer (right)?

# %%
left, right = (figure := figures.new_figure(9, 3.2, columns=2)).axes
for factor, style in ((1, "-"), (10, "--"), (15, "-."), (20, ":")):
    left.plot(by_hand(factor)[1], style, label=f"from {factor} × ISTA's")
left.set(xlabel="training steps", ylabel="loss")
left.legend(frameon=False, loc=(0.5, 0.53))
for count, style in ((128, "o-"), (8000, "s--")):
    z = D.T @ patches[:, :count] / L
    found = [backward(z, torch.full((K, 1), factor * lam / L), z)[1] for factor in range(1, 11)]
    right.plot(range(1, 11), [(one != 0).sum() for one in found], style, label=f"{count} patches")
right.set(xlabel="thresholds / ISTA's", ylabel="atoms with a derivative")
right.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** From 10 times ISTA's thresholds training still arrives. From 15 one of the two
# atoms never learns; from 20 the loss stays what it is for ever. Such atoms are *dead*, their
# $\mathbf c_j$ included. At 4 times ISTA's thresholds a batch of 128 photographic patches leaves a
# third of the atoms dead, and other batches wake them. So one starts low, as ISTA does.
#
# ## 5. Do we have to learn it?
#
# Section 3 suggests what good weights look like, so one can ask for them directly. Liu et al.
# (ALISTA, eq. 16) want each $\mathbf c_j$ to see its own atom fully, and all others together as
# little as possible:
#
# $$ \min_{\mathbf C}\ \|\mathbf C^\top \mathbf D\|_F^2 \quad\text{such that}\quad
#    \mathbf c_j^\top \mathbf d_j = 1 \ \text{ for every atom } j . $$
#
# Then only two numbers for each layer are left to learn, a step $\gamma_k$ and a threshold
# $\theta_k$: $\ \boldsymbol\alpha \leftarrow S_{\theta_k}[\boldsymbol\alpha + \gamma_k
# \mathbf C^\top(\mathbf y - \mathbf D\boldsymbol\alpha)]$.
#
# ### Exercise 5: analytic weights
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
    """The C of ALISTA's eq. 16, (m, K) -> (m, K)."""
    ### BEGIN SOLUTION
    directions = torch.linalg.pinv(dictionary @ dictionary.T, hermitian=True) @ dictionary
    return directions / (directions * dictionary).sum(dim=0)
    ### END SOLUTION


analytic_weights = check("lista.analytic_weights", analytic_weights)
print((analytic_weights(pair).T @ pair).abs().round(decimals=3).tolist())

# %% [markdown]
# ## 6. And on real patches?
#
# Now the task of section 1: noisy patches, 100 learned atoms of 64 pixels, which cannot all be at
# right angles. The library's `Lista` is your `unroll` with three ways to set its weights:
#
# - `untied` (Gregor and LeCun): $\boldsymbol\alpha \leftarrow S_{\Lambda_k}[\mathbf E_k \mathbf y +
#   \mathbf G_k \boldsymbol\alpha]$ with $\mathbf E_k$, $\mathbf G_k$ and $\Lambda_k$ learned;
# - `coupled` (Chen et al.): eq. 3 with $\mathbf C_k$ and $\Lambda_k$ learned;
# - `alista` (Liu et al.): your analytic $\mathbf C$, and two learned numbers in every layer.
#
# We train with Adam, which scales each weight's step by itself, and lower the rate along a cosine.
# The loss adds up the errors after *all* layers.


# %%
def fit(model: Lista, rate: float, count: int) -> Lista:
    """Train on the codes after all layers, with batches of 128 patches."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count)
    draw = torch.Generator().manual_seed(0)
    for _ in range(count):
        chosen = torch.randint(patches.shape[1], (128,), generator=draw)
        codes = torch.cat(model.encode(patches[None, :, chosen]))  # (layers, K, 128)
        loss = (codes - target[:, chosen]).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.requires_grad_(False)


# %%
networks = {}
for variant, rate, count in (("untied", 3e-3, 300), ("coupled", 1e-3, 700), ("alista", 1e-2, 100)):
    config = ListaConfig(patch=size, atoms=K, steps=depth, threshold=lam, variant=variant)
    networks[variant] = fit(Lista(config, D), rate, count)
print("error of alista after each layer:",
      [round(error(codes[0], solution), 1) for codes in networks["alista"].encode(unseen[None])])
length, singular = analytic_weights(D).norm(dim=0), torch.linalg.svdvals(D)
print(f"singular values of D: {singular[0]:.2f} ... {singular[singular > 1e-3][-1]:.2f}; "
      f"analytic weights: {length.median():.1f} long, at most {length.max():.1f}")

# %% [markdown]
# The analytic network gives up: 0 dB is the error of codes that are zero. In some directions the
# learned atoms hardly vary, and there the patches hold nothing but noise.
# $(\mathbf D\mathbf D^\top)^{-1}$ amplifies just these, because it trusts that
# $\mathbf y = \mathbf D\boldsymbol\alpha$ holds exactly. Its weights are several times as long as
# the atoms, and so is the noise that they let in.
#
# The remedy is old: *damp* the inverse, $(\mathbf D\mathbf D^\top + \varepsilon \mathbf I)^{-1}$,
# here with $\varepsilon = \|\mathbf D\|^2$, and train the sixteen numbers again.

# %%
C = torch.linalg.inv(D @ D.T + L * torch.eye(size**2)) @ D
C = C / (C * D).sum(dim=0)
damped = Lista(networks["alista"].config, D)
safe = 1 / dictionaries.spectral_norm(C.T @ D)
start = {"analytic": C, "step_sizes": torch.full((depth,), safe),
         "raw_thresholds": torch.full((depth, 1), safe * lam)}
damped.load_state_dict(damped.state_dict() | start)
networks["damped"] = fit(damped, 3e-2, 200)

# %% [markdown]
# **Predict.** How many iterations does ISTA need, on a photograph that nobody has trained on, for
# what the eight layers of `coupled` do?


# %%
def worth(model: Lista = networks["coupled"], y=unseen, D=D, lam=lam, truth=solution):
    goal, codes, count = error(model.encode(y[None])[-1][0], truth), None, 0
    while codes is None or error(codes, truth) > goal:
        codes, _ = ista(y, D, lam, max_iterations=1, tolerance=0, initial=codes)
        count += 1
    right = "a" if count < 16 else "b" if count < 30 else "c" if count < 100 else "d"
    return right, f"It needs {count}."


widgets.predict({"a": "8 to 15", "b": "16 to 29", "c": "30 to 99", "d": "100 or more"}, worth)

# %%
runs = {name: [error(solver(unseen, D, lam, max_iterations=count, tolerance=0)[0], solution)
               for count in range(4, 65, 4)] for name, solver in solvers.items()}
print("8 layers    error in dB   worth ISTA   worth FISTA   learned numbers")
for name, model in networks.items():
    last = error(model.encode(unseen[None])[-1][0], solution)
    worths = [4 * sum(value > last for value in values) for values in runs.values()]
    free = sum(weight.numel() for weight in model.parameters())
    print(f"{name:8s} {last:14.1f} {worths[0]:12d} {worths[1]:13d} {free:17d}")
    if name != "alista":
        assert min(worths) > depth
figure = compare(networks)
figure.axes[0].set_ylim(-10, 2)
figure

# %% [markdown]
# **What to notice.** On a photograph that they have never seen, eight trained layers are worth
# thirty to forty iterations of ISTA, and more than ten of FISTA (the table counts in fours). And
# with the right matrix, 16 learned numbers do what tens of thousands do.
#
# What have they learned? Below are the lengths of the steps: $\gamma_k$ of the damped network, and
# $\mathbf c_j^\top \mathbf d_j$ of the coupled one (line: the median over atoms; band: from the
# 10th to the 90th percentile). On the right are the thresholds. Dotted: ISTA.

# %%
coupled, layers = networks["coupled"], range(1, depth + 1)
lengths = (coupled.C * D).sum(dim=1)  # (layers, K)
figure = figures.new_figure(9, 3.2, columns=2)
for axes, title, spread, single, level in (
    (figure.axes[0], "step length", lengths, damped.step_sizes, 1 / L),
    (figure.axes[1], "threshold", coupled.thresholds[..., 0], damped.thresholds[:, 0], lam / L),
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
# network takes turns: a step far beyond what is safe, then short ones that repair what it has
# spoilt. Each step of ISTA must be safe by itself; a network only has to be right at the end. The
# thresholds of the coupled network fall from the second layer on: first the few atoms that are
# certain, then the others. And they differ from atom to atom, as in a weighted $\ell_1$-norm.
#
# ## 7. Does it denoise?
#
# The lasso was never what we wanted. So drop the middleman: cut a crop into patches, code them,
# average as in eq. 2, and compare the *picture* with the clean one. Nothing changes but the loss,
#
# $$ \min\ \mathbb E\, \|\hat x(y) - x\|^2 , \qquad
#    \hat x = \text{average of all } \mathbf D \boldsymbol\alpha_i + \mu_i , $$
#
# and gradients pass through the average. $\mathbf D$ stays as it is; $\mathbf C_k$ and $\Lambda_k$
# start from ISTA's. Four crops of 20 × 20 pixels at a time, 300 times.

# %%
stage = Stage(crop=20, batch=4, steps=300, optimizer=Optimizer(rate=2e-3, schedule="cosine"))
crops, config = Crops(run, stage, channels=1), replace(config, variant="coupled")
denoiser = Lista(config, D)
optimizer = torch.optim.Adam(denoiser.parameters())
for number in range(stage.steps):
    clean, noisy = crops.batch(number)
    optimizer.param_groups[0]["lr"] = stage.rate(number)
    loss = (denoiser(noisy) - clean).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
denoiser.requires_grad_(False)
print(f"mean squared error of the last four crops: {255**2 * loss:.0f}, with noise {25**2}")

# %% [markdown]
# Now the two photographs that it never saw. ISTA and FISTA get eight iterations and the better of
# two λ, which nobody could choose without the truth; *the lasso* is FISTA with 32. *Lesson 03* is
# the library's version: 256 atoms learned from the noisy photograph itself, OMP, and a weighted
# average. The last row is `lista-gray-25`, which comes with the course: eight coupled layers, 256
# atoms of 9 × 9 pixels, trained on 400 photographs.


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
    trials = {method: [solve(solver, noisy, factor * sigma, depth) for factor in (1.0, 1.5)]
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
# - With the same eight steps and the same dictionary, training buys a decibel on the camera and
#   half of one on the gravel. The network even passes the lasso that it could have imitated:
#   $\ell_1$ shrinks every coefficient (lesson 02), and trained $\mathbf C_k$ can give some of that
#   back. ISTA's residuals are the edges, which have lost contrast.
# - Against lesson 03 the score is close. Trained for some seconds, LISTA is level with it on the
#   gravel and behind on the camera; the shipped one is ahead on both, by a little, and eight steps
#   are all that it costs.
#
# ## What breaks
#
# The coupled network of section 6 learned from noisy pieces of photographs. Give it patches of
# another kind, and compare its eight layers with eight iterations of ISTA.
#
# **Predict.** On which of these four does it do worst, compared with ISTA?


# %%
def strangers(model=networks["coupled"], y=unseen, D=D, lam=lam, sigma=sigma):
    draw, margins = torch.Generator().manual_seed(0), {}
    noise, _ = pieces.centre(sigma * torch.randn(64, 500, generator=draw))
    mixed = y[torch.randperm(64, generator=draw)]
    for key, some in {"a": noise, "b": 2 * noise, "c": mixed, "d": 3 * y}.items():
        truth, _ = fista(some, D, lam, tolerance=1e-4)
        short, _ = ista(some, D, lam, max_iterations=8, tolerance=0)
        codes = model.encode(some[None])[-1][0]
        margins[key] = error(short, truth) - error(codes, truth)
        lost = ((codes - truth).norm(dim=0) > truth.norm(dim=0)).float().mean()
    words = ", ".join(f"{key} {margin:.1f}" for key, margin in margins.items())
    words = f"Decibels better than ISTA: {words}. In d {lost:.0%} of codes are worse than 0."
    return min(margins, key=margins.get), words


widgets.predict({"a": "noise", "b": "noise of twice σ", "c": "noisy patches, pixels shuffled",
                 "d": "noisy patches, three times the contrast"}, strangers)

# %% [markdown]
# **What to notice.** Noise and shuffled pixels hold no picture, and yet their codes come out better
# than ISTA's: the network has learned more about $\mathbf D$ and λ than about photographs. But
# contrast must be what it was. With three times as much, 25 atoms a patch are active instead of 10,
# the long steps overshoot, and in some patches each layer overshoots by more than the one before.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("04")

# %% [markdown]
# ## Problems
#
# **1. Hard thresholds.** Replace the soft threshold of section 3 by the hard one of lesson 01.
# Which of the two weights can gradient descent still learn? Where does the loss end?
#
# <details><summary>Solution</summary>
#
# The output is $z$ or 0. A threshold that moves a little changes nothing, unless it passes a $|z|$
# just then. So its derivative is 0 nearly everywhere, and $\Lambda$ stays where it starts.
# $\mathbf C$ learns as before. The loss ends at 0.054 instead of 0.030.
#
# ```python
# C = (step * pair).requires_grad_()
# thresholds = torch.full((2, 1), 0.2 * step, requires_grad=True)
# for _ in range(300):
#     z = C.T @ points
#     found = torch.where(z.abs() > thresholds, z, 0 * z)
#     value = (found - answers).square().sum(dim=0).mean()
#     in_C, nothing = torch.autograd.grad(value, (C, thresholds), allow_unused=True)
#     assert nothing is None
#     C = (C - 0.3 * in_C).detach().requires_grad_()
# print(f"hard {value:.3f}, soft {curve[-1]:.3f}")
# assert 0.04 < value < 0.07
# ```
#
# </details>
#
# **2. Why thresholds fall.** Let $\mathbf y = \mathbf D\boldsymbol\alpha^\star$ exactly, with $s$
# entries of $\boldsymbol\alpha^\star$ that are not zero. Let $\mathbf c_j^\top\mathbf d_j = 1$ and
# $|\mathbf c_j^\top\mathbf d_i| \le \mu$ for $i \ne j$. A layer gets codes that are zero wherever
# $\boldsymbol\alpha^\star$ is, and $\|\boldsymbol\alpha - \boldsymbol\alpha^\star\|_1 \le e$. Which
# threshold keeps these zeros for certain, and how near do the new codes come?
#
# <details><summary>Solution</summary>
#
# Entry $j$ before the threshold is
#
# $$ \alpha_j + \sum_i \mathbf c_j^\top \mathbf d_i (\alpha^\star_i - \alpha_i) = \alpha^\star_j +
#    \sum_{i \ne j} \mathbf c_j^\top \mathbf d_i (\alpha^\star_i - \alpha_i) , $$
#
# the right number, wrong by $\mu e$ at most. The threshold $\theta = \mu e$ therefore keeps all
# zeros. Each of the $s$ others ends within $\mu e + \theta$, all together within $2\mu s e$. If
# $2\mu s < 1$, the error shrinks by this factor in each layer, and the threshold may shrink along:
# high at first, low at last, as in the figure of section 6. ISTA's stays at $\lambda/L$, and ISTA
# ends at the biased codes of the lasso.
#
# ```python
# atoms = dictionaries.random_dictionary(256, 300, torch.Generator().manual_seed(0))
# C = analytic_weights(atoms)
# mu = float((C.T @ atoms - torch.eye(300)).abs().max())
# truth = torch.zeros(300, 100)
# for column in truth.T:
#     column[torch.randperm(300, generator=generator)[:3]] = torch.randn(3, generator=generator)
# bound, codes = float(truth.abs().sum(dim=0).max()), torch.zeros_like(truth)
# for _ in range(10):
#     codes = layer(codes, atoms @ truth, C, atoms, torch.full((300, 1), mu * bound))
#     bound = 2 * mu * 3 * bound
#     assert not codes[truth == 0].any() and (codes - truth).abs().sum(dim=0).max() <= bound
# print(f"μ = {mu:.3f}: a factor of {6 * mu:.2f} a layer, guaranteed; the error is {bound:.3f} now")
# ```
#
# </details>
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
#   practical weights and thresholds*, NeurIPS 2018: why the weights may be coupled; problem 2.
# - J. Liu, X. Chen, Z. Wang, W. Yin, *ALISTA: analytic weights are as good as learned weights in
#   LISTA*, ICLR 2019: section 5 above, with proofs.
