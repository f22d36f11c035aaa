# %% [markdown]
# # 12 · NSR: one of k kernels for each picture
#
# In sparse coding few atoms are in use, and which ones depends on the patch. A convolution uses all
# its kernels everywhere. NSR divides its channels into groups, of which one should be in use, and
# lets the picture choose. The choice is made soft, so that it can be trained.
#
# **You will be able to**
#
# - say what group sparsity in a layer saves, and derive the mixture of kernels from it;
# - mix kernels with gates, and apply a different kernel to each picture in one convolution;
# - derive the slope of a gate, and say what its temperature does;
# - write property tests that find silent faults of a layer.
#
# **Before you start**
#
# - **Time:** 75 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 05 (SC), 07 (the group lasso) and 08 (GroupSC).
# - **Source:** NSR: Fan, Yu, Mei, Zhang, Fu, Liu, Huang, *Neural sparse representation for image
#   restoration*, 2020, §3, eq. 4 to 10, Tables 1 and 5, Figures 1, 2 and 6.

# %%
# %matplotlib inline
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib import data, metrics
from lessons_lib.exercises import check
from lessons_lib.models.sparse_conv import SparseConv2d
from lessons_lib.viz import figures, widgets

# %% [markdown]
# ## 1. What does a group save?
#
# Two layers with k groups of c hidden channels are a sum (eq. 4). If only group $i$ may be
# non-zero, one term is left (eq. 5):
#
# $$ Y = \sum_{i=1}^k W_2^i * F(W_1^i * X) \qquad\text{becomes}\qquad Y = W_2^i * F(W_1^i * X). $$
#
# That costs a k-th of the multiplications, and all k groups stay in memory. Who chooses? The group
# with the largest amplitude would have to be computed first. So a small network (MLP) looks at the
# input, pooled over the picture (eq. 6), and an argmax takes its largest output. An argmax has no
# slope; a softmax has one (eq. 7), and weighs all groups (eq. 8):
#
# $$ \beta = \operatorname{softmax}(\operatorname{MLP}(\operatorname{Pool}(X))), \qquad
#    Y = \sum_i \beta_i W_2^i * F(W_1^i * X). $$
#
# Now nothing is saved: all groups are computed. Eq. 9 mixes the kernels instead of the features,
#
# $$ Y \approx \Bigl(\sum_i \sqrt{\beta_i} W_2^i\Bigr) * F\Bigl(\Bigl(\sum_i \sqrt{\beta_i} W_1^i
#    \Bigr) * X\Bigr). $$
#
# *Toy example.* Let $F$ be the identity. Then eq. 9 is $\sum_{i,j} \sqrt{\beta_i \beta_j}\, W_2^i
# W_1^j X$: the terms $i = j$ are eq. 8, the terms $i \ne j$ are too many. With β = (0.99,
# 0.01) each of these weighs $\sqrt{0.0099} = 0.1$, with (0.5, 0.5) it weighs 0.5, as much as the
# others.
#
# **Predict.** How large is the relative error of eq. 9, with random kernels and β = (0.99, 0.01)?

# %%
generator = torch.Generator().manual_seed(0)
first = torch.randn(200, 2, 8, 16, generator=generator)  # 200 draws of W_1, two groups
second = torch.randn(200, 2, 4, 8, generator=generator)
signal = torch.randn(200, 16, 1, generator=generator)


def mixture_error(largest: float, activation=torch.relu, w1=first, w2=second, x=signal) -> float:
    """Relative error of eq. 9 against eq. 8, two groups, β = (largest, 1 − largest)."""
    beta = torch.tensor([largest, 1 - largest])[:, None, None]
    exact = (beta * (w2 @ activation(w1 @ x[:, None]))).sum(dim=1)
    mixed = (beta.sqrt() * w2).sum(dim=1) @ activation((beta.sqrt() * w1).sum(dim=1) @ x)
    return float((mixed - exact).norm() / exact.norm())


def sharp() -> tuple[str, str]:
    found = mixture_error(0.99)
    return "a" if found < 0.02 else "b" if found < 0.08 else "c", f"It is {found:.2f}."


widgets.predict({"a": "below 0.02", "b": "0.02 to 0.08", "c": "more than 0.08"}, sharp)

# %%
steps = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0]
figure = figures.new_figure(6, 2.8)
for name, function in {"ReLU": torch.relu, "identity": lambda z: z}.items():
    figure.axes[0].plot(steps, [mixture_error(p, function) for p in steps], "o-", label=name)
figure.axes[0].set(xlabel="largest gate", ylabel="relative error of eq. 9")
figure.axes[0].legend(frameon=False)
assert mixture_error(1.0) < 1e-6 < 0.05 < mixture_error(0.99) < mixture_error(0.5)
figure

# %% [markdown]
# **What to notice.** At a gate of 1 the two agree. The error falls steeply only at the end, and is
# still above 0.1 at 0.99: a gate must be very sharp before the approximation is close. It is better
# to take eq. 9 as the definition of the layer, and eq. 8 as where it came from.
#
# ## 2. Mixing kernels
#
# NSR drops the roots, gives each convolution its own gates, and divides the outputs into d
# *cardinal groups*, which choose each by itself (eq. 10):
#
# $$ \hat W = \operatorname{concat}_{j=1}^d \Bigl( \sum_{i=1}^k \gamma_{j,i} W^{j,i} \Bigr). $$
#
# *Toy example.* k = 2, d = 2, kernels of one number: W¹ = (1, 2), W² = (10, 20). With the gates
# (½, ½) for the first output and (1, 0) for the second, $\hat W$ = (5.5, 2).
#
# ### Exercise 1: mix the kernels
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
# ### Exercise 2: a kernel for each picture
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

# %% [markdown]
# **A special case.** With k = 1, as many cardinal groups as outputs, and a sigmoid instead of the
# softmax, $\hat W$ scales each output by a number from the pooled input: squeeze and excitation.

# %% tags=["nbval-check-output"]
with torch.no_grad():
    layer = SparseConv2d(3, 4, groups=1, cardinality=4, gate="sigmoid", bias=False)
    pictures = torch.rand(2, 3, 6, 6)
    plain = F.conv2d(pictures, layer.weight[0], padding=1)
    excited = layer.gate(pictures)[:, 0, :, None, None] * plain
    print("squeeze and excitation:", torch.allclose(layer(pictures), excited, atol=1e-5))

# %% [markdown]
# ## 3. What does a gate learn from?
#
# The temperature τ stands in $\beta = \operatorname{softmax}(\mathbf z / \tau)$. What reaches the
# MLP in training is multiplied by the slopes of β.
#
# ### Exercise 3: the slopes of a gate
#
# Derive the Jacobian $J_{ij} = \partial \beta_i / \partial z_j$.
#
# *Expect* columns that sum to 0, and 0.25 in the corner for two equal logits and τ = 1.
#
# <details><summary>Hint</summary>
#
# $\log \beta_i = z_i/\tau - \log \sum_l e^{z_l/\tau}$: differentiate this.
# </details>


# %% tags=["nbval-check-output"]
def gate_slopes(logits: Tensor, temperature: float) -> Tensor:
    """Logits z (k,) and τ -> J (k, k)."""
    ### BEGIN SOLUTION
    gates = torch.softmax(logits / temperature, dim=0)
    return (gates.diag() - gates[:, None] * gates) / temperature
    ### END SOLUTION


gate_slopes = check("nsr.gate_slopes", gate_slopes)
print(gate_slopes(torch.zeros(2), 1.0).tolist())

# %%
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
# of the logits. The paper's Table 1 has 34.86, 34.87 and 34.83 dB for τ = 10, 1 and 0.1 (super-
# resolution × 2), 34.45 for the Gumbel trick, 34.81 for a sigmoid, 34.76 without groups.
#
# The Gumbel trick draws one group and takes the slope of a softmax. How noisy is that?

# %%
logits = torch.tensor([2.0, 0.0], requires_grad=True)
gains = torch.tensor([1.0, 0.0])  # group 0 is worth more


def slope(gate) -> float:
    return float(torch.autograd.grad((gate(logits) * gains).sum(), logits)[0][0])


torch.manual_seed(0)
draws = torch.tensor([slope(lambda z: F.gumbel_softmax(z, hard=True, dim=0)) for _ in range(500)])
print(f"softmax {slope(lambda z: z.softmax(0)):.3f}, sigmoid {slope(torch.sigmoid):.3f}, "
      f"Gumbel {draws.mean():.3f} ± {draws.std():.3f} over 500 draws")

# %% [markdown]
# **What to notice.** The softmax and the sigmoid give one number. Gumbel's changes from draw to
# draw, by two thirds of its mean or so. And the group that is not drawn gets no gradient for its
# kernels: a group that is never drawn is dead.
#
# ## 4. Faults that nobody hears of
#
# The layer that the paper's supplement prints stops with an error in PyTorch from 1.8 on, since a
# call lacks its bias. That fault is loud. Others are silent: asked for reflected borders the layer
# pads with zeros; its `out_channels` is k times the outputs. And it fails on features in
# channels-last order.
#
# ### Exercise 4: test a layer that you cannot see
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
# ## 5. Results: does a second kernel pay?
#
# Pictures of stripes in two directions, with noise of σ = 0.3. Four derivatives of the picture are
# given beside it, so that the gate has something to see once they are pooled. That is not a detail.
# A gate that is given the noisy picture alone, or what a trained first convolution makes of it,
# stayed nearly the same for all pictures here, and two kernels gained nothing (problem 2 says why).
# Two layers, four channels between them; the first has one kernel or two.

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
def train(width: int, groups: int, seed: int, steps: int = 300) -> nn.Sequential:
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    net = nn.Sequential(SparseConv2d(5, width, 5, groups=groups, padding_mode="reflect"),
                        nn.ReLU(), SparseConv2d(width, 1, 5, padding_mode="reflect"))
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, total_steps=steps)
    for _ in range(steps):
        clean = stripes(16, draws)
        noisy = clean + 0.3 * torch.randn(clean.shape, generator=draws)
        adam.zero_grad()
        (net(seen(noisy)) + 0.5 - clean).square().mean().backward()
        adam.step()
        pace.step()
    return net.requires_grad_(False)


# %%
draws = torch.Generator().manual_seed(99)
truth = stripes(256, draws)
noisy = truth + 0.3 * torch.randn(truth.shape, generator=draws)
nets, scores = {}, {}
for width, groups in ((4, 1), (4, 2), (8, 1)):
    for seed in range(3):
        net = nets[width, groups, seed] = train(width, groups, seed)
        scores[width, groups, seed] = float(metrics.psnr(net(seen(noisy)) + 0.5, truth).mean())
    row = " ".join(f"{scores[width, groups, seed]:.1f}" for seed in range(3))
    print(f"{width} channels, k = {groups}: {row} dB with three seeds")
assert all(scores[4, 2, seed] > scores[4, 1, seed] + 0.5 for seed in range(3))

# %%
figure = figures.new_figure(7.5, 2.8, columns=2)
for (width, groups, seed), score in scores.items():
    size = sum(p.numel() for p in nets[width, groups, seed].parameters())
    cost = 25 * width * 6  # 5 inputs and 1 output, kernels of 25 weights
    for axes, x in zip(figure.axes, (size, cost), strict=True):
        axes.plot(x, score, "osD"[groups + (width == 8) * 2 - 1], color=figures.COLOURS[groups])
figure.axes[0].set(xlabel="parameters", ylabel="PSNR in dB")
figure.axes[1].set(xlabel="multiplications for each pixel")
figure

# %% [markdown]
# **What to notice.** Circles have four channels and one kernel, squares two kernels, diamonds eight
# channels and one kernel. At the same multiplications two kernels are ahead by more than 1 dB with
# every seed. They have more parameters, which cost memory. Eight channels have nearly as many, cost
# twice the multiplications, and are on average behind. All nets had the same 300 steps and the same
# rate, so some of this may be that they are easier or harder to train, and not what they could do.
#
# Where does the gate choose what? A picture of both directions, in tiles of 16.

# %% tags=["nbsphinx-thumbnail"]
places = torch.arange(96).float()
wave = torch.where(places < 48, places[:, None], places[None, :])
both = 0.5 + 0.35 * torch.sin(2 * math.pi / 4 * wave)
tiles = both.unfold(0, 16, 16).unfold(1, 16, 16).reshape(36, 1, 16, 16)
chosen = nets[4, 2, 2][0].gate(seen(tiles))[:, 0, 0].reshape(6, 6)
figure = figures.new_figure(7, 3, columns=2)
figure.axes[0].imshow(both, cmap="gray", vmin=0, vmax=1)
shown = figure.axes[1].imshow(chosen, cmap="viridis")
figure.colorbar(shown, ax=figure.axes[1], label="gate of the first kernel")
figure

# %% [markdown]
# **What to notice.** The gate follows the direction of the stripes, and changes where it does (the
# paper's Figure 6 shows such maps of photographs). It is a mixture on both sides: this gate has not
# become sharp.
#
# In print (Table 5, σ = 25, PSNR in dB; MACs for each pixel):
#
# | | baseline | sparse − | sparse + |
# |---|---|---|---|
# | Set12 | 30.59 | 30.63 | 30.68 |
# | BSD68 | 29.30 | 29.33 | 29.35 |
# | Urban100 | 30.33 | 30.36 | 30.48 |
# | MACs | 0.59 M | 0.30 M | 0.60 M |
#
# A real wall, with the same small nets, which have seen stripes only:

# %%
wall = data.sample("brick")[..., 172:236, 166:230]
loud = wall + 0.3 * torch.randn(wall.shape, generator=torch.Generator().manual_seed(1))
for groups in (1, 2):
    found = [(nets[4, groups, seed](seen(loud)) + 0.5).clamp(0, 1) for seed in range(3)]
    values = [float(metrics.psnr(one, wall)[0]) for one in found]
    print(f"k = {groups}: " + " ".join(f"{value:.1f}" for value in values) + " dB")
print(f"noisy: {float(metrics.psnr(loud.clamp(0, 1), wall)[0]):.1f} dB")

# %% [markdown]
# **What to notice.** Two kernels are ahead here too, on average over the seeds by about 1 dB. But
# the gain differs a great deal: 2.4 dB with one seed, 0.1 dB with another. It is safe on stripes,
# for which the nets were trained, and not on a wall.
#
# ## What breaks
#
# **Pooling over more than was trained for.** Of a picture with both directions the pooled features
# are those of neither. The gate is a compromise, and so is the kernel. This is why NSR pools over
# tiles: restored whole, a photograph meets another model.

# %%
whole = nets[4, 2, 2][0].gate(seen(both[None, None]))[0, 0, 0]
print(f"tiles: {chosen.min():.2f} to {chosen.max():.2f}, the whole: {whole:.2f}")
assert chosen.min() < whole < chosen.max()

# %% [markdown]
# ## Problems
#
# **1. No cross terms.** For which kernels is eq. 9 exact with every β, if $F$ is the identity?
#
# <details><summary>Solution</summary>
#
# For those with $W_2^i W_1^j = 0$ where $i \ne j$: the groups neither see nor write the same.
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
# The mean grey level and nothing else: the mean of a convolution is the mean times
# the kernel's sum.
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
#
# **Next:** [13 · CNN denoisers](13_cnn_denoisers.ipynb)
