# %% [markdown]
# # 12 · NSR: one of k kernels for each picture
#
# In sparse coding few atoms are in use, and which ones depends on the patch. A convolution uses all
# its kernels everywhere. NSR divides its channels into groups, of which one should be in use, and
# lets the picture choose. The choice is made soft, so that it can be trained. What that gains, what
# it costs, and what is no longer true of it afterwards, can all be measured.
#
# **You will be able to**
#
# - say what group sparsity in a layer saves, count it, and check a proof line by line with numbers;
# - mix kernels with gates, and apply a different kernel to each picture in one convolution;
# - derive the slope of a gate, and say what its temperature does, and when a group is dead;
# - weigh the noise of a gradient against its bias;
# - write property tests that find silent faults of a layer.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in a minute on a laptop.
# - **You need:** lessons 05 (SC), 07 (the group lasso) and 08 (GroupSC).
# - **Source:** NSR: Fan, Yu, Mei, Zhang, Fu, Liu, Huang, *Neural sparse representation for image
#   restoration*, 2020, §3, eq. 4 to 10, Tables 1, 3 and 5, Figures 1, 2 and 6; supplement §1, 2, 4
#   and 5.

# %%
# %matplotlib inline
import copy
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.exercises import check
from lessons_lib.models import build, restore
from lessons_lib.models.macs import macs_per_pixel
from lessons_lib.models.restorer import Restorer
from lessons_lib.models.sparse_conv import SparseConv2d
from lessons_lib.models.uniform_tiles import UniformTiles
from lessons_lib.viz import figures, widgets

# %% [markdown]
# ## 1. What does a group save?
#
# Two layers with k groups of h hidden channels are a sum (eq. 4). If only group $i$ may be
# non-zero, one term is left (eq. 5):
#
# $$ Y = \sum_{i=1}^k W_2^i * F(W_1^i * X) \qquad\text{becomes}\qquad Y = W_2^i * F(W_1^i * X). $$
#
# All k groups stay in memory, one is computed. Who chooses? The group with the largest amplitude
# would have to be computed first. So a small network (MLP) looks at the input, pooled over the
# picture (eq. 6), and an argmax takes its largest output. An argmax has no slope; a softmax has one
# (eq. 7), and weighs all groups (eq. 8):
#
# $$ \beta = \operatorname{softmax}(\operatorname{MLP}(\operatorname{Pool}(X))), \qquad
#    Y = \sum_i \beta_i W_2^i * F(W_1^i * X). $$
#
# Now nothing is saved: all groups are computed. Eq. 9 mixes the kernels instead of the features,
# and convolves once with the mixture:
#
# $$ Y \approx \Bigl(\sum_i \sqrt{\beta_i} W_2^i\Bigr) * F\Bigl(\Bigl(\sum_i \sqrt{\beta_i} W_1^i
#    \Bigr) * X\Bigr). $$
#
# *Toy example.* One channel, k = 2 groups of one hidden channel, kernels of a single weight, a
# picture of four pixels. All groups: 4 multiplications for each pixel. One group: 2. Mixing
# multiplies each of the 4 weights once, for all four pixels together: 2 + 4/4 = 3.
#
# ### Exercise 1: count
#
# Count the multiplications for each pixel: c channels in, k groups of h channels between, c
# channels out, kernels of side s. Return three numbers: for all groups (eq. 4, or eq. 8 but for its
# products with β), for one (eq. 5), and for eq. 9, whose kernels are mixed anew for each tile of n
# pixels. Leave out biases, ReLU and the MLP; $\sqrt{\beta_i}$ is given.
#
# *Expect* `(4, 2, 3)` for the toy.
#
# <details><summary>Hint</summary>
#
# Each pixel of each output channel is a sum over the inputs and the kernel's weights. How many
# weights do all kernels have together?
# </details>


# %% tags=["nbval-check-output"]
def multiplications(channels: int, hidden: int, groups: int, side: int,
                    pixels: int) -> tuple[float, float, float]:
    """c, h, k, s, n -> products for each pixel: all groups, one group, mixed kernels."""
    ### BEGIN SOLUTION
    one = 2 * channels * hidden * side**2
    return groups * one, one, one + groups * one / pixels
    ### END SOLUTION


multiplications = check("nsr.multiplications", multiplications)
print([float(count) for count in multiplications(1, 1, 2, 1, 4)])
for tile in (4, 48):
    everything, one, mixed = multiplications(32, 32, 4, 3, tile**2)
    print(f"k = 4, tiles of {tile} × {tile}: all {everything / one:.2f}, mixed {mixed / one:.4f}")

# %%
figure, sizes = figures.new_figure(7, 3.4), {}
for groups, marker in ((1, "o"), (2, "s"), (4, "D"), (8, "^")):
    for expansion in (1, 2, 4):  # 32 channels between blocks, so many times as many within
        options = {"groups": groups, "cardinality": 16} if groups > 1 else {}
        net = build("nsr", options | {"expansion": expansion})
        count = sum(p.numel() for p in net.parameters())
        sizes[groups, expansion] = macs_per_pixel(net, size=48) / 1e6, count / 1e6
    line = zip(*(sizes[groups, expansion] for expansion in (1, 2, 4)), strict=True)
    figure.axes[0].plot(*line, marker + "-", label=f"k = {groups}" if groups > 1 else "no groups")
for name, point in {"baseline": (1, 2), "sparse −": (2, 1), "sparse +": (2, 2)}.items():
    figure.axes[0].annotate(name, sizes[point], xytext=(6, -11), textcoords="offset points")
figure.axes[0].set(xlabel="millions of MACs for each pixel: cost", yscale="log",
                   ylabel="millions of parameters: capacity")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** First the formula: with the cost of one group as unit, all groups cost k, and
# mixing adds k/n. On tiles of 48 × 48 that is nothing to speak of, on tiles of 4 × 4 it is. (The
# supplement's §2 counts pooling and the MLP as well, and finds all of it negligible if $k \ll n$.)
#
# The paper's Figure 1 draws the saving as little matrices; here it is measured. Each point is a
# network of 16 blocks, those of the denoising tables and their relatives; its cost is counted while
# it runs on a crop of 48 × 48 pixels. A MAC is one multiplication and one sum. Without groups,
# capacity costs: twice the width is twice the parameters and twice the MACs. Groups go straight up.
# *Sparse +* has the baseline's cost and twice its parameters, *sparse −* nearly its parameters, and
# half its cost. Even k = 8 moves a point to the right by less than one percent.
#
# Nothing here says that capacity of this kind is worth as much as the other. That is a question to
# a training, and comes in section 6.
#
# ## 2. How good is eq. 9?
#
# The supplement proves it in §1. Here are its lines, each with what it says of the term of group i:
#
# 1. $\beta_i W_2^i * F(W_1^i * X) = \sqrt{\beta_i} W_2^i * F(\sqrt{\beta_i} W_1^i * X)$. This is
#    exact, for an $F$ like ReLU, with $F(\lambda x) = \lambda F(x)$ for $\lambda \ge 0$.
# 2. In all terms $F(\sqrt{\beta_i} W_1^i * X)$ is replaced by $F(\sum_j \sqrt{\beta_j} W_1^j * X)$.
# 3. This factor is the same in all terms now, and is taken out: exact again.
#
# So whatever is wrong comes in with line 2. In the term of the winner, with β near 1, the features
# of the losers are added, each times its $\sqrt{\beta_j}$. In a loser's term its own features, with
# the weight $\sqrt{\beta_j}$, are replaced by those of the mixture, in which the winner's have a
# weight near 1. So the whole term is about $1/\sqrt{\beta_j}$ times too large.
#
# *Toy example.* β = (0.99, 0.01). The loser's term weighs 0.01 in eq. 8. After line 2 it weighs
# $\sqrt{0.01} \cdot 1 = 0.1$, ten times as much.
#
# The next cells follow each line's error with random kernels and ReLU: on the left as the
# temperature τ of $\beta = \operatorname{softmax}(\mathbf z / \tau)$ falls, with the MLP's outputs
# $\mathbf z$, the *logits*, 1 apart; on the right against what the larger gate lacks to 1. The
# right panel also has what NSR does in the end (eq. 10 below): it mixes with β itself, without
# roots.
#
# **Predict.** How large is the relative error of eq. 9 with β = (0.99, 0.01)?

# %%
generator = torch.Generator().manual_seed(0)
first = torch.randn(60, 2, 8, 16, generator=generator)  # 60 draws of W_1, two groups
second = torch.randn(60, 2, 4, 8, generator=generator)
signal = torch.randn(60, 16, 1, generator=generator)


def proof(largest: float, activation=torch.relu, w1=first, w2=second, x=signal,
          power: float = 0.5) -> list[Tensor]:
    """Terms (60, k, 4, 1) of eq. 8 and lines 1 and 2, and line 3; β = (largest, 1 − largest)."""
    beta = torch.tensor([largest, 1 - largest], dtype=torch.float64)[:, None, None]
    share, w1, w2, x = beta**power, w1.double(), w2.double(), x[:, None].double()
    shared = activation((share * w1).sum(dim=1, keepdim=True) @ x)
    return [beta * (w2 @ activation(w1 @ x)), share * w2 @ activation(share * w1 @ x),
            share * w2 @ shared, (share * w2).sum(dim=1, keepdim=True) @ shared]


# %%
def mixture_error(largest: float, *given, **options) -> float:
    """Relative error of eq. 9 against eq. 8."""
    exact, *_, mixed = (terms.sum(dim=1) for terms in proof(largest, *given, **options))
    return float((mixed - exact).norm() / exact.norm())


def line_errors(largest: float) -> list[float]:
    """What line 1 changes, line 2 in each of two terms, and line 3."""
    exact, once, twice, mixed = proof(largest)
    changes = [(once - exact).sum(dim=1), *(twice - once).unbind(dim=1), mixed - twice.sum(1, True)]
    return [float(change.norm() / exact.sum(dim=1).norm()) + 1e-17 for change in changes]


def sharp() -> tuple[str, str]:
    found = mixture_error(0.99)
    return "a" if found < 0.02 else "b" if found < 0.08 else "c", f"It is {found:.2f}."


widgets.predict({"a": "below 0.02", "b": "0.02 to 0.08", "c": "more than 0.08"}, sharp)

# %%
left, right = (figure := figures.new_figure(9, 3.2, columns=2)).axes
taus = torch.logspace(-1.3, 1, 30, dtype=torch.float64)
lacks = torch.logspace(-6, math.log10(0.5), 20)
errors = zip(*(line_errors(float(torch.sigmoid(1 / tau))) for tau in taus), strict=True)
names = ("line 1", "line 2, winner's term", "line 2, loser's term", "line 3")
for name, values, style in zip(names, errors, ("-", "-", "--", ":"), strict=True):
    left.loglog(taus, values, style, label=name)
left.set(xlabel="temperature τ", ylabel="relative error", ylim=(1e-18, 30))
for name, power in {"eq. 9: √β": 0.5, "without roots: β": 1}.items():
    values = [mixture_error(1 - float(lack), power=power) for lack in lacks]
    right.loglog(lacks, values, label=name)
right.set(xlabel="1 − largest gate")
_ = [axes.legend(frameon=False, fontsize=8) for axes in (left, right)]
assert max(line_errors(0.7)[::3]) + mixture_error(1.0) < 1e-12 < 0.05 < mixture_error(0.99)
figure

# %% [markdown]
# **What to notice.** Lines 1 and 3 are exact, but for rounding. The error is line 2's, and both
# terms share the blame: the winner's and the loser's are nearly the same. As the gate gets sharp,
# both vanish, and at a gate of 1 eq. 8 and 9 agree. But how fast? With logits 1 apart each is still
# above half a hundredth at τ = 0.1, and at τ = 1 more than half of the result. On the right is what
# they add up to: eq. 9 has an error of 0.15 at a gate of 0.99.
#
# There the two lines are straight, with different slopes. With roots the error falls like
# $\sqrt{1 - \beta_i}$: a hundred times sharper, ten times better. Without roots it falls like $1 -
# \beta_i$. The roots are there for line 1, and it is line 2 that pays: a loser that weighs 0.01
# comes in with 0.1. So dropping them is not only simpler: here it is closer to eq. 8 throughout.
#
# It is better to take the mixed kernel as the *definition* of the layer, and eq. 8 as where it came
# from. Whether its gates are sharp, and it is still "one of k", must be measured. Section 6 does.
#
# ## 3. Mixing kernels
#
# NSR drops the roots, gives each convolution its own gates, and divides the outputs into d
# *cardinal groups*, which choose each by itself (eq. 10):
#
# $$ \hat W = \operatorname{concat}_{j=1}^d \Bigl( \sum_{i=1}^k \gamma_{j,i} W^{j,i} \Bigr). $$
#
# $\gamma_{j,i}$, β with one index more, is the gate of group i in cardinal group j, a softmax over
# i. $W^{j,i}$ is block j of the outputs of kernel i. (In the code gates are `(B, k, d)`, i before
# j.)
#
# Without them a layer makes one choice among k. With d = 16 it makes sixteen, and has $k^{16}$
# outcomes, for a somewhat larger MLP.
#
# *Toy example.* k = 2, d = 2, kernels of one number: W¹ = (1, 2), W² = (10, 20). With the gates
# (½, ½) for the first output and (1, 0) for the second, $\hat W$ = (5.5, 2).
#
# ### Exercise 2: mix the kernels
#
# *Expect* `[5.5, 2.0]`.
#
# <details><summary>Hint</summary>
#
# Cut the axis of outputs into d blocks: `unflatten(1, (d, -1))`. Then `torch.einsum`, or loops.
# </details>


# %% tags=["nbval-check-output"]
def mix(kernels: Tensor, gates: Tensor) -> Tensor:
    """Eq. 10: kernels (k, O, C, s, s), gates (B, k, d) -> (B, O, C, s, s)."""
    ### BEGIN SOLUTION
    blocks = kernels.unflatten(1, (gates.shape[2], -1))
    return torch.einsum("bkd,kdocij->bdocij", gates, blocks).flatten(1, 2)
    ### END SOLUTION


mix = check("nsr.mix", mix)
toy = torch.tensor([[1.0, 2.0], [10.0, 20.0]])[:, :, None, None, None]
print(mix(toy, torch.tensor([[[0.5, 1.0], [0.5, 0.0]]])).flatten().tolist())

# %% [markdown]
# ### Exercise 3: a kernel for each picture
#
# Now each picture of a batch has its own kernel. A loop over the batch is slow. Do it in *one* call
# of `F.conv2d`, with zeros around the pictures.
#
# *Expect* what a loop gives.
#
# <details><summary>Hint</summary>
#
# Lay the pictures' channels one after the other, as one picture. What does `groups` do?
# </details>
#
# The last lines of the cell try a special case. With k = 1, as many cardinal groups as outputs, and
# a sigmoid instead of the softmax, $\hat W$ scales each output by a number from the pooled input:
# that is *squeeze and excitation*, a network of its own.


# %% tags=["nbval-check-output"]
def own_kernels(features: Tensor, kernels: Tensor) -> Tensor:
    """Features (B, C, H, W), kernels (B, O, C, s, s) -> (B, O, H, W)."""
    ### BEGIN SOLUTION
    batch, outputs, _, side, _ = kernels.shape
    joined = features.flatten(0, 1)[None]
    found = F.conv2d(joined, kernels.flatten(0, 1), padding=side // 2, groups=batch)
    return found.unflatten(1, (batch, outputs))[0]
    ### END SOLUTION


own_kernels = check("nsr.own_kernels", own_kernels)
few, many = torch.rand(3, 2, 6, 6), torch.rand(3, 4, 2, 3, 3)
loop = torch.cat([F.conv2d(x[None], w, padding=1) for x, w in zip(few, many, strict=True)])
print("as the loop:", torch.allclose(own_kernels(few, many), loop, atol=1e-5))

layer = SparseConv2d(2, 4, groups=1, cardinality=4, gate="sigmoid", bias=False)
layer.requires_grad_(False)
excited = layer.gate(few)[:, 0, :, None, None] * F.conv2d(few, layer.weight[0], padding=1)
print("squeeze and excitation:", torch.allclose(layer(few), excited, atol=1e-5))

# %% [markdown]
# ## 4. What does a gate learn from?
#
# The layer can be computed, and eq. 10 has a derivative. Is that enough to learn from? What reaches
# the MLP in training is multiplied by the slopes of β. What reaches kernel i is multiplied by
# $\beta_i$. Both depend on the temperature.
#
# ### Exercise 4: the slopes of a gate
#
# Derive the Jacobian $J_{ij} = \partial \beta_i / \partial z_j$ of $\beta =
# \operatorname{softmax}(\mathbf z / \tau)$.
#
# *Expect* columns that sum to 0, and 0.25 in the corner for two equal logits and τ = 1. Below, the
# size of J over the temperature, for two logits.
#
# <details><summary>Hint</summary>
#
# $\log \beta_i = z_i/\tau - \log \sum_l e^{z_l/\tau}$: differentiate this.
# </details>


# %%
def gate_slopes(logits: Tensor, temperature: float) -> Tensor:
    """Logits z (k,) and τ -> J (k, k)."""
    ### BEGIN SOLUTION
    gates = torch.softmax(logits / temperature, dim=0)
    return (gates.diag() - gates[:, None] * gates) / temperature
    ### END SOLUTION


gate_slopes = check("nsr.gate_slopes", gate_slopes)
taus = torch.logspace(-2, 2, 60)
figure = figures.new_figure(6, 2.8)
for gap in (0.1, 1.0, 3.0):
    sizes = [gate_slopes(torch.tensor([gap, 0.0]), float(tau)).norm() for tau in taus]
    figure.axes[0].loglog(taus, torch.stack(sizes).clamp_min(1e-6), label=f"z₁ − z₂ = {gap}")
figure.axes[0].set(xlabel="temperature τ", ylabel="‖J‖", ylim=(1e-4, 100))
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** A hot gate averages, and its slope falls like 1/τ. A cold one has decided, and
# its slope vanishes as well, unless the logits are equal. Between the two lies a hill, near the gap
# of the logits. The paper says the same in words: at a low temperature the gradient vanishes, at a
# high one the gates contradict the assumption of eq. 9.
#
# **A dead group.** A group that never wins is not merely unused. Its kernel gets the gradient times
# its own gate. If the gate is 0, the kernel stays as it was drawn, and so nothing will ever speak
# for choosing it.
#
# **Predict.** Two groups, logits 1 apart, τ = 0.1. How large is the loser's gradient, compared with
# the winner's?

# %%
generator = torch.Generator().manual_seed(3)
kernels = torch.randn(2, 1, 1, 3, 3, generator=generator).requires_grad_()
image, wanted = torch.randn(2, 1, 1, 16, 16, generator=generator)


def heard(gate, kernels=kernels, image=image, wanted=wanted) -> list[float]:
    """Size of the gradient at the winner's kernel, at the loser's, and at the logits (1, 0)."""
    logits = torch.tensor([1.0, 0.0], requires_grad=True)
    found = own_kernels(image, mix(kernels, gate(logits)[None, :, None]))
    slopes, slope = torch.autograd.grad((found - wanted).square().mean(), (kernels, logits))
    return [*slopes.flatten(1).norm(dim=1).tolist(), float(slope.norm())]


def loser(heard=heard) -> tuple[str, str]:
    winner, other, _ = heard(lambda z: torch.softmax(z / 0.1, dim=0))
    right = "a" if other > 0.1 * winner else "b" if other > 0.001 * winner else "c"
    return right, f"It is {other / winner:.5f} of the winner's."


widgets.predict({"a": "more than a tenth", "b": "a tenth to a thousandth", "c": "less"}, loser)

# %% [markdown]
# There are ways to make a hard choice and still get a gradient. **Straight through** takes the
# argmax, and in the backward pass pretends that it was the softmax. **Gumbel's trick** adds noise
# to the logits first: $g = -\log(-\log u)$ with $u$ uniform between 0 and 1. Then the argmax draws
# group i with the probability $\beta_i$ of τ = 1. The backward pass takes the slope of the softmax
# of $(\mathbf z + \mathbf g)/\tau$. What reaches the kernels, and what reaches the gate?

# %%
def straight_through(z: Tensor, tau: float = 1.0) -> Tensor:
    soft = torch.softmax(z / tau, dim=-1)
    hard = F.one_hot(z.argmax(dim=-1), z.shape[-1]).float()
    return hard + soft - soft.detach()


torch.manual_seed(0)
ways = {f"softmax, τ = {tau}": (lambda z, tau=tau: torch.softmax(z / tau, dim=0), 1)
        for tau in (10, 1, 0.3, 0.1, 0.03)}
ways |= {"straight through, τ = 1": (straight_through, 1),
         "Gumbel, τ = 1": (lambda z: F.gumbel_softmax(z, hard=True, dim=0), 1000)}
print("size of the gradient at       winner's kernel   loser's kernel   the logits")
for name, (gate, draws) in ways.items():
    mean = torch.tensor([heard(gate) for _ in range(draws)]).mean(dim=0)
    print("{:30s}{:15.4f}{:17.6f}{:13.6f}".format(name, *mean))

# %% [markdown]
# **What to notice.** With a softmax the loser gets $e^{-1/\tau}$ of what the winner gets: nine
# tenths at τ = 10, a third at τ = 1, a twenty-thousandth at τ = 0.1. At 0.03 not one of six digits
# is left. Nor does the gate help: of these temperatures its own gradient is largest at 0.3, on the
# hill, and gone at 0.03. A group that starts behind stays behind: it is dead.
#
# Straight through moves the logits, but not the loser's kernel: it may be called back, but has not
# learned anything meanwhile. Of the two ways to choose hard, only Gumbel's reaches all three, since
# it draws the loser in 27 of 100 steps.
#
# So noise keeps groups alive. What does it cost? Take three groups, each with features of its own,
# and a squared error of the mixture. To get a hard choice in the end one minimises the *expected*
# loss of a drawn group, $\sum_i \beta_i \ell_i$, whose gradient is $J^\top \boldsymbol\ell$, with
# your $J$. How far from it is each way on average (*bias*), and how far does a single draw stray
# from the average (*standard deviation*)? Both are divided by the length of the true gradient.

# %%
generator = torch.Generator().manual_seed(0)
logits = torch.tensor([1.0, 0.0, -1.0])
features, target = torch.randn(3, 8, generator=generator), torch.randn(8, generator=generator)
truth = gate_slopes(logits, 1.0).mT @ (features - target).square().mean(dim=1)


def estimates(gate, draws: int = 4000) -> tuple[float, float]:
    """Bias and standard deviation of a gradient, relative to the true one."""
    z = logits.repeat(draws, 1).requires_grad_()
    losses = (gate(z) @ features - target).square().mean(dim=1)
    (found,) = torch.autograd.grad(losses.sum(), z)
    spread = (found - found.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    return float((found.mean(dim=0) - truth).norm() / truth.norm()), float(spread / truth.norm())


# %%
taus = torch.logspace(-1.3, 1.3, 14).tolist()
families = {"softmax": lambda z, tau: torch.softmax(z / tau, dim=1),
            "straight through": straight_through,
            "Gumbel, soft": lambda z, tau: F.gumbel_softmax(z, tau, dim=1),
            "Gumbel, straight through": lambda z, tau: F.gumbel_softmax(z, tau, hard=True, dim=1)}
figure = figures.new_figure(9, 3, columns=2)
for (name, family), style in zip(families.items(), figures.LINE_STYLES, strict=True):
    found = [estimates(lambda z, tau=tau, f=family: f(z, tau)) for tau in taus]
    for axes, values in zip(figure.axes, zip(*found, strict=True), strict=True):
        axes.plot(taus, values, style, label=name)
for axes, title in zip(figure.axes, ("bias", "standard deviation"), strict=True):
    axes.set(xscale="log", xlabel="temperature τ", title=f"{title} / true gradient")
figure.axes[0].legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** Without noise there is no standard deviation, and a bias that goes up and
# down. At low temperatures both curves end at 1, which means that there is no gradient left. (The
# softmax is biased only for those who want a hard choice. NSR goes on to use the mixture, and for
# that its gradient is exact.)
#
# With Gumbel's noise one pays one way or the other. At a low temperature there is hardly a bias
# (the last tenth is what chance leaves over after 4000 draws), but one draw is off by five to seven
# times the gradient's length. At a high one draws agree, and agree on something else. Near τ = 1
# the bias is a quarter or less, and the noise about as large as the gradient itself. A training
# takes one draw for each picture. The paper found Gumbel's trick worse than no groups at all (Table
# 1); section 6 tries it.
#
# ## 5. Faults that nobody hears of
#
# So far the layer was right. How does one know? The one that the paper's supplement prints stops
# with an error in PyTorch from 1.8 on, since a call lacks its bias. That fault is loud, and does no
# harm: everybody mends it. It also stops if there is to be no bias, and on features in
# channels-last order, which is heard of later. Others are silent: asked for reflected borders it
# pads with zeros; its `out_channels` is k times the outputs. Such a layer trains, and what comes
# out is a little worse than it could be. No error message will ever say so.
#
# Silent faults are found by *properties*: what must hold whatever the weights are, so that no right
# result has to be known.
#
# ### Exercise 5: test a layer that you cannot see
#
# `make("reflect")` returns a new layer from 3 channels to 4. It promises:
#
# 1. `out_channels` is the number of channels that come out;
# 2. borders are reflected (what must an even picture become?);
# 3. a picture gives the same alone and in a batch;
# 4. it takes features in any memory order, `memory_format=torch.channels_last` too, and gives the
#    same.
#
# Return whether all promises are kept. A layer that raises a `RuntimeError` keeps none.
#
# *Expect* that a right layer passes, and that each broken one is found.
#
# <details><summary>Hint</summary>
#
# Compare floats with `torch.allclose(..., atol=1e-5)`: a batch is computed in another order.
# </details>


# %%
def keeps_promises(make) -> bool:
    """A function that makes a layer, given its padding mode -> whether the layer is right."""
    ### BEGIN SOLUTION
    layer, images = make("reflect"), torch.rand(3, 3, 6, 7)
    try:
        found, flat = layer(images), layer(torch.ones(1, 3, 6, 7))
        other = layer(images.contiguous(memory_format=torch.channels_last))
        alone = layer(images[1:2])
    except RuntimeError:
        return False
    even = (flat - flat[..., :1, :1]).abs().max() < 1e-5
    same = torch.allclose(other, found, atol=1e-5) and torch.allclose(alone, found[1:2], atol=1e-5)
    return bool(even and same and layer.out_channels == found.shape[1])
    ### END SOLUTION


keeps_promises = check("nsr.keeps_promises", keeps_promises)

# %% [markdown]
# Now your test meets layers that you *can* see. `ForgetsPadding` does what the printed layer does:
# it hands the work to a convolution that knows of zeros only. `PoolsAll` has a slip of one number:
# it pools over the whole tensor, `dim=(0, 2, 3)`, where each picture should have a mean of its own,
# `dim=(2, 3)`. Both run, train, and return tensors of the right shape.

# %%
class Sound(SparseConv2d):
    out_channels = 4


class ForgetsPadding(Sound):
    def forward(self, features: Tensor) -> Tensor:
        return own_kernels(features, mix(self.weight, self.gate(features)))


class PoolsAll(Sound):
    def forward(self, features: Tensor) -> Tensor:
        pooled = features.mean(dim=(0, 2, 3), keepdim=True)
        return super().forward(features, self.gate(pooled).expand(len(features), -1, -1))


# %%
torch.manual_seed(0)
some, even = torch.rand(4, 3, 12, 12), torch.ones(1, 3, 12, 12)
print("largest difference        batch − loop   batch of one − loop   border − middle   your test")
for kind in (Sound, ForgetsPadding, PoolsAll):
    layer = kind(3, 4, groups=2, padding_mode="reflect", bias=False).requires_grad_(False)
    loop = torch.cat([layer(one[None]) for one in some])
    together, single = ((layer(part) - loop[:len(part)]).abs().max() for part in (some, some[:1]))
    edge = (layer(even)[..., 0, 0] - layer(even)[..., 6, 6]).abs().max()
    kept = keeps_promises(lambda mode, k=kind: k(3, 4, groups=2, padding_mode=mode, bias=False))
    verdict = "passes" if kept else "found"
    print(f"{kind.__name__:24s}{together:14.4f}{single:22.4f}{edge:18.4f}{verdict:>12s}")

# %% [markdown]
# **What to notice.** Each fault shows in one column only. An even picture has a border in
# `ForgetsPadding`. In `PoolsAll` a picture comes out differently in company and alone, by half a
# hundredth: nobody would see that in a plot. And look at the middle column: with a batch of *one*
# the fault is not there. Whoever tests with one picture at a time, as one restores photographs,
# finds nothing, while all of the training runs with it. "What breaks" says what it costs.
#
# ## 6. Results: does a second kernel pay?
#
# A task that two kernels should be good for: pictures of stripes in two directions, of 16 × 16
# pixels, with noise of σ = 0.3. Two layers, four channels between them; the first has one kernel or
# two. Four derivatives of the picture are given beside it, so that the gate has something to see
# once they are pooled. That is not a detail. A gate that is given the noisy picture alone, or what
# a trained first convolution makes of it, stayed nearly the same for all pictures here, and two
# kernels gained nothing (problem 2 says why).

# %%
sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 2
edges = torch.stack([sobel, -sobel, sobel.T, -sobel.T])[:, None]


def stripes(count: int, generator: torch.Generator, size: int = 16) -> Tensor:
    draw = torch.rand(4, count, 1, 1, generator=generator)
    angle = (draw[0] < 0.5) * math.pi / 2 + (draw[1] - 0.5) / 4
    places, pace = torch.arange(size), 2 * math.pi / (3 + 3 * draw[2])
    across = angle.cos() * places[:, None] + angle.sin() * places
    return 0.5 + 0.35 * torch.sin(pace * across + 2 * math.pi * draw[3])[:, None]


def seen(noisy: Tensor) -> Tensor:
    slopes = F.conv2d(F.pad(noisy, (1, 1, 1, 1), mode="reflect"), edges)
    return torch.cat([noisy - 0.5, 3 * slopes.relu()], dim=1)


# %%
class Small(Restorer):
    """Two convolutions; the first has groups. Photographs are restored in tiles of 16."""

    config, application = SimpleNamespace(channels=1), UniformTiles(16)

    def __init__(self, width: int, groups: int, **gate) -> None:
        super().__init__()
        self.first = SparseConv2d(5, width, 5, groups=groups, padding_mode="reflect", **gate)
        self.second = SparseConv2d(width, 1, 5, padding_mode="reflect")

    def forward(self, noisy: Tensor) -> Tensor:
        return self.second(self.first(seen(noisy)).relu()) + 0.5

    def bytes_for(self, shape: tuple[int, int], precision: str) -> int:
        return 100 * shape[0] * shape[1]


# %%
def train(width: int, groups: int, seed: int, steps: int = 250, **gate) -> Small:
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    net = Small(width, groups, **gate)
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, total_steps=steps)
    for _ in range(steps):
        clean = stripes(16, draws)
        noisy = clean + 0.3 * torch.randn(clean.shape, generator=draws)
        adam.zero_grad()
        (net(noisy) - clean).square().mean().backward()
        adam.step()
        pace.step()
    return net.requires_grad_(False).eval()


# %%
draws = torch.Generator().manual_seed(99)
truth = stripes(256, draws)
noisy = truth + 0.3 * torch.randn(truth.shape, generator=draws)
wall = data.sample("brick", size=192)
loud = wall + 0.3 * torch.randn(wall.shape, generator=draws)


def decibels(net: Restorer, noisy: Tensor = noisy, truth: Tensor = truth) -> float:
    return float(metrics.psnr(restore(net, noisy).clamp(0, 1), truth).mean())


# %%
names = {(4, 1): "4 channels, no groups", (4, 2): "4 channels, k = 2",
         (8, 1): "8 channels, no groups"}
nets = {(*size, seed): train(*size, seed) for size in names for seed in range(3)}
scores, walls = ({key: decibels(net, *pair) for key, net in nets.items()}
                 for pair in ((noisy, truth), (loud, wall)))
print(f"PSNR in dB, three seeds{'stripes':>18s}{'wall':>23s}")
for size, name in names.items():
    row = [found[*size, seed] for found in (scores, walls) for seed in range(3)]
    print(f"{name:28s}" + "".join(f"{value:7.1f}" for value in row))
print(f"{'noisy':28s}{metrics.psnr(noisy.clamp(0, 1), truth).mean():7.1f}"
      f"{float(metrics.psnr(loud.clamp(0, 1), wall)):21.1f}")
assert all(scores[4, 2, seed] > scores[4, 1, seed] + 0.5 for seed in range(3))
assert sum(walls[4, 2, seed] - walls[4, 1, seed] for seed in range(3)) > 0.9

# %%
figure = figures.new_figure(8.5, 3, columns=2)
for (size, name), marker in zip(names.items(), "osD", strict=True):
    found = torch.tensor([scores[*size, seed] for seed in range(3)])
    bars = [[found.mean() - found.min()], [found.max() - found.mean()]]
    count = sum(p.numel() for p in nets[*size, 0].parameters())
    cost = macs_per_pixel(nets[*size, 0], size=16)
    for axes, x in zip(figure.axes, (count, cost), strict=True):
        axes.errorbar(x, found.mean(), bars, fmt=marker, capsize=4, label=f"{name}: {x:.0f}")
        axes.legend(frameon=False, fontsize=8)
figure.axes[0].set(xlabel="capacity: parameters", ylabel="PSNR in dB", ylim=(17.5, 22.7))
figure.axes[1].set(xlabel="cost: MACs for each pixel", ylim=(17.5, 22.7))
figure

# %% [markdown]
# **What to notice.** Bars go from the worst seed to the best. On the left k = 2 stands with the
# eight channels: both have about twice the parameters. On the right it stands with the four, at
# 640 and 636 MACs: this is Figure 1 again, and now it has decibels. At equal cost two kernels are
# ahead by 1.7 to 2.1 dB, with every seed. They are also ahead of eight channels, on average by 0.8
# dB, which cost twice as much. All nets had the same 250 steps and the same rate, so some of this
# may be that they are easier or harder to train, and not what they could do.
#
# The wall is a photograph, of which none of them has ever seen the like: they know stripes. Two
# kernels are ahead there, too, by 1.5 dB on average. But the gain differs a great deal with the
# seed, from 0.1 to 2.4 dB. It is safe on what the nets were trained for, and not elsewhere.
#
# **Which temperature?** Four channels and two kernels again, with other gates: softmax at τ = 10 to
# 0.03, a sigmoid for each kernel as in CondConv (NSR §3.2), and Gumbel's trick. Each is scored as
# it was trained, and then with a *hard* gate, which takes the kernel of the larger gate alone: only
# that is eq. 5. (Gumbel's gates are always hard once training is over; a sigmoid's were never meant
# to be.)

# %%
kinds = {f"τ = {tau}": {"temperature": tau} for tau in (10, 1, 0.1, 0.03)}
kinds |= {"sigmoid": {"gate": "sigmoid"}, "Gumbel": {"gate": "gumbel"}}
tried, soft, hard = {"τ = 1": [nets[4, 2, seed] for seed in range(3)]}, {}, {}
print("            dB as trained, three seeds   hard gate   larger gate   rarer group, three seeds")
for name, gate in kinds.items():
    tried[name] = tried.get(name) or [train(4, 2, seed, **gate) for seed in range(3)]
    gates = torch.stack([net.first.gate(seen(noisy))[:, :, 0] for net in tried[name]])
    wins = gates.argmax(dim=2).float().mean(dim=1)
    rarer = "".join(f"{share:7.0%}" for share in torch.minimum(wins, 1 - wins))
    soft[name] = [decibels(net) for net in tried[name]]
    for net in (chosen := copy.deepcopy(tried[name])):
        net.first.gate.kind = "hard"
    hard[name] = [decibels(net) for net in chosen]
    row = *soft[name], sum(hard[name]) / 3, float(gates.amax(dim=2).mean())
    print("{:9s}{:10.1f}{:10.1f}{:10.1f}{:12.1f}{:14.2f}     ".format(name, *row) + rarer)

# %%
figure = figures.new_figure(8, 3)
for shift, marker, label, found in ((-0.1, "o", "as trained", soft), (0.1, "s", "hard gate", hard)):
    shown = {name: values for name, values in found.items() if found is soft or name != "sigmoid"}
    places = [list(kinds).index(name) + shift for name in shown]
    means = [sum(values) / 3 for values in shown.values()]
    bars = [[m - min(v), max(v) - m] for m, v in zip(means, shown.values(), strict=True)]
    figure.axes[0].errorbar(places, means, torch.tensor(bars).T, fmt=marker, capsize=4, label=label)
without = sum(scores[4, 1, seed] for seed in range(3)) / 3
figure.axes[0].axhline(without, color="0.6", linestyle=":", label="no groups")
figure.axes[0].set(xticks=range(len(kinds)), xticklabels=list(kinds), ylabel="PSNR in dB")
figure.axes[0].legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** As they were trained, τ = 1 and 0.1 are best, and Gumbel's trick is hardly
# better than no groups. The paper's Table 1 has 34.86, 34.87 and 34.83 dB for τ = 10, 1 and 0.1
# (super-resolution × 2), 34.81 for a sigmoid, 34.76 without groups, and 34.45 for Gumbel's trick:
# nearly the same order, much closer together. Mind the bars, though. Three seeds tell τ = 1 from
# Gumbel, and not τ = 10 from a sigmoid.
#
# The last columns say for how many of 256 pictures the rarer group has the larger gate. Half of the
# pictures have stripes of each kind, so 50 % would be ideal. At τ = 0.03 the rarer group is never
# chosen in two of three seeds. It died, as section 4 foretold, and with one kernel left these nets
# have lost most of their lead over nets with one. The second seed was lucky. Gumbel's noise was to
# prevent that, and does let both kernels learn. But two of three gates have not learned to choose
# in 250 steps; perhaps what they hear is too noisy. (At τ = 10 the rarer group is at 0 %, too, and
# very much alive: its gate is 0.48.)
#
# Now the orange squares. A layer that was "one of k" would not mind a hard gate. At τ = 1 it costs
# more than 4 dB, and what is left is worse than no groups. So this network does *not* choose: it
# mixes, in two proportions that the picture decides on, and its larger gate is 0.62. At τ = 0.1 the
# larger gate is 0.84, and a hard one costs a decibel. The temperature that is best for training is
# not the one at which eq. 5, and with it sparsity, holds.
#
# Where does the gate choose what? A picture of both directions, noise and all, in tiles of 16, by
# two of the networks.

# %%
places, wave = torch.arange(96).float(), 2 * math.pi / 4
both = torch.where(places < 48, (wave * places[:, None]).sin(), (wave * places).sin())
both = (0.5 + 0.35 * both)[None, None]
loud_both = both + 0.3 * torch.randn(both.shape, generator=torch.Generator().manual_seed(2))


def gates_of(image: Tensor, net: Small) -> Tensor:
    tiles = image.unfold(2, 16, 16).unfold(3, 16, 16)  # (1, 1, rows, columns, 16, 16)
    return net.first.gate(seen(tiles.reshape(-1, 1, 16, 16)))[:, 0, 0].reshape(tiles.shape[2:4])


mild, keen = tried["τ = 1"][2], tried["τ = 0.1"][2]
figures.show_images({"noisy": loud_both, "gates, τ = 1": gates_of(loud_both, mild)[None, None],
                     "gates, τ = 0.1": gates_of(loud_both, keen)[None, None]}, width=7)

# %% [markdown]
# **What to notice.** White is the first kernel alone, black the second. Each tile chose by itself,
# and through the noise all of the left half chose otherwise than the right half. At τ = 1 it is a
# mixture on both sides, at 0.1 a choice on the left, and on the right still a mixture, of about
# three to one.
#
# The paper's Figure 6 shows such maps of photographs, for each of four blocks. In the first they
# are almost binary and depend on colour and low-level cues, says its text; in later ones they are
# smoother. Here are the gates of a layer that has learned from stripes only, at τ = 0.1, on a
# photograph: above without noise, below with. How much do they owe to the temperature? It is
# changed after the training, first to three values, then with a slider. Where would you stop?

# %% tags=["nbsphinx-thumbnail"]
photo = data.sample("camera")
grainy = photo + 0.3 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(1))


def maps(*taus: float, net=keen, photos=(photo, grainy), gates_of=gates_of) -> figures.Figure:
    """A photograph, clean and noisy, and the gates of its tiles at some temperatures."""
    figure = figures.new_figure(2.2 * len(taus) + 2.2, 4.6, 2, len(taus) + 1)
    for row, image in enumerate(photos):
        first, *others = figure.axes[row * (len(taus) + 1):][:len(taus) + 1]
        first.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
        for axes, tau in zip(others, taus, strict=True):
            (altered := copy.deepcopy(net)).first.gate.temperature = tau
            axes.imshow(gates_of(image, altered), cmap="viridis", vmin=0, vmax=1)
            axes.set_title(f"gates, τ = {tau}", fontsize=9)
    _ = [axes.set_axis_off() for axes in figure.axes]
    return figure


maps(1, 0.1, 0.03)

# %%
widgets.explore(lambda tau, maps=maps: maps(tau), tau=[0.1, 0.01, 0.03, 0.3, 1, 3, 10])

# %% [markdown]
# **What to notice.** Yellow is the first kernel, violet the second. Without noise, upright edges
# (the tripod's legs, the coat) are violet, level and slanting ones (the shoulder, the skyline)
# yellow. The sky has neither edges nor noise, and the layer has never seen the like: the gate says
# something all the same. A lower temperature does not see more. It makes the same preferences look
# more certain: at 0.03 the sky is as decided as the tripod. With noise only the strong edges stand
# out from chance, and at 0.03 chance is as certain as they are. At τ = 1 the same gate is a mixture
# everywhere.
#
# **And in print?** Table 5 has the three networks that stand in the first figure with their names
# (σ = 25, PSNR in dB):
#
# | | baseline | sparse − | sparse + |
# |---|---|---|---|
# | Set12 | 30.59 | 30.63 | 30.68 |
# | BSD68 | 29.30 | 29.33 | 29.35 |
# | Urban100 | 30.33 | 30.36 | 30.48 |
# | millions of MACs for each pixel | 0.59 | 0.30 | 0.60 |
#
# In print half the cost loses nothing, and twice the capacity gains 0.05 to 0.15 dB. The library's
# own weights of the three do not show it. After 4000 steps each, baseline, sparse − and sparse +
# had 30.31, 30.22 and 30.27 dB on Set12, 29.11, 29.08 and 29.12 on BSD68; the baseline, whose steps
# are the cheapest, has taken 8000 more since then, to 30.39 and 29.18
# ([docs/results.md](../docs/results.md)). Table 3 goes on, for
# super-resolution × 2 at one cost: 34.76 dB without groups, then 34.83, 34.87, 34.89 and 34.91 for
# k = 2, 4, 8 and 16. No doubling of the capacity gains more than the one before.
#
# ## What breaks
#
# **Pooling over the batch.** What does the fault of `PoolsAll` cost? The network of τ = 1 restores
# its test pictures: all together, and then those of one direction together.
#
# **Pooling over more than was trained for.** The printed layer has no size of its own to pool over.
# It takes the mean over all of what it is given: a tile in training, and a photograph if somebody
# gives it one. Nothing stops that. But is it the same network then?

# %%
def pools_all(noisy: Tensor, net: Small = mild) -> Tensor:
    pooled = seen(noisy).mean(dim=(0, 2, 3), keepdim=True)
    gates = net.first.gate(pooled).expand(len(noisy), -1, -1)
    return net.second(net.first(seen(noisy), gates).relu()) + 0.5


upright = seen(truth)[:, 1:3].mean(dim=(1, 2, 3)) > seen(truth)[:, 3:].mean(dim=(1, 2, 3))
parts = {"all 256": slice(None), "the upright ones": upright, "the level ones": ~upright}
cases = {name: (truth[part], mild(noisy[part]), pools_all(noisy[part]))
         for name, part in parts.items()}
cases |= {"both directions": (both, restore(mild, loud_both), mild(loud_both)),
          "wall": (wall, restore(mild, loud), mild(loud))}
print("PSNR in dB, pooled over      each (tile)   all at once")
for name, (clean, *estimates) in cases.items():
    values = (float(metrics.psnr(one.clamp(0, 1), clean).mean()) for one in estimates)
    print("{:28s}{:12.2f}{:14.2f}".format(name, *values))

# %% [markdown]
# **What to notice.** In a mixed batch the fault costs 2.4 dB: the pooled features are those of
# neither direction, and so is the kernel. In a batch of one kind it costs nothing. It even gains a
# tenth, since a mean over many pictures has less noise. So the score of a network with this fault
# depends on how the test set is sorted. That is why the test is a property, and not a score.
#
# Pooling over the whole picture is the same mistake in space. Of the picture with both directions
# nearly 2 dB are lost. On the wall nothing is: there, all tiles chose nearly the same. This is why
# NSR pools over tiles, of the size that it was trained with, and why a network that pools belongs
# to its tile. (The supplement's §4.1 finds pooling over 64 pixels best in training, and over fewer
# after it. [docs/pooling.md](../docs/pooling.md) has what the library's networks, with gates and
# without, make of tiles of several sides.) `restore` takes care of that;
# `model(photograph)` does not.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("12")

# %% [markdown]
# ## Problems
#
# **1. No cross terms.** For which kernels is eq. 9 exact with every β, if $F$ is the identity?
#
# <details><summary>Solution</summary>
#
# Multiplied out, eq. 9 is $\sum_{i,j} \sqrt{\beta_i \beta_j}\, W_2^i W_1^j X$: the terms $i = j$
# are eq. 8, the terms $i \ne j$ are too many. Those of $(i, j)$ and $(j, i)$ share the factor
# $\sqrt{\beta_i \beta_j}$. So they vanish for every β exactly if $W_2^i W_1^j + W_2^j W_1^i = 0$
# for all $i \ne j$, for instance if both products are 0: what one group writes into the hidden
# channels the other does not read.
#
# ```python
# apart1 = torch.zeros(1, 2, 4, 4)
# apart1[:, 0, :2], apart1[:, 1, 2:] = torch.rand(2, 4), torch.rand(2, 4)
# apart2 = torch.zeros(1, 2, 3, 4)
# apart2[:, 0, :, :2], apart2[:, 1, :, 2:] = torch.rand(3, 2), torch.rand(3, 2)
# assert mixture_error(0.5, lambda z: z, apart1, apart2, torch.rand(1, 4, 1)) < 1e-5
# ```
#
# </details>
#
# **2. A blind gate.** A gate pools the output of a linear convolution. What can it know of the
# picture? Show it with circular borders.
#
# <details><summary>Solution</summary>
#
# The mean grey level and nothing else: the mean of a convolution is the mean of the picture times
# the kernel's sum. Stripes of both directions have the same mean. It takes a step that is not
# linear, as the ReLU after the derivatives of section 6, before anything else survives the pooling.
#
# ```python
# kernel = torch.rand(1, 1, 3, 3)
# image = torch.rand(1, 1, 8, 8)
# around = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="circular"), kernel)
# assert (around.mean() - image.mean() * kernel.sum()).abs() < 1e-5
# ```
#
# </details>
#
# ## Further reading
#
# - J. Hu, L. Shen, G. Sun, *Squeeze-and-excitation networks*, CVPR 2018.
# - B. Yang, G. Bender, Q. Le, J. Ngiam, *CondConv: conditionally parameterized convolutions for
#   efficient inference*, NeurIPS 2019.
# - E. Jang, S. Gu, B. Poole, *Categorical reparameterization with Gumbel-softmax*, ICLR 2017.
#
# **Next:** [13 · CNN denoisers](13_cnn_denoisers.ipynb)
