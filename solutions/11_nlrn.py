# %% [markdown]
# # 11 · NLRN: looking around, again and again
#
# Lesson 06 compared patches by a formula, and GroupSC learned a few weights in it. NLRN learns all
# of it: what a pixel asks, what the others answer, and what they hand over. It does so many times,
# with the same weights, and each time it remembers what it found before.
#
# **You will be able to**
#
# - write non-local means, GroupSC's average and NLRN's as one function with other arguments;
# - build the non-local module, and say why it starts by doing nothing;
# - test whether an operation takes means, and which of six distances do;
# - read a recurrent network as an unrolled iteration, and count its parameters;
# - show whom a pixel looks at, state by state, and say what carrying correlations along does;
# - measure how large a neighbourhood should be, what the network gains, and what it costs.
#
# **Before you start**
#
# - **Time:** 75 minutes; all cells together run in a minute on a laptop.
# - **You need:** lessons 04 (unrolling), 06 (self-similarity) and 08 (GroupSC, attention).
# - **Source:** NLRN: Liu, Wen, Fan, Loy, Huang, *Non-local recurrent network for image
#   restoration*, NeurIPS 2018: §3 and §4, eq. 1 to 7, Tables 1 to 5, Figures 1 to 6.

# %%
# %matplotlib inline
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib import checkpoints, classical, data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check
from lessons_lib.models import NLRN, NLRNConfig, build, restore
from lessons_lib.models.macs import macs_per_pixel
from lessons_lib.models.nlrn import NonLocalModule, by_pixel
from lessons_lib.ops import attention, prox, similarity
from lessons_lib.ops.patches import extract_patches
from lessons_lib.viz import figures, widgets

# %%
torch.set_grad_enabled(False)  # switched on where something is trained
sigma = 25 / 255
model, groupsc, sc = (checkpoints.load_model(f"{name}-gray-25")
                      for name in ("nlrn-small", "groupsc", "sc"))
wall = data.sample("brick")[..., 172:212, 166:206]
around = GaussianNoise(sigma)(wall, "brick")
inner = (..., slice(4, 36), slice(4, 36))  # the pixels in the middle of a patch of 9 × 9
clean, noisy = wall[inner], around[inner]
patches, pixels = extract_patches(around, 9).mT, by_pixel(noisy)
side, N = clean.shape[-1], patches.shape[1]
print(f"{side} × {side} pixels, N = {N}; patches {tuple(patches.shape)}, "
      f"pixels {tuple(pixels.shape)}")

# %% [markdown]
# ## 1. What do methods of look-alikes have in common?
#
# The paper puts them into one formula (eq. 1). Each pixel $i$ has a vector $\mathbf X_i$, a
# *row* of $\mathbf X$, and becomes
#
# $$ \mathbf Z_i = \frac{1}{\delta_i} \sum_j \Phi_i^j\, \mathbf G_j, \qquad
#    \delta_i = \sum_j \Phi_i^j . $$
#
# | | $\Phi_i^j$, how alike | $\mathbf G_j$, what is handed over |
# |:--|:--|:--|
# | block matching, eq. 2 | 1 for the $K$ nearest, else 0 | patches, for what follows |
# | NLM, eq. 3 | $\exp(-\lVert \mathbf X_i - \mathbf X_j \rVert^2 / h^2)$ | the pixel |
# | NLRN, eq. 4 | $\exp(\theta(\mathbf X_i)\, \psi(\mathbf X_j)^\top)$ | $\mathbf X_j \mathbf W_g$ |
#
# The last one is attention (lesson 08): queries θ, keys ψ, and a softmax over the keys. So is
# non-local means (NLM), if its exponent can be written as *one* inner product. (What pixel $i$
# gives stands in *row* $i$ of Φ. In lessons 06 and 08 it stood in column $i$. In print NLM also
# weighs the pixels of a patch by a Gaussian, and hands over $\mathbf X_j$; we leave the weighting
# out, and hand over the middle pixel.)
#
# ### Exercise 1: non-local means as attention
#
# Find queries and keys, with $m + 1$ numbers each, so that a softmax of their inner products gives
# the weights of eq. 3. Nothing else may be needed: no bias, no scale. A query is made of the patch
# of its own pixel, and so is a key.
#
# *Toy example.* Three patches of one pixel, 0, 1 and 3, and $h = 1$: the first gives weights in the
# ratio $1 : e^{-1} : e^{-9}$.
#
# *Expect* `[0.731, 0.269, 0.0]`.
#
# <details><summary>Hint</summary>
#
# Multiply the square out. Which of its three terms are inner products, which one is the same for
# all keys, and how can the other become an inner product with one channel more? `torch.cat(...,
# dim=-1)` appends a channel.
# </details>


# %% tags=["nbval-check-output"]
def nlm_as_attention(patches: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """Patches (B, N, m) and h -> queries and keys (B, N, m + 1)."""
    ### BEGIN SOLUTION
    ones, norms = torch.ones_like(patches[..., :1]), patches.square().sum(dim=-1, keepdim=True)
    queries = torch.cat([2 * patches / h**2, ones], dim=-1)
    keys = torch.cat([patches, -norms / h**2], dim=-1)
    return queries, keys
    ### END SOLUTION


nlm_as_attention = check("nlrn.nlm_as_attention", nlm_as_attention)
queries, keys = nlm_as_attention(torch.tensor([[[0.0], [1.0], [3.0]]]), 1.0)
print([round(value, 3) for value in (queries @ keys.mT).softmax(dim=-1)[0, 0].tolist()])

# %% [markdown]
# Now `attend` is all that we need. With patches for $\mathbf X$ and pixels for values it is NLM.
# With $\boldsymbol\kappa \odot \mathbf x$ instead of patches, $h = 1$, and *squared codes* for
# values it is the *square* of the strength in GroupSC's prox (eq. 11 of its paper, lesson 08).
#
# Whom does a pixel of an upright joint ask? The figure shows hard block matching, NLM, and GroupSC
# with its trained κ, all on the noisy patches. (Each panel has its own scale, which leaves out the
# pixel itself.)

# %%
attend = partial(F.scaled_dot_product_attention, scale=1.0)  # softmax(queries keysᵀ) values
h = 9 * sigma
queries, keys = nlm_as_attention(patches, h)
gaps = torch.cdist(patches, patches, compute_mode="donot_use_mm_for_euclid_dist").square()
nlm = torch.exp(-gaps / h**2)
nlm = nlm / nlm.sum(dim=-1, keepdim=True)
assert (attend(queries, keys, pixels) - nlm @ pixels).abs().max() < 1e-4

centred = patches - patches.mean(dim=-1, keepdim=True)
queries, keys = nlm_as_attention(groupsc.kappa * centred, 1.0)
codes, threshold = groupsc.C.mT @ centred.mT, groupsc.thresholds[0]
strength = attend(queries, keys, codes.square().mT).mT.sqrt()
Sigma = similarity.gaussian_similarity(centred.mT, groupsc.kappa)
expected = prox.relaxed_group_threshold(codes, Sigma, threshold)
assert (codes * (1 - threshold / strength).clamp_min(0) - expected).abs().max() < 1e-4
print("one function: NLM, and GroupSC's prox")

# %%
row, column = 13, 16
at = row * side + column
near = gaps[0, at].topk(16, largest=False).indices
hard = torch.zeros(N).index_fill(0, near, 1 / 16)
soft = Sigma[0] / Sigma[0].sum(dim=-1, keepdim=True)
rows = {"block matching, 16 patches": hard, "NLM": nlm[0, at], "GroupSC": soft[at]}
figures.show_similar(around, {name: weights.view(side, side) for name, weights in rows.items()},
                     (row, column), 9, width=10)

# %% [markdown]
# **What to notice.** Block matching takes sixteen, all of them on the joint, and forgets the rest.
# In NLM the weight falls off along the joint, and brick counts for nothing. GroupSC finds the joint
# as well, and lets the bricks say something: it was trained to look again later (lesson 08). All
# three compare noisy pixels as they are, by a formula that somebody has chosen.
#
# ## 2. What if the comparison is learned?
#
# In NLM the patch is given, and $h$ is chosen. NLRN compares *features*, $m$ numbers that a network
# has computed for a pixel, by three matrices that the loss shapes (eq. 4 to 6):
#
# $$ \mathbf Z_i = \frac{1}{\delta_i} \sum_j \exp\bigl( \mathbf X_i \mathbf W_\theta
#    \mathbf W_\psi^\top \mathbf X_j^\top \bigr)\, \mathbf X_j \mathbf W_g, \qquad
#    \mathbf X_i \leftarrow \mathbf X_i + \mathbf Z_i . $$
#
# ($\mathbf W_\theta$ and $\mathbf W_\psi$ make $l = 64$ numbers of $m = 128$. The paper's eq. 6
# prints $\mathbf X_i \mathbf W_g$; that would hand a pixel nothing but its own.) The exponents are
# the *logits*. The paper adds those of earlier states to them before the softmax; section 5 asks
# what for. In the code each matrix has a bias, so here they are functions `theta`, `psi` and `g`.
#
# *Toy example.* Two pixels with one feature each, 0 and 1, $\theta(x) = \psi(x) = \sqrt{\ln 3}\, x$
# and $g(x) = x$. The first asks nothing, weighs both alike, and becomes 0 + ½. The second has the
# logits 0 and ln 3, the weights ¼ and ¾, and becomes 1 + ¾.
#
# ### Exercise 2: the non-local module
#
# Write it, with logits that are `carried` added to those of its own. Return the new features, and
# the logits, so that the next state can carry them.
#
# *Expect* `[0.5, 1.75]`.
#
# <details><summary>Hint</summary>
#
# `keys.mT` swaps the last two axes. The softmax goes along the keys, the last axis.
# </details>


# %% tags=["nbval-check-output"]
def non_local(features: Tensor, theta, psi, g, carried: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, m), three functions of such features, (B, N, N) -> (B, N, m) and (B, N, N)."""
    ### BEGIN SOLUTION
    logits = theta(features) @ psi(features).mT + carried
    return features + logits.softmax(dim=-1) @ g(features), logits
    ### END SOLUTION


non_local = check("nlrn.non_local", non_local)
two, nothing = torch.tensor([[[0.0], [1.0]]]), torch.zeros(1, 2, 2)
root = torch.tensor(3.0).log().sqrt()
looked, _ = non_local(two, lambda x: root * x, lambda x: root * x, lambda x: x, nothing)
print([round(value, 3) for value in looked.flatten().tolist()])

# %% [markdown]
# With trained weights, on the features of the first state, your module is PyTorch's attention and
# the library's module. (Our network is smaller than the paper's: 6 states instead of 12, 64
# channels of which 32 are compared, tiles of 32 × 32.)


# %%
def rows_by(layer: nn.Conv2d):
    """A 1 × 1 convolution as a function of rows (B, N, m)."""
    return lambda x: F.linear(x, layer.weight[:, :, 0, 0], layer.bias)


look = model.transitions[0].look
theta, psi, g = (rows_by(layer) for layer in (*look.embeddings, look.transform))
maps = model.norms[0].before(model.first(model.norm(noisy))).relu()  # (1, m, H, W)
features, unknown = by_pixel(maps), torch.zeros(1, N, N)
ours, _ = non_local(features, theta, psi, g, unknown)
theirs = features + attend(theta(features), psi(features), g(features))
assert (ours - theirs).abs().max() < 1e-3 * ours.abs().max(), "attention"
assert (ours - by_pixel(look(maps)[0])).abs().max() < 1e-3 * ours.abs().max(), "the library"
print("one module, three programs")

# %% [markdown]
# **Where to start?** $\mathbf W_g$ and its bias start at 0, the other weights at random. Then the
# module gives back what it gets, to the last bit. It can be put into any network, a trained one
# too, and does no harm before it has learned something. But can it learn, if it does nothing? Guess
# which of the three matrices get a gradient in the first step.


# %%
def first_step(gives: float) -> str:
    """Sizes of the gradients of a new module, whose W_g is all alike."""
    torch.manual_seed(0)
    new, image = NonLocalModule(8, 4), torch.rand(1, 8, 6, 6)
    new.transform.weight.fill_(gives)
    with torch.enable_grad():
        (new(image)[0] - 1).square().sum().backward()
    layers = {"W_θ": new.embeddings[0], "W_ψ": new.embeddings[1], "W_g": new.transform}
    return ", ".join(f"{k} {layer.weight.grad.norm():.3g}" for k, layer in layers.items())


for gives in (0.0, 1e-3, 0.1):
    print(f"gradients with W_g all {gives:g}: {first_step(gives)}")

# %% [markdown]
# **What to notice.** The zero is no trap: what $\mathbf W_g$ multiplies is not zero, so it moves in
# the first step. Only then does it matter where one looks, and $\mathbf W_\theta$ and $\mathbf
# W_\psi$ learn as well. First a pixel listens to anybody, then it learns to whom. (If all three
# were 0, $\mathbf W_\theta$ and $\mathbf W_\psi$ would wait for each other for ever.)
#
# ## 3. Which distance?
#
# The paper's Table 1 tries six (Set12, σ = 25):
#
# | | $\Phi_i^j$ | PSNR in dB |
# |:--|:--|--:|
# | Euclidean | $\exp(-\lVert \mathbf X_i - \mathbf X_j \rVert^2/h^2)$ | 30.74 |
# | dot product | $\mathbf X_i \mathbf X_j^\top$ | 30.68 |
# | embedded dot product | $\theta(\mathbf X_i)\, \psi(\mathbf X_j)^\top$ | 30.75 |
# | Gaussian | $\exp(\mathbf X_i \mathbf X_j^\top)$ | 30.69 |
# | symmetric embedded Gaussian | $\exp(\theta(\mathbf X_i)\, \theta(\mathbf X_j)^\top)$ | 30.76 |
# | embedded Gaussian | $\exp(\theta(\mathbf X_i)\, \psi(\mathbf X_j)^\top)$ | 30.80 |
#
# With an exponential, a pixel gets a *mean* of what the others hold. Without it a correlation may
# be negative, $\delta_i$ may be 0, and the library divides by $N$ instead. Can one tell from
# outside?
#
# ### Exercise 3: is it a mean?
#
# `operate(queries, keys, values)` takes three tensors $(1, N, l)$, $(1, N, l)$ and $(1, N, m)$ and
# gives $(1, N, m)$. Return whether it keeps three promises, to 1e-4:
#
# 1. the result is weights times values, and the weights come from queries and keys alone;
# 2. no weight is negative, and those of each query sum to 1;
# 3. where all *keys* are alike, every pixel gets the plain mean of all values.
#
# Draw random cases, of $N = 9$ pixels or so.
#
# *Expect* the two dot products to fail, and the others to pass.
#
# <details><summary>Hint</summary>
#
# You need not know how it works to see its weights. Which values make them come out?
# </details>


# %% tags=["nbval-check-output"]
def takes_means(operate) -> bool:
    """A function of queries, keys and values -> whether it takes means."""
    ### BEGIN SOLUTION
    queries, keys = torch.randn(2, 1, 9, 4)
    values = torch.randn(1, 9, 3)
    weights = operate(queries, keys, torch.eye(9)[None])
    alike = operate(queries, keys[:, :1].expand_as(keys), values)
    linear = torch.allclose(operate(queries, keys, values), weights @ values, atol=1e-4)
    sums = torch.allclose(weights.sum(dim=-1), torch.ones(1, 9), atol=1e-4)
    mean = torch.allclose(alike, values.mean(dim=1).expand(1, 9, 3), atol=1e-4)
    return linear and sums and mean and bool((weights > -1e-4).all())
    ### END SOLUTION


takes_means = check("nlrn.takes_means", takes_means)


def operation(kind):
    """A distance of Table 1 without its maps, as a function of queries, keys and values."""
    return lambda q, k, v: attention.weights_of(kind.logits(q, k), kind.exponential) @ v


for name, kind in attention.DISTANCES.items():
    print(f"{name:28s}{takes_means(operation(kind))}")

# %% [markdown]
# So where everything looks alike, as in an even sky, attention is the mean of what it sees: $N$
# values, and $1/N$ of the noise's variance. A dot product there gives more the brighter the sky is.
#
# **A small experiment.** A wall has 64 bricks. Each bears one of 8 patterns of 16 pixels, and every
# wall has patterns of its own, so that none of them can be learned. Noise is 0.7 times as strong as
# the patterns. All that a linear map can do with one noisy brick is to multiply it by $1/(1 +
# 0.7^2)$. With a module before it, a brick can ask the others. θ and ψ keep $l = 8$ numbers of
# its 16. (Bricks stand sorted by pattern, which a module cannot see: it does not know of places.)


# %%
def walls(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clean and noisy walls (count, 16, 8, 8), a brick in each place."""
    patterns = torch.randn(count, 8, 16, generator=generator)
    which = torch.randint(8, (count, 64, 1), generator=generator).sort(dim=1).values
    clean = patterns.gather(1, which.expand(-1, -1, 16)).mT.unflatten(2, (8, 8))
    return clean, clean + 0.7 * torch.randn(clean.shape, generator=generator)


class Mason(nn.Module):
    """A non-local module and a linear map; at first both change nothing."""

    def __init__(self, distance: str) -> None:
        super().__init__()
        self.look, self.last = NonLocalModule(16, 8, distance), nn.Conv2d(16, 16, 1, bias=False)
        nn.init.dirac_(self.last.weight)

    def forward(self, bricks: Tensor) -> Tensor:
        return self.last(self.look(bricks)[0])


# %%
def train(distance: str, seed: int, steps: int = 150) -> Mason:
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    net = Mason(distance)
    adam = torch.optim.Adam(net.parameters(), 3e-2)
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-2, total_steps=steps)
    with torch.enable_grad():
        for _ in range(steps):
            truth, seen = walls(16, draws)
            adam.zero_grad()
            (net(seen) - truth).square().mean().backward()
            adam.step()
            pace.step()
    return net


# %%
truth, seen = walls(200, torch.Generator().manual_seed(99))
figure = figures.new_figure(11, 2.1, columns=6)
print(f"signal to noise in dB; a linear map alone: {10 * torch.tensor(1 + 1 / 0.49).log10():.2f}")
for axes, (name, kind) in zip(figure.axes, attention.DISTANCES.items(), strict=True):
    nets = [train(name, seed) for seed in range(2)]
    found = [-10 * (net(seen) - truth).square().mean().log10() for net in nets]
    print(f"{name:28s}" + " ".join(f"{score:6.2f}" for score in found))
    drawn = attention.weights_of(nets[0].look(seen[:1])[1], kind.exponential)[0]
    axes.imshow(drawn, cmap="RdBu_r", vmin=-drawn.abs().max(), vmax=drawn.abs().max())
    axes.set_title(name.replace("symmetric embedded", "symm. emb."), fontsize=9)
    axes.set(xticks=[], yticks=[])
figure

# %% [markdown]
# **What to notice.** Two seeds agree to a few hundredths of a decibel. The squares on the diagonal
# are bricks with the same pattern, and nobody was told of them. Four observations:
#
# - The Euclidean distance does best: here *alike* means *near*. It sees all 16 numbers of a brick;
#   the embedded Gaussians see 8, and come close.
# - The Gaussian without maps sees little but the brick itself, since $\langle \mathbf x, \mathbf x
#   \rangle$ is much larger than any $\langle \mathbf x, \mathbf y \rangle$, and there is nothing
#   before it that could change that. A map repairs it.
# - Where there is no exponential, weights have both signs. The embedded dot product has found the
#   squares with the wrong sign, and g turns them over: only the product counts.
# - The plain dot product is not bad for something that takes no mean. Problem 2 says what it does.
#
# In the paper, after days of training, all six lie within 0.12 dB, the embedded Gaussian first and
# the plain dot product last. It is last in small networks that are trained for minutes, too, by 0.7
# dB (docs/training.md).
#
# ## 4. Why again and again?
#
# NLRN has one *state* of features for each pixel. It starts as a convolution of the image, and is
# renewed $T$ times, by a non-local module and two convolutions, with the same weights each time
# (eq. 7 and Figure 2):
#
# $$ \mathbf s^0 = \operatorname{conv}(\mathbf y), \qquad \mathbf s^t = \mathbf s^0 +
#    \operatorname{conv}\bigl(\operatorname{conv}\bigl(\operatorname{look}(\mathbf s^{t-1})\bigr)
#    \bigr), \qquad \hat{\mathbf x} = \mathbf y + \operatorname{conv}(\mathbf s^T). $$
#
# Have we seen this before? ISTA's step can be written as $\boldsymbol\alpha^k =
# S_\lambda[\mathbf E \mathbf y + (\mathbf I - \mathbf E \mathbf D)\, \boldsymbol\alpha^{k-1}]$:
#
# | | ISTA, LISTA (lesson 04) | NLRN |
# |:--|:--|:--|
# | what is renewed | codes $\boldsymbol\alpha^k$ | the state $\mathbf s^t$ |
# | what the image adds each time | $\mathbf E \mathbf y$ | $\mathbf s^0$ |
# | shared by all steps | $\mathbf E$, $\mathbf D$ | all convolutions, θ, ψ and g |
# | each step's own | $\Lambda_k$ | normalisation, in the authors' code |
# | between linear maps | $S_\lambda$ | a softmax, ReLUs |
#
# A recurrent network that is given the same input all the time is an unrolled iteration. What is
# lost is the objective: no penalty is known whose minimum the states approach.
#
# Before each convolution stand a *batch normalisation*, and mostly a ReLU (the paper says always).
# In training a normalisation takes the mean and the deviation of each channel away and gives it
# learned ones; afterwards it scales and shifts by fixed numbers (lesson 13). This is a renewal with
# your module:


# %%
def renew(model: NLRN, start: Tensor, state: Tensor, carried: Tensor, t: int):
    """The next state (B, m, H, W), and the logits (B, N, N) of its look."""
    step, norms = model.transitions[0], model.norms[t]
    layers = (*step.look.embeddings, step.look.transform)
    rows, logits = non_local(by_pixel(norms.before(state).relu()), *map(rows_by, layers), carried)
    maps = step.first(norms.between(rows.mT.unflatten(2, state.shape[-2:])))
    return start + step.second(norms.after(maps).relu()), logits


start = state = model.first(model.norm(noisy))
logits = [unknown]  # of all states so far; nothing is known before the first
for t in range(model.config.states):
    state, found = renew(model, start, state, logits[-1], t)
    logits.append(found)
estimate = noisy + model.last(model.last_norm(state).relu())
assert (estimate - model(noisy)).abs().max() < 1e-3, "your states make the network"

# %% [markdown]
# ### Exercise 4: how many parameters?
#
# Count those of a network for gray images:
#
# - two convolutions of 3 × 3 at the ends, 1 → m and m → 1;
# - one module: θ and ψ from m to l channels, g from m to m;
# - two convolutions of 3 × 3, m → m;
# - normalisations, each with two numbers for each channel: one of the image, three of m channels in
#   a state (before the look, between that and the convolutions, between those), one before the last
#   convolution.
#
# All layers but normalisations have biases. All states share all weights; with `own_norms` each
# state has its own three normalisations.
#
# *Expect* 340,099 parameters with $T = 12$, $m = 128$, $l = 64$, and 331,651 if normalisations are
# shared. (The paper says 330k: it seems to leave them out.)
#
# <details><summary>Hint</summary>
#
# A convolution of $s \times s$ from $a$ to $b$ channels has $(s^2 a + 1)\, b$.
# </details>


# %% tags=["nbval-check-output"]
def count_parameters(states: int, width: int, embedding: int, own_norms: bool) -> int:
    """T, m, l and whether each state has norms of its own -> parameters of a gray NLRN."""
    ### BEGIN SOLUTION
    ends = (9 + 1) * width + (9 * width + 1)
    look = 2 * (width + 1) * embedding + (width + 1) * width
    convolutions = 2 * (9 * width + 1) * width
    norms = 2 * (1 + 3 * width * (states if own_norms else 1) + width)
    return ends + look + convolutions + norms
    ### END SOLUTION


count_parameters = check("nlrn.count_parameters", count_parameters)
print(f"the paper's sizes: {count_parameters(12, 128, 64, True):,}, "
      f"norms shared {count_parameters(12, 128, 64, False):,}")
print(f"ours: {count_parameters(6, 64, 32, True):,}")
assert sum(p.numel() for p in model.parameters()) == count_parameters(6, 64, 32, True)

# %% [markdown]
# Twelve states with weights of their own would have almost twelve times as many. The paper's Table
# 2 says that they are worse: 30.65 dB against 30.80.
#
# ## 5. Who looks at whom?
#
# The paper's Figure 4, with our weights: one pixel, and the weights that it gives to all pixels of
# the tile in states 1 to 6, beside the noisy and the clean tile. Colours count in units of $1/N$,
# what everybody would get if all counted the same, and on a logarithmic scale.

# %% tags=["nbsphinx-thumbnail"]
def look_at(row: int, column: int, logits=logits, seen=(noisy, clean)) -> figures.Figure:
    """Whom a pixel looks at, in each state."""
    figure = figures.new_figure(11, 4.6, rows=2, columns=4)
    for n, axes in enumerate(figure.axes):  # in each row a picture, then three states
        t = n - n // 4
        if n % 4:
            shares = N * logits[t][0, row * side + column].softmax(dim=0).view(side, side)
            drawn = axes.imshow(shares.clamp_min(0.1), cmap="inferno", norm="log", vmax=300)
        else:
            axes.imshow(seen[t // 3][0, 0], cmap="gray", vmin=0, vmax=1)
        axes.plot(column, row, "s", color="cyan", markersize=6, fillstyle="none")
        axes.set(title=f"state {t}" if n % 4 else ("noisy", "clean")[t // 3], xticks=[], yticks=[])
    figure.colorbar(drawn, ax=figure.axes, label="weight · N")
    return figure


look_at(row, column)

# %% [markdown]
# **What to notice.** After a single convolution of 3 × 3 the first look has found the mortar, that
# of the lying joint too, and a few places on the bricks that the noise has made bright. The second
# has ruled them out. From there on it is fewer and fewer pixels of the joint, most of them along
# its middle, some of them nearly a hundred times as important as the average. The paper says that
# locations with similar features progressively show higher correlations. The pixel itself is
# nothing special: what it holds comes along on the path around the module anyway.

# %%
widgets.explore(look_at, row=[4, *range(0, side, 3)], column=[4, *range(0, side, 3)])

# %% [markdown]
# **Correlations are carried along.** The logits of a state are added to those of all earlier ones
# *before* the softmax. So the weights of state 3 are made of three looks. What does that mean for
# weights?
#
# ### Exercise 5: what carrying does to weights
#
# One look alone would give the weights $\mathbf p$ (a softmax of its logits), the next one alone
# $\mathbf r$. Now the logits are added. Which weights come out? Express them by $\mathbf p$ and
# $\mathbf r$, without any logits.
#
# *Expect* that (⅔, ⅓) twice becomes (⅘, ⅕).
#
# <details><summary>Hint</summary>
#
# $p_j = e^{a_j} / \sum_l e^{a_l}$ and $r_j = e^{b_j} / \sum_l e^{b_l}$. What is $e^{a_j + b_j}$, up
# to a factor that is the same for all $j$?
# </details>


# %% tags=["nbval-check-output"]
def carry_on(earlier: Tensor, own: Tensor) -> Tensor:
    """Weights of two looks (B, N, N), rows sum to 1 -> weights of the summed logits (B, N, N)."""
    ### BEGIN SOLUTION
    product = earlier * own
    return product / product.sum(dim=-1, keepdim=True)
    ### END SOLUTION


carry_on = check("nlrn.carry_on", carry_on)
agree = torch.tensor([[[2 / 3, 1 / 3]]])
print("they agree:     ", [round(value, 3) for value in carry_on(agree, agree).flatten().tolist()])
print("they contradict:",
      [round(value, 3) for value in carry_on(agree, agree.flip(-1)).flatten().tolist()])

# %% [markdown]
# States that agree become surer, states that contradict each other cancel: each look votes, and the
# votes multiply. Nothing is ever forgotten, though, and there is no ν as in GroupSC, which takes a
# mean of *similarities*. A mean keeps whatever one look has found, a product only what none has
# ruled out.
#
# How sure? The *perplexity* of a row of weights, $\exp(-\sum_j w_j \ln w_j)$, says how many pixels
# share it: $N$ if all count the same, 1 if one has it all. The figure has it for the network as
# trained; for each of its looks alone, that is, for what this look adds to the logits; and for the
# same network if nothing is carried.


# %%
def perplexity(logits: Tensor) -> float:
    """How many pixels share the weight of one, on average (a geometric mean)."""
    return float(torch.distributions.Categorical(logits=logits).entropy().mean().exp())


def without(model: NLRN, **changes) -> NLRN:
    """The same weights with another config."""
    other = NLRN(replace(model.config, **changes)).eval()
    other.load_state_dict(model.state_dict())
    return other


def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


forgetful = without(model, propagate=False)
carried = [perplexity(each) for each in logits[1:]]
looks = [perplexity(each) for each in torch.stack(logits).diff(dim=0)]
dropped = [perplexity(each) for _, each in forgetful.unroll(noisy)]

# %%
figure = figures.new_figure(6, 2.8)
steps = range(1, len(carried) + 1)
for name, values, style in (("as trained", carried, "o-"), ("nothing carried", dropped, "s--"),
                            ("each look alone", looks, "^:")):
    fill = "none" if values is looks else "full"  # the last two nearly coincide
    figure.axes[0].semilogy(steps, values, style, label=name, fillstyle=fill, markersize=8)
figure.axes[0].set(xlabel="state", ylabel="perplexity in pixels", ylim=(100, 1.1 * N))
figure.axes[0].legend(frameon=False)
print(f"PSNR as trained {decibels(model(noisy), clean):.2f} dB, "
      f"nothing carried {decibels(forgetful(noisy), clean):.2f} dB")
figure

# %% [markdown]
# **What to notice.** No look by itself is sure: 700 of 1024 pixels share the weight of the first,
# and nearly all that of the last. But the looks agree, and their product gets sharper each time,
# down to 160 pixels. Without carrying (its curve and that of each look alone nearly coincide),
# later states average over the whole tile, and that costs 5 dB. Mind what this measures: these
# weights were trained *with* carrying, and rely on what earlier states have found. The paper
# trained both, and has 30.78 dB without against 30.80 with (Table 2, Set12).
#
# ### Where GroupSC and NLRN part
#
# Both take attention averages. What they make of them is not the same:
#
# | | GroupSC's prox (eq. 11) | NLRN's module |
# |:--|:--|:--|
# | queries and keys | one patch, weighed by κ | two maps of features |
# | values | squares of codes | a map of features, of any sign |
# | the average | is compared with Λ, and shrinks one's own code | is added to one's own features |
# | earlier looks | a mean of similarities (ν) | a sum of logits: a product of weights |
#
# *Toy example.* Two twins have the codes 1 and −1, and give each other the weight ½. The average of
# their codes is 0: values of opposite signs cancel. The average of squares is 1, and with Λ = ½ the
# group prox leaves 0.5 and −0.5: it asks only whether the atom is in use.

# %%
def portrait(logits: Tensor) -> str:
    """Of logits (1, N, N): one-sidedness, who sees itself most, and how weight is shared."""
    weights, both = logits.softmax(dim=-1)[0], logits - logits.mean(dim=-1, keepdim=True)
    both = both - both.mean(dim=-2, keepdim=True)
    skew = (both - both.mT).norm() / both.norm() / 2
    itself = (weights.argmax(dim=-1) == torch.arange(N)).float().mean()
    most = weights.sum(dim=0).max()
    return f"{skew:12.2f}{itself:12.0%}{most:12.1f}{perplexity(logits):12.0f}"


print(f"{'':16s}{'one-sided':>12s}{'themselves':>12s}{'favourite':>12s}{'perplexity':>12s}")
print(f"{'NLM':16s}" + portrait(-gaps / h**2))
print(f"{'GroupSC':16s}" + portrait(Sigma.log()))
for t in (1, 3, 6):
    print(f"{f'NLRN, state {t}':16s}" + portrait(logits[t]))

# %% [markdown]
# **What to notice.** *One-sided* is the antisymmetric share of the logits, less what is the same
# for all keys of a query or for all queries of a key: 0 if they are symmetric, 0.71 for a matrix of
# random numbers. Distances are symmetric: I resemble you as you resemble me, and nobody resembles
# me more than I do. With two maps, θ and ψ, neither holds: to ask and to answer are two things. The
# *favourite* is the pixel that all together give most weight to, as a multiple of what it would get
# if all counted the same. NLRN has stars, whom many ask: an inner product grows with the length of
# the key. With distances a favourite is only a pixel with many near neighbours: it gets 1.6 or 1.8
# times its share, where NLRN ends at 15.
#
# ## 6. How far should one look?
#
# The paper lets a pixel see the square of $q \times q$ pixels around it. It finds $q = 45$ best on
# Set12 (Figure 5), and calls a confined neighbourhood essential. Its released programs do not
# confine it: a pixel sees all of the tile of 43 × 43 or 45 × 45 that is worked on, wherever in the
# tile it stands. Ours learned on tiles of 32 × 32, and saw them whole.
#
# Take larger tiles, 40 × 40, and let each pixel see $q \times q$ pixels of them, or all. Opposite
# edges meet, as in the paper. Only the mask of the softmax changes, not one weight.
#
# **Predict.** Which is best, on average over three photographs?

# %%
parts = torch.cat([data.sample(name)[..., 110:150, 140:180]
                   for name in ("brick", "camera", "astronaut")])


def middles(sees: int, n: int = 40, model=model, parts=parts) -> Tensor:
    """PSNR of the middle 16 × 16 of tiles n × n, if each pixel sees q × q; or all, for 0."""
    network, cut = without(model, neighbourhood=sees), slice(20 - n // 2, 20 + n // 2)
    seen, core = GaussianNoise(sigma)(parts, "parts"), slice(n // 2 - 8, n // 2 + 8)
    found = torch.cat([network(part[None, :, cut, cut]) for part in seen])
    error = found[..., core, core] - parts[..., 12:28, 12:28]
    return -10 * error.square().mean(dim=(1, 2, 3)).log10()


def best_square(middles=middles) -> tuple[str, str]:
    found = {q: float(middles(q).mean()) for q in (3, 7, 15, 31, 0)}
    best = max(found, key=lambda q: found[q])
    words = ", ".join(f"{q or 'all'}: {value:.2f} dB" for q, value in found.items())
    return "a" if 0 < best < 10 else "b" if best else "c", words


widgets.predict({"a": "3 × 3 or 7 × 7", "b": "15 × 15 or 31 × 31", "c": "all"}, best_square)

# %%
squares, sizes = (3, 7, 15, 31, 0), (16, 24, 32, 40)  # 0: all 40 × 40
seen_squares = torch.stack([middles(q) for q in squares])
seen_whole = torch.stack([middles(0, n) for n in sizes])
figure = figures.new_figure(11, 2.8, columns=3)
for column, name in enumerate(("brick", "camera", "astronaut")):
    axes = figure.axes[column]
    axes.plot([q or 40 for q in squares], seen_squares[:, column], "o-", label="q × q of 40 × 40")
    axes.plot(sizes, seen_whole[:, column], "s--", label="all of n × n")
    axes.set(title=name, xlabel="q or n in pixels", ylabel="PSNR in dB")
figure.axes[0].legend(frameon=False)
print("dB, on average:", {q or "all": round(float(each.mean()), 2)
                          for q, each in zip(squares, seen_squares, strict=True)})
figure

# %% [markdown]
# **What to notice.** On wall and astronaut it is the better the farther it sees, and on average:
# 30.6 dB with $q = 3$, 33.4 with 31, about what it saw in training, and a quarter of a decibel more
# with all of 40 × 40. The paper asks another question, and has another answer: there a network was
# trained for each $q$, here one that has always seen its whole tile is blindfolded. The crop of the
# photographer is nearly all dark coat, which this network makes too bright (see Results), the more
# of it there is in a tile: there all of 24 × 24 gives 1.7 dB more than all of 40 × 40, and on the
# other two 0.1 to 0.2 less. A mean of three hides that. (There tiles of 16 × 16 are poor for
# another reason. Each convolution pads with zeros, and after a dozen of them no pixel of such a
# tile is far from a border.)
#
# ## Results: against SC and NLM
#
# In print (Tables 3 and 4; PSNR in dB, σ = 25):
#
# | | BM3D | DnCNN | NLRN |
# |:--|--:|--:|--:|
# | Set12 | 29.97 | 30.44 | 30.80 |
# | BSD68 | 28.57 | 29.23 | 29.41 |
# | Urban100 | 29.70 | 29.97 | 30.94 |
# | parameters | – | 554k | 330k |
#
# The lead is largest on Urban100, whose houses repeat themselves. And here is our small network,
# against non-local means, the DCT of lesson 01, and SC:

# %%
places = {"camera": (100, 200), "astronaut": (150, 20), "coins": (60, 60), "brick": (172, 166)}
scores = {}
print("PSNR in dB     noisy      NLM      DCT       SC     NLRN")
for name, (top, left) in places.items():
    target = data.sample(name)[..., top : top + 47, left : left + 62]
    seen = GaussianNoise(sigma)(target, name)
    images = {"NLM": classical.nlm(seen, sigma), "DCT": classical.dct(seen, sigma)}
    images |= {"SC": restore(sc, seen), "NLRN": restore(model, seen)}
    scores[name] = [decibels(image, target) for image in (seen, *images.values())]
    print(f"{name:11s}" + "".join(f"{score:9.2f}" for score in scores[name]))
_, nlm_mean, dct_mean, sc_mean, ours = torch.tensor(list(scores.values())).mean(dim=0)
assert ours > nlm_mean + 0.5
print(f"NLRN after {checkpoints.load_card('nlrn-small-gray-25').steps} steps of training")
figures.show_images({"clean": target} | images, clean=target, residual=True, columns=5, width=11)

# %% [markdown]
# **What to notice.** Learned comparisons beat NLM's formula by up to 2 dB, and SC by 1 dB on the
# astronaut; on coins and wall they are level with SC. On the photographer they are no better than
# NLM. There the darkest places come out too bright, by about 12 of 255 levels on average: large
# dark surfaces are rare in the crops of 32 × 32 that the network has learned from, and nothing in
# it says that a picture without noise stays what it is. That says as much about training as about
# networks. Ours has seen few steps of eight tiles each; the authors' programs take 400,000 or
# 500,000 of sixteen larger ones. SC begins with a dictionary and an algorithm that works before it
# is trained. In NLRN there is nothing that need not be learned.
#
# **At what price?** Products of two numbers for each pixel, in one forward pass. Those of layers do
# not depend on the tile, those of looks grow with its area. Tiles overlap, so that each pixel is
# computed several times, in as many *passes*. The scores are those of Set12 at σ = 25 that are kept
# with the library, DnCNN's with its authors' weights. The paper's NLRN has 30.80 there.

# %%
from lessons_lib.evaluation.scores import read_score

rivals = {"SC": (sc, 48, 40, "sc-gray-25"), "GroupSC": (groupsc, 48, 40, "groupsc-gray-25"),
          "DnCNN": (build("dncnn", {}), 48, 48, "dncnn-gray-25@cszn"),
          "NLRN, ours": (model, 32, 15, "nlrn-small-gray-25"),
          "NLRN, the paper's": (NLRN(NLRNConfig()).eval(), 43, 7, "")}
print(f"{'':18s} parameters  Set12     tile  million products  passes  in all")
for name, (network, size, step, method) in rivals.items():
    count, kept = sum(parameter.numel() for parameter in network.parameters()), "–"
    if method:
        kept = f"{read_score(data.shipped('scores') / f'Set12-25-{method}.json').psnr:.2f}"
    cost, passes = macs_per_pixel(network, size) / 1e6, (size / step) ** 2
    print(f"{name:18s}{count:11,}{kept:>7s}{f'{size} × {size}':>9s}{cost:18.2f}{passes:8.1f}"
          f"{cost * passes:8.1f}")

# %% [markdown]
# **What to notice.** Tied weights make few parameters and no less work. The paper's NLRN has three
# fifths of DnCNN's parameters, and fifteen times its products in one pass; half of them are in the
# looks. At the paper's step of 7 each pixel is computed nearly forty times. Parameters say how much
# there is to learn and to store. They say nothing of what it costs to use.
#
# ## What breaks
#
# **Large tiles.** Logits are $N^2$ numbers, and $N$ is the area. With those carried along and
# their weights that is $3 N^2$: 12 MiB for a tile of 32 × 32, 3 GiB for 128 × 128, and 768 GiB
# for a picture of 512 × 512. So photographs have to be cut up, and look-alikes in another tile are
# never met.
#
# **Another σ.** The network is told nothing of the noise, and its normalisations scale by numbers
# that were averaged in training, at σ = 25/255. In the last column `restore` is told the noise. It
# multiplies the picture so that the noise is as in training, and divides the estimate.

# %%
print("σ × 255   SC, dB   NLRN, dB   NLRN told σ, dB")
for level in (10, 15, 25, 35, 50):
    seen = GaussianNoise(level / 255)(clean, "brick")
    images = restore(sc, seen), restore(model, seen), restore(model, seen, level / 255)
    print("{:7d}{:9.2f}{:11.2f}{:18.2f}".format(level, *(decibels(z, clean) for z in images)))

# %% [markdown]
# **What to notice.** At σ = 10 the network does as if there was more noise, and takes details away
# with it; at σ = 50 it leaves most of the noise. So does SC, whose thresholds are made for one σ as
# well. To be told σ helps where there is more noise, by 5 to 11 dB, and hardly where there is less:
# a picture of more contrast is not what the normalisations know, and SC without any help is better.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("11")

# %% [markdown]
# ## Problems
#
# **1. Parameters that do nothing.** In training, normalisations use the mean and deviation of each
# channel in the batch. Then many of NLRN's numbers have no influence on the estimate at all,
# whatever their values. Which? How many are they of 340,099? (Ask of each bias what comes after it.
# There is a second reason, which has nothing to do with normalisations.)
#
# <details><summary>Solution</summary>
#
# ψ's bias $\mathbf b$ adds $\theta(\mathbf X_i)\, \mathbf b^\top$ to a row of logits: the same for
# all keys, and a softmax does not see it, carried along or not. That is the second reason.
#
# What is the same at all pixels is taken away by a normalisation. g's bias reaches each pixel
# undiminished, since weights sum to 1, and then meets one. So does the bias of a state's first
# convolution. Those of its second and of the image's convolution are added to the state, and
# whoever reads the state begins with a normalisation. Of all layers with a bias only θ and the last
# convolution need it: $l + 4m = 576$ numbers do nothing.
#
# ```python
# training = without(model).train()
# before = training(noisy)
# look = training.transitions[0].look
# for layer in (look.embeddings[1], look.transform, training.transitions[0].first,
#               training.transitions[0].second, training.first):
#     layer.bias += torch.randn(len(layer.bias))
# assert (training(noisy) - before).abs().max() < 1e-3
# look.embeddings[0].bias += torch.randn(len(look.embeddings[0].bias))
# assert (training(noisy) - before).abs().max() > 1e-2
# ```
#
# </details>
#
# **2. A cheap distance.** With the dot product, $\Phi = \mathbf X \mathbf X^\top$, and no softmax,
# $\mathbf Z = \mathbf X \mathbf X^\top \mathbf G / N$. How can it be computed without any $N \times
# N$ matrix, what does it cost then, and why does that not work for a softmax? What does a pixel
# know of the others then?
#
# <details><summary>Solution</summary>
#
# $(\mathbf X \mathbf X^\top) \mathbf G = \mathbf X (\mathbf X^\top \mathbf G)$, and the matrix in
# brackets is $m \times m$: $N m^2$ products in place of $N^2 m$. With $N = 43^2$ and $m = 128$ that
# is less than a fourteenth. A softmax stands between the two products, row by row, and does not let
# them change places. But look what is left: $\mathbf X^\top \mathbf G / N$ is one matrix for the
# whole tile, a covariance, and each pixel is multiplied by it. Nobody looks at anybody in
# particular. On the walls of section 3 that finds the few directions in which the 8 patterns lie.
#
# ```python
# G = g(features)
# one = (features @ features.mT) @ G / N
# other = features @ (features.mT @ G / N)
# assert (one - other).abs().max() < 1e-3 * one.abs().max()
# print(f"{(2 * N * N * 64) / (2 * N * 64 * 64):.0f} times fewer products")
# ```
#
# </details>
#
# ## Further reading
#
# - A. Buades, B. Coll, J.-M. Morel, *A non-local algorithm for image denoising*, CVPR 2005.
# - X. Wang, R. Girshick, A. Gupta, K. He, *Non-local neural networks*, CVPR 2018: the module, for
#   video; and the choice of δ = N for dot products.
# - Y. Tai, J. Yang, X. Liu, *Image super-resolution via deep recursive residual network*, CVPR
#   2017: the recurrence without the looking around.
# - A. Vaswani and others, *Attention is all you need*, NeurIPS 2017.
#
# **Next:** [12 · NSR](12_nsr.ipynb)
