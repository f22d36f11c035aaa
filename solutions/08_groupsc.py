# %% [markdown]
# # 08 · GroupSC: groups without borders
#
# Lesson 07 lets similar patches share their atoms, and it pays. But somebody has to say who is
# similar, and a clustering gives an answer that no gradient can improve: a patch is in the group,
# or it is out. GroupSC makes membership a number between 0 and 1. Everything else follows, and
# what comes out can be trained from end to end. It also turns out to be a thing with a famous name.
#
# **You will be able to**
#
# - say why hard groups cannot be trained, and replace them by a similarity Σ with learned weights;
# - write the relaxed group prox, and name the two methods that are its special cases;
# - compute Σ anew from the current estimate, and look at it on a photograph;
# - show that the group prox is attention, in a few lines and in a few numbers;
# - say what GroupSC gains over SC, what it costs, and when it fails.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 05 (SC), 06 (self-similarity) and 07 (the group lasso).
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, ECCV 2020, §3.2 and §3.3: Algorithm 1, eq. 11 and 12;
#   Tables 9 and 14, Figures 1, 11 and 13.

# %%
# %matplotlib inline
import json
from time import process_time

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import data, metrics
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check
from lessons_lib.models import build, restore
from lessons_lib.ops import prox
from lessons_lib.ops.patches import extract_patches, overlap_average
from lessons_lib.ops.similarity import squared_distances, window_mask
from lessons_lib.viz import figures, widgets

# %%
torch.set_grad_enabled(False)  # nothing is trained here
generator = torch.Generator().manual_seed(0)
sigma, size = 25 / 255, 9
sc, model = load_model("sc-gray-25"), load_model("groupsc-gray-25")
clean = data.sample("brick")[..., 172:228, 166:222]
noisy = GaussianNoise(sigma)(clean, "brick")
y, mean = model.cut(noisy)  # centred patches (1, 81, N) and their means (1, 1, N)
x, _ = model.cut(clean)
print(f"{clean.shape[-2]} × {clean.shape[-1]} pixels, N = {y.shape[2]} patches")

# %% [markdown]
# ## 1. Why not simply train the group lasso?
#
# Lesson 07 ended with estimates that jump when a patch changes its group. LSSC puts into the group
# $S_i$ all patches within a squared distance ξ of patch $i$. Write it as a matrix of zeros and
# ones, and GroupSC's relaxation beside it:
#
# $$ \Sigma_{li} = \begin{cases} 1 & d_{li} \le \xi \\ 0 & \text{otherwise} \end{cases}
#    \qquad\text{becomes}\qquad \Sigma_{li} = e^{-d_{li}}, \qquad
#    d_{li} = \lVert \boldsymbol\kappa \odot (\mathbf x_l - \mathbf x_i) \rVert^2 . $$
#
# Eq. 12 gives each pixel of a patch its own weight $\kappa$. How should it be chosen? By the
# result, of course. *Toy example.* Take 25 noisy patches, one κ for all pixels, and denoise each
# patch by the mean of its group, which is non-local means (lesson 06).

# %%
few = torch.randperm(y.shape[2], generator=generator)[:25]


def error(kappa: Tensor, hard: bool) -> Tensor:
    """Root mean squared error of 25 patches, each replaced by the mean of its group."""
    distances = squared_distances(kappa * y[..., few], kappa * y[..., few])
    weights = (distances <= 1).float() if hard else torch.exp(-distances)
    estimate = y[..., few] @ (weights / weights.sum(dim=-2, keepdim=True))
    return (estimate - x[..., few]).square().mean().sqrt()


with torch.enable_grad():
    kappa = torch.tensor(1.0, requires_grad=True)
    for name, hard in (("hard", True), ("soft", False)):
        print(f"{name} groups: does the error know of κ? {error(kappa, hard).requires_grad}")

# %%
kappas = torch.linspace(0.3, 2.5, 300)
figure = figures.new_figure(6.5, 3)
axes = figure.axes[0]
for name, hard, style in (("hard groups", True, "-"), ("soft groups", False, "--")):
    axes.plot(kappas, [255 * error(kappa, hard) for kappa in kappas], style, label=name)
axes.set(xlabel="κ", ylabel="error in grey levels")
axes.legend(frameon=False)
axes.grid(alpha=0.3)
figure

# %% [markdown]
# **What to notice.** Hard groups make a staircase. Between two stairs the derivative is 0, on a
# stair there is none, and PyTorch rightly says that there is nothing to differentiate. The
# soft curve has a slope everywhere, and it points to the minimum. With 81 numbers in κ, 256
# thresholds in each step and three dictionaries, a slope is the only hope.
#
# ### Exercise 1: the similarity
#
# Write eq. 12 for all pairs of patches. Patches outside each other's window have similarity 0:
# the `mask` says who sees whom.
#
# *Expect* that patch 0 resembles the second of three toy patches, (0, 0), (0.5, 0) and (0, 0.5), by
# $e^{-1}$ and the third by $e^{-0.25}$, with κ = (2, 1).
#
# <details><summary>Hint</summary>
#
# Multiply first, then compare: `kappa[:, None] * patches`. `squared_distances(x, y)` is there.
# </details>


# %% tags=["nbval-check-output"]
def gaussian_similarity(patches: Tensor, kappa: Tensor, mask: Tensor) -> Tensor:
    """Σ from patches (B, m, N), κ (m,) and a mask (N, N) -> (B, N, N)."""
    ### BEGIN SOLUTION
    weighted = kappa[:, None] * patches
    return torch.exp(-squared_distances(weighted, weighted)) * mask
    ### END SOLUTION


gaussian_similarity = check("groupsc.similarity", gaussian_similarity)
toy = torch.tensor([[[0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]])
everyone = torch.ones(3, 3, dtype=torch.bool)
first = gaussian_similarity(toy, torch.tensor([2.0, 1.0]), everyone)[0, 0]
print([round(value, 3) for value in first.tolist()])

# %% [markdown]
# ## 2. What becomes of the prox?
#
# The group lasso of lesson 07 shrinks row $j$ of a group by its length. If Σ holds zeros and ones,
# that length is $\lVert (\mathbf B \operatorname{diag}(\boldsymbol\Sigma_i)^{1/2})^j \rVert_2$: the
# zeros in column $\boldsymbol\Sigma_i$ delete what is not in the group of patch $i$. Now nothing
# stops us from putting in other numbers. This is eq. 11:
#
# $$ \mathbf B = \mathbf Z + \mathbf C^\top(\mathbf Y - \mathbf D \mathbf Z), \qquad
#    z_{ji} \leftarrow b_{ji} \max\Bigl( 1 - \frac{\Lambda_j \sqrt{\lVert \boldsymbol\Sigma_i
#    \rVert_1}}{\lVert (\mathbf B \operatorname{diag}(\boldsymbol\Sigma_i)^{1/2})^j \rVert_2},\, 0
#    \Bigr) . $$
#
# Divide by $\sqrt{\lVert \boldsymbol\Sigma_i \rVert_1}$ above and below, and it gets a meaning:
#
# $$ z_{ji} \leftarrow b_{ji} \max\Bigl( 1 - \frac{\Lambda_j}{s_{ji}},\, 0 \Bigr), \qquad
#    s_{ji}^2 = \sum_l w_{li}\, b_{jl}^2, \qquad w_{li} = \frac{\Sigma_{li}}{\lVert
#    \boldsymbol\Sigma_i \rVert_1} . $$
#
# The *strength* $s_{ji}$ is how large atom $j$ typically is among the patches that resemble patch
# $i$. An atom that all of them use survives even where it is small; one that this patch alone
# wants is taken for noise.
#
# *Toy example.* Two twins with codes 3 and 1, Λ = 1. Each has the strength $\sqrt{(9 + 1)/2} =
# 2.24$ and the factor $1 - 1/2.24 = 0.55$, so they become 1.66 and 0.55. Soft thresholding would
# give 2 and 0.
#
# ### Exercise 2: the relaxed group prox
#
# Write eq. 11, for all atoms and patches at once.
#
# *Expect* `[1.66, 0.55]` for the twins.
#
# <details><summary>Hint</summary>
#
# $\sum_l \Sigma_{li} b_{jl}^2$ for all $j$ and $i$ is one matrix product. Where it is 0, the code
# is 0 as well, but 0/0 is not: `clamp_min` helps.
# </details>


# %% tags=["nbval-check-output"]
def relaxed_group_threshold(z: Tensor, similarity: Tensor, threshold: Tensor | float) -> Tensor:
    """Eq. 11: codes (B, K, N), Σ (B, N, N), Λ a number or (K, 1) -> (B, K, N)."""
    ### BEGIN SOLUTION
    energy = z.square() @ similarity
    group = similarity.sum(dim=-2, keepdim=True)
    strength = (energy / group).sqrt().clamp_min(1e-12)
    return z * (1 - threshold / strength).clamp_min(0)
    ### END SOLUTION


relaxed_group_threshold = check("groupsc.threshold", relaxed_group_threshold)
twins = relaxed_group_threshold(torch.tensor([[[3.0, 1.0]]]), torch.ones(1, 2, 2), 1.0)
print([round(value, 2) for value in twins.flatten().tolist()])

# %% [markdown]
# **Predict.** Ten patches are alike. One has the code 1 for an atom, the nine others have 0. What
# becomes of the 1, with Λ = 0.5?


# %%
def lonely() -> tuple[str, str]:
    codes = torch.tensor([[[1.0] + 9 * [0.0]]])
    left = relaxed_group_threshold(codes, torch.ones(1, 10, 10), 0.5)[0, 0, 0].item()
    right = "a" if left == 0 else "b" if left < 0.6 else "c"
    return right, f"It becomes {left:.2f}: its strength is √(1/10) = 0.32."


widgets.predict({"a": "it becomes 0", "b": "it becomes 0.5, as in SC", "c": "it loses less"},
                lonely)

# %% [markdown]
# Two methods of earlier lessons are special cases, and a cell can prove it. If Σ is the identity,
# each patch is its own group, and the prox is that of SC. If Σ is 1 within blocks and 0 between
# them, it is the group lasso of lesson 07, with the threshold $\Lambda \sqrt{|S|}$.

# %% tags=["nbval-check-output"]
codes = torch.randn(1, 5, 12, generator=generator)
alone = relaxed_group_threshold(codes, torch.eye(12)[None], 0.5)
assert torch.allclose(alone, prox.soft_threshold(codes, 0.5), atol=1e-6)
group = torch.arange(12) % 3  # three groups of four
blocks = (group[:, None] == group).float()[None]
together = relaxed_group_threshold(codes, blocks, 0.5)
for number in range(3):
    lasso = prox.group_threshold(codes[..., group == number], 0.5 * 4**0.5)
    assert torch.allclose(together[..., group == number], lasso, atol=1e-6)
print("Σ = identity: SC. Σ in blocks: the group lasso.")

# %% [markdown]
# **Is it still a proximal operator?** In the two special cases, yes. In between, no, in spite of
# its name, which we keep. The prox of any penalty, convex or not, is the gradient of a function, so
# its Jacobian is symmetric. If the penalty is convex, it never drives two points apart either: no
# Jacobian has a norm above 1. Look at one atom in three patches in a row, each half like the next.

# %% tags=["nbval-check-output"]
row = torch.tensor([[1.0, 0.5, 0.1], [0.5, 1.0, 0.5], [0.1, 0.5, 1.0]])
cases = {"identity": torch.eye(3), "one group": torch.ones(3, 3), "soft groups": row}
for name, similarity in cases.items():
    jacobian = torch.autograd.functional.jacobian(
        lambda z, s=similarity: relaxed_group_threshold(z[None, None], s[None], 0.8)[0, 0],
        torch.tensor([3.0, 1.0, 0.5]),
    )
    gap, norm = (jacobian - jacobian.T).abs().max(), torch.linalg.matrix_norm(jacobian, 2)
    print(f"{name:12s} asymmetry {gap:.2f}, norm {norm:.3f}")

# %% [markdown]
# So eq. 11 with soft groups minimises no cost that one could write down, and none of the proofs of
# lessons 02 and 07 covers its loop. The paper says so in other words: it is "a joint relaxation of
# the Group Lasso penalty and its proximal operator", each made soft by itself. What is left of the
# theory is where it comes from. Whether it works is for training and for the test pictures to say.
#
# What lies between the special cases? Here are codes of 30 patches in 12 atoms. The first five
# patches use three atoms, the last five use three others, and the twenty between go over gradually
# from one kind to the other. We add noise and try to get the codes back, each method with its best
# threshold.

# %%
place = torch.cat([torch.zeros(5), torch.linspace(0, 1, 20), torch.ones(5)])
truth = torch.zeros(1, 12, 30)
for atoms, share in ((slice(0, 3), 1 - place), (slice(6, 9), place)):
    truth[0, atoms] = share * (0.5 + 0.5 * torch.rand(3, 30, generator=generator))
blurred = truth + 0.3 * torch.randn(1, 12, 30, generator=generator)
soft = torch.exp(-15 * (place[:, None] - place).square())[None]
hard = ((place[:, None] < 0.5) == (place < 0.5)).float()[None]
tries = {"SC": torch.eye(30)[None], "hard groups": hard, "soft groups": soft}
shown = {"the codes": truth, "with noise": blurred}
for name, similarity in tries.items():
    found = [relaxed_group_threshold(blurred, similarity, t / 50) for t in range(60)]
    errors = [(z - truth).square().mean().sqrt().item() for z in found]
    shown[f"{name}, error {min(errors):.2f}"] = found[errors.index(min(errors))]

# %%
figure = figures.new_figure(11, 2.1, columns=5)
for axes, (title, values) in zip(figure.axes, shown.items(), strict=True):
    axes.imshow(values[0].abs(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set(xlabel="patches", xticks=[], yticks=[])
figure.axes[0].set_ylabel("atoms")
figure

# %% [markdown]
# **What to notice.** SC must choose between specks of noise and holes in the rows. Groups avoid
# both, because a whole row speaks for an atom. (It is the paper's Figure 2 with a soft edge.) Hard
# groups judge all patches left of the middle alike, soft groups let each row fade out. In the
# errors this makes little difference here, where the border was drawn well. The point of soft
# groups is not that they are better. It is that training can *make* them better.
#
# ## 3. Similar in which picture?
#
# We know the noisy patches only, and noise makes twins look different. But after some steps there
# is a better picture: the estimate. So Algorithm 1 looks again. It never throws the first
# impression away, since an estimate may have lost details that the noisy patches still have:
#
# $$ \boldsymbol\Sigma \leftarrow (1 - \nu)\, \boldsymbol\Sigma + \nu\, \hat{\boldsymbol\Sigma},
#    \qquad \hat{\boldsymbol\Sigma} \text{ from the current estimate, } \nu \text{ learned}. $$
#
# The estimates $\mathbf W\mathbf z$ of overlapping patches contradict each other. *Middle
# averaging* (Table 9) makes them agree first: add the means, average the overlaps to an image (eq.
# 6), cut it into patches again, take away the *old* means.
#
# *Toy example.* Two patches have Σ = 0.1 in the noise and $\hat\Sigma = 0.9$ in the estimate. With
# ν = 3/4 they go on with 0.7.
#
# ### Exercise 3: a refresh
#
# Write it, with `overlap_average(patches, shape, size)` and `extract_patches(image, size)`.
#
# *Expect* below that three of your refreshes, in 24 steps, make the network.
#
# <details><summary>Hint</summary>
#
# A patch has `round(estimate.shape[1] ** 0.5)` pixels a side. Your `gaussian_similarity` does the
# rest.
# </details>


# %%
def refresh(similarity: Tensor, estimate: Tensor, mean: Tensor, shape: tuple[int, int],
            kappa: Tensor, mask: Tensor, nu: float) -> Tensor:
    """Σ (B, N, N) after a look at the estimates W z (B, m, N) with means (B, 1, N)."""
    ### BEGIN SOLUTION
    size = round(estimate.shape[1] ** 0.5)
    image = overlap_average(estimate + mean, shape, size)
    agreed = extract_patches(image, size) - mean
    return (1 - nu) * similarity + nu * gaussian_similarity(agreed, kappa, mask)
    ### END SOLUTION


refresh = check("groupsc.refresh", refresh)

# %% [markdown]
# And this is all of Algorithm 1, with the trained weights. The paper refreshes once in six steps to
# save time (Table 9); `nus` says before which steps, and with which ν.

# %%
learned_nu = float(model.nu_logit.sigmoid())
nus = dict.fromkeys(model.config.refreshes, learned_nu)


def unroll(noisy: Tensor, nus: dict[int, float], window: int = 49) -> tuple[Tensor, list[Tensor]]:
    """The estimate, and Σ at the start and after each refresh."""
    y, mean = model.cut(noisy)
    shape = (noisy.shape[-2], noisy.shape[-1])
    mask = window_mask((shape[0] - size + 1, shape[1] - size + 1), window)
    sigmas = [gaussian_similarity(y, model.kappa, mask)]
    z = model.first_codes(y)
    for k, threshold in enumerate(model.thresholds):
        if k in nus:
            estimate = model.W @ z
            sigmas.append(refresh(sigmas[-1], estimate, mean, shape, model.kappa, mask, nus[k]))
        z = relaxed_group_threshold(z + model.C.mT @ (y - model.D @ z), sigmas[-1], threshold)
    return model.average(model.W @ z + mean, noisy), sigmas


# %%
estimate, sigmas = unroll(noisy, nus)
assert (estimate - model(noisy)).abs().max() < 1e-3, "your parts make the network"
print(f"ν = {learned_nu:.2f}, ‖κ‖² = {model.kappa.square().sum():.0f}")
figure = figures.new_figure(7.5, 2.7, columns=2)
left, right = figure.axes
shown = left.imshow(model.kappa.square().reshape(size, size), cmap="viridis", vmin=0)
left.set(title="κ², the weight of each pixel", xticks=[], yticks=[])
figure.colorbar(shown, ax=left)
for number, similarity in enumerate((sigmas[0], sigmas[-1])):
    sizes = similarity.sum(dim=1).flatten()
    label = "noisy patches" if number == 0 else "after the last refresh"
    right.hist(sizes.log10(), bins=40, histtype="step", linewidth=2, label=label)
right.set(xlabel="log₁₀ of the size of a group, ‖Σᵢ‖₁", ylabel="patches")
right.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
figure

# %% [markdown]
# **What to notice.** Training started κ at 1 for each pixel, so $\lVert\boldsymbol\kappa\rVert^2$
# at 81. It grew to 190 in the first 1500 steps, fell to 59 in the next 5000, and ended at what the
# cell prints. The squares look like a throw of dice: section 5 finds out whether they are.
#
# On the right, noise alone puts $2\sigma^2\lVert\boldsymbol\kappa\rVert^2 \approx 1.4$ between any
# two patches, twins or not: it takes three quarters of a similarity away and leaves a quarter. So
# groups begin large and vague, mostly of a hundred to three hundred patches. A look at the estimate
# makes them smaller, and finds two kinds of patches: those on a brick, with a hundred relatives or
# so, and those at a joint, with ten or twenty.
#
# Who resembles whom? Each panel below shows one column of Σ, laid over the photograph. The blue
# square is the patch in question; a weight is drawn at the centre of the patch that it belongs to.

# %% tags=["nbsphinx-thumbnail"]
across = clean.shape[-1] - size + 1


def look(row: int, column: int, refreshes: list[int]) -> figures.Figure:
    """Columns of Σ, before and after refreshes, of the patch at a position."""
    columns = {("in the noise" if n == 0 else f"after refresh {n}"):
               sigmas[n][0, :, row * across + column].unflatten(0, (-1, across))
               for n in refreshes}
    return figures.show_similar(noisy if refreshes == [0] else estimate, columns,
                                (row, column), size)


look(16, 22, [0, 1, 3])

# %%
look(34, 8, [0, 1, 3])

# %% [markdown]
# **What to notice.** The colour bars leave out the patch itself. In the noise the two patches know
# brick from mortar and no more: anything on a brick will do, and how well is decided by noise.
# After a refresh the first patch, on the edge of an upright joint, has found its family: patches
# *on that edge*, at the same distance from the mortar; after the last one, places on the brick are
# distant cousins. The second, near a corner, has few relatives besides its next neighbours, on its
# own edge and across the joint. It gets a rectangle to look at: the window ends 24 patches away.
#
# Take a tour: choose a patch and a moment.

# %%
def tour(row: int, column: int, refreshes: int) -> figures.Figure:
    return look(row, column, [0, refreshes])


widgets.explore(tour, row=[16, *range(0, 48, 4)], column=[22, *range(0, 48, 4)],
                refreshes=[3, 1, 2])

# %% [markdown]
# ## 4. Have we seen this before?
#
# Write $\mathbf k_l = \boldsymbol\kappa \odot \mathbf x_l$, and multiply the square out:
#
# $$ w_{li} = \frac{e^{-\lVert \mathbf k_i - \mathbf k_l \rVert^2}}{\sum_{l'} e^{-\lVert \mathbf k_i
#    - \mathbf k_{l'} \rVert^2}} = \frac{e^{-\lVert \mathbf k_i \rVert^2}\, e^{2 \langle \mathbf
#    k_i, \mathbf k_l \rangle - \lVert \mathbf k_l \rVert^2}}{e^{-\lVert \mathbf k_i \rVert^2}
#    \sum_{l'} e^{2 \langle \mathbf k_i, \mathbf k_{l'} \rangle - \lVert \mathbf k_{l'} \rVert^2}}
#    = \operatorname{softmax}_l \bigl( \langle 2 \mathbf k_i, \mathbf k_l \rangle - \lVert \mathbf
#    k_l \rVert^2 \bigr) . $$
#
# A query, keys, a bias for each key, a softmax: this is **attention**, as in a transformer. And
# $s_{ji}^2 = \sum_l w_{li} b_{jl}^2$ is what it returns if the values are the squared codes:
#
# | attention | GroupSC |
# |:--|:--|
# | query | $2\, \boldsymbol\kappa \odot \mathbf x_i$ |
# | key | $\boldsymbol\kappa \odot \mathbf x_l$ |
# | bias of a key | $-\lVert \boldsymbol\kappa \odot \mathbf x_l \rVert^2$; $-\infty$ out of sight |
# | value | $\mathbf b_l \odot \mathbf b_l$ |
#
# So the group prox is *soft thresholding against the root of an attention average of squared
# codes*.
#
# ### Exercise 4: the prox as attention
#
# Write it with `F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)`, and
# without Σ. It wants tensors of shape $(B, N, \text{channels})$.
#
# *Expect* the numbers of exercise 2, to 1e-5.
#
# <details><summary>Hint</summary>
#
# `x.mT` swaps the last two axes. The bias has shape $(B, 1, N)$;
# `bias.masked_fill(~mask, -torch.inf)` makes it $(B, N, N)$. The scale must be 1: a transformer
# divides by the root of the channels, eq. 12 does not.
# </details>


# %%
def group_attention(codes: Tensor, patches: Tensor, kappa: Tensor, mask: Tensor,
                    threshold: Tensor | float) -> Tensor:
    """Eq. 11 without Σ: (B, K, N), (B, m, N), (m,), (N, N), (K, 1) -> (B, K, N)."""
    ### BEGIN SOLUTION
    key = (kappa[:, None] * patches).mT
    norms = key.square().sum(dim=-1)[:, None, :]
    bias = (-norms).masked_fill(~mask, -torch.inf)
    energy = F.scaled_dot_product_attention(
        2 * key, key, codes.square().mT, attn_mask=bias, scale=1.0
    )
    strength = energy.mT.sqrt().clamp_min(1e-12)
    return codes * (1 - threshold / strength).clamp_min(0)
    ### END SOLUTION


group_attention = check("groupsc.attention", group_attention)

# %%
first = model.C.mT @ y  # B of the first step, on the photograph
mask = window_mask((across, across), 49)
threshold = model.thresholds[0]
by_sigma = relaxed_group_threshold(first, gaussian_similarity(y, model.kappa, mask), threshold)
by_attention = group_attention(first, y, model.kappa, mask, threshold)
assert mask.logical_not().any()  # so the window does matter here
assert (by_sigma - by_attention).abs().max() < 1e-5
weights = sigmas[-1][0] / sigmas[-1][0].sum(dim=0)
for count in (10, 100, 500):
    share = weights.topk(count, dim=0).values.sum(dim=0).mean()
    print(f"the {count} most similar of {len(weights)} patches hold {share:.0%} of the weight")

# %% [markdown]
# **What to notice.** The identity is exact, window included, so whatever is known about attention
# holds for GroupSC:
#
# - No $N \times N$ matrix need ever be stored. A softmax can be summed up key by key, and fast
#   attention code does that. (Our `mask` is such a matrix; a window known by its width need not
#   be.)
# - All terms of the average are positive, so nothing cancels in it and half precision loses little,
#   as the next cell measures. In the logits terms do cancel: $2 \langle \mathbf k_i, \mathbf k_l
#   \rangle - \lVert \mathbf k_l \rVert^2$ is a distance but for a constant, and a distance of twins
#   is a small difference of large products. A logit that is off by 0.05 makes a similarity 5 %
#   wrong, so the library takes no half precision for them.
# - Few patches hold most of the weight, as the cell prints. To keep only the nearest is an
#   approximation whose error one can measure.
# - A refreshed Σ is an average of two attentions, patch $i$ weighing them by $(1 - \nu) \lVert
#   \boldsymbol\Sigma_i \rVert_1$ and $\nu \lVert \hat{\boldsymbol\Sigma}_i \rVert_1$.
#
# And there is a difference from a transformer. There, attention *moves* values from token to token.
# Here no code ever leaves its patch: attention says only how much each is to be trusted.

# %%
key, energy = model.kappa[:, None] * y, first.square()
logits, coarse = (2 * k.mT @ k - k.square().sum(dim=1)[:, None] for k in (key, key.bfloat16()))
shares = logits.masked_fill(~mask, -torch.inf).softmax(dim=-1).mT
exact, rough = energy @ shares, energy.bfloat16() @ shares.bfloat16()
print(f"half precision: averages are off by {((rough - exact).abs() / exact).max():.1%} at most, "
      f"logits by {(coarse - logits).abs().max():.2f}")

# %% [markdown]
# ## 5. What has it learned, and does it matter?
#
# Λ holds one threshold for each atom and each step. The paper draws it in Figure 13. Noise alone
# gives $\mathbf c_j^\top \mathbf y$ the standard deviation $\sigma \lVert \mathbf c_j \rVert$.
# Atoms of C are three times as long here as in SC, so only $\Lambda_j / (\sigma \lVert \mathbf c_j
# \rVert)$ can be compared.

# %%
figure = figures.new_figure(9, 3, columns=2)
left, right = figure.axes
table = model.thresholds[:, :, 0]
order = table.mean(dim=0).argsort()
shown = left.imshow(table[:, order], aspect="auto", cmap="viridis", vmin=0)
left.set(xlabel="atoms, sorted", ylabel="step", title="Λ of GroupSC")
figure.colorbar(shown, ax=left)
for network, name, style in ((sc, "SC", "s--"), (model, "GroupSC", "o-")):
    relative = network.thresholds[:, :, 0] / (sigma * network.C.norm(dim=0))
    right.plot(relative.median(dim=1).values, style, markersize=4, label=name)
for k in model.config.refreshes:
    right.axvline(k - 0.5, color="0.6", linestyle=":", label="refresh" if k == 7 else None)
right.set(xlabel="step", ylabel="median of Λ / (σ‖c‖)", ylim=(0, None))
right.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Each atom has its own thresholds, and they vary from step to step. Counted
# from 0, Σ is refreshed before steps 7, 13 and 19: the dotted lines. In the last step before the
# second and the third refresh, 12 and 18, they fall to little more than half, and jump back after
# it. Nobody told the network to. A possible reason: what has been deleted cannot be compared, so
# before it compares patches again, it lets more of the picture through. Below we put this to the
# test.
#
# GroupSC's thresholds are lower than SC's, too, and lesson 07 knows why: in a single patch Λ has to
# be above the *largest* code that noise brings about, in a group only above the root mean square of
# many such codes.
#
# **Do the refreshes matter?** Table 14 says that without them GroupSC loses about 0.1 dB on BSD68
# at σ = 15/255 (31.57 instead of 31.67, blocks 48 apart). Let us switch them off in the network we
# have. Mind what this measures: the weights stay those that were trained *with* three refreshes. A
# network trained without them would have other thresholds, and would lose less.

# %%
def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


steps = model.config.refreshes
variants = {f"as trained: ν = {learned_nu:.2f}, three refreshes": (nus, 49),
            "no refresh": ({}, 49), "the first refresh only": ({steps[0]: learned_nu}, 49),
            "ν = 0.25": (dict.fromkeys(steps, 0.25), 49), "ν = 1": (dict.fromkeys(steps, 1.0), 49),
            "window of 25 patches": (nus, 25), "window of 9 patches": (nus, 9),
            "window of 1 patch: SC's prox": (nus, 1)}
part = (..., slice(8, 56), slice(0, 48))  # smaller, so that this stays quick
print("PSNR in dB on a part of the wall, the same weights in each line")
for name, (chosen, window) in variants.items():
    score = decibels(unroll(noisy[part], chosen, window)[0], clean[part])
    print(f"  {name:42s}{score:6.2f}")

# %% [markdown]
# **What to notice.** Without refreshes this network loses far more than the tenth of a decibel of
# Table 14: groups stay as large and vague as in the noise, and Λ was learned for better ones. A
# window of a single patch does the greatest harm. Everybody is alone then, the prox is SC's, but Λ
# is not: thresholds made for groups are too low for a patch on its own, and the noise gets through.
# One refresh does most of the work on this wall. With ν at 1 it forgets the first impression; with
# a small one too much of that remains. The window matters too: 9 patches hold too few relatives.
#
# **Does κ matter?** Its squares look like dice. So let us shuffle them, make them all alike, and
# make them larger and smaller.

# %%
kept = model.kappa.clone()
flat = torch.full_like(kept, float(kept.square().mean().sqrt()))
others = {"shuffled": kept[torch.randperm(len(kept), generator=generator)],
          "all alike": flat, "κ / 2": kept / 2, "2 κ": 2 * kept, "as trained": kept}
for name, chosen in others.items():  # the last one puts the trained κ back
    model.kappa.copy_(chosen)
    score = decibels(unroll(noisy[part], nus)[0], clean[part])
    print(f"  {name:12s}‖κ‖² = {model.kappa.square().sum():4.0f}{score:8.2f} dB")

# %% [markdown]
# **What to notice.** The pattern is indeed chance, left over by the training's noise: no pixel of a
# patch tells more than another who its relatives are. What matters is one number, how large κ is.
# The 81 weights of eq. 12 could be a single one.
#
# **Do the dips of Λ matter?** Fill them, with the mean of the steps around them; or have them two
# steps earlier, away from the refreshes.

# %%
kept = model.raw_thresholds.clone()
filled = kept.abs()
for k in steps[1:]:
    filled[k - 1] = (filled[k - 2] + filled[k]) / 2
moved = filled.clone()
moved[[k - 3 for k in steps[1:]]] *= 0.57
for name, chosen in {"filled": filled, "two steps earlier": moved, "as trained": kept}.items():
    model.raw_thresholds.copy_(chosen)
    print(f"  {name:18s}{decibels(unroll(noisy[part], nus)[0], clean[part]):6.2f} dB")

# %% [markdown]
# **What to notice.** Without the dips the wall loses 0.2 dB; two steps earlier they do more harm
# than none. So it is their place that counts, just before a refresh. (As with the refreshes, all
# else was trained with the dips.)
#
# ## Results: against SC
#
# The baseline is the SC of lesson 05: the same patches, as many atoms and steps, and 82 parameters
# fewer: 81 weights κ, and one ν. Both began their training from a dictionary. All see the same
# noise. Could SC do the same by simply shrinking more? To find out, a third column raises its
# thresholds by 20 %.

# %%
weights, stronger = sc.state_dict(), build("sc", {})
stronger.load_state_dict(weights | {"raw_thresholds": 1.2 * weights["raw_thresholds"]})
networks = {"SC": sc, "SC, 1.2 Λ": stronger, "GroupSC": model}
pieces = {"brick": (172, 166, 72), "astronaut": (150, 20, 32), "coins": (60, 60, 32)}
scores, pictures = {}, {}
print("PSNR in dB     noisy       SC  SC, 1.2 Λ  GroupSC")
for name, (top, left, height) in pieces.items():
    target = data.sample(name)[..., top : top + height, left : left + 72]
    seen = GaussianNoise(sigma)(target, name)
    images = {title: restore(network, seen, tile=48) for title, network in networks.items()}
    pictures[name] = {"clean": target} | images
    scores[name] = [decibels(image, target) for image in (seen, *images.values())]
    print("{:10s}{:10.2f}{:9.2f}{:11.2f}{:9.2f}".format(name, *scores[name]))
_, plain, raised, grouped = scores["brick"]
assert grouped - max(plain + 0.4, raised + 0.05) > 0

# %%
wall = pictures["brick"]
figures.show_images(wall, clean=wall["clean"], residual=True, width=11)

# %% [markdown]
# **What to notice.** The scratches of lesson 05 are gone: this is the paper's Figure 1. Each of
# them was noise that happened to look like an edge, in one patch. GroupSC asks the relatives of
# this patch, who know nothing of an edge. At the joints, where a patch has few relatives, the
# errors of both look alike.
#
# How much of that is owed to groups? On the smooth wall higher thresholds bring SC most of the way,
# on the astronaut half of it, and groups the rest. On the coins high thresholds harm: their relief
# is different in each place, looks like nothing else in the picture, just as noise does, and is
# deleted. GroupSC suffers from that, too, but less. And nobody has to choose thresholds for each
# picture. On average there is a gain: in the paper 0.30 dB on the 68 photographs of BSD68 (Table 7:
# 29.20 against 28.90), with our weights 0.24 dB (29.00 against 28.76), after less than a
# hundredth of the paper's training.
#
# ## What breaks
#
# **Large pictures.** Σ has $N^2$ entries. Twice the side means four times the patches, and sixteen
# times the work. So photographs are cut into tiles, and look-alikes beyond the tile are lost.

# %%
figure = figures.new_figure(5.5, 3)
axes, sides = figure.axes[0], (24, 32, 40, 48, 56)
for name, network, style in (("SC", sc, "s--"), ("GroupSC", model, "o-")):
    seconds = []
    for side in sides:
        start = process_time()
        network(noisy[..., :side, :side])
        seconds.append(process_time() - start)
    axes.plot(sides, seconds, style, label=name)
axes.plot(sides, [seconds[-1] * ((n - 8) / 48) ** 4 for n in sides], ":", label="N² = (side − 8)⁴")
axes.set(xscale="log", yscale="log", xlabel="side of the picture in pixels", ylabel="seconds")
axes.set_xticks(sides, sides)
axes.minorticks_off()
axes.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** GroupSC's time grows like the dotted curve, $N^2$; SC's grows like $N$, which
# on this logarithmic axis is half as steep.
#
# **The same numbers, sooner.** `forward` is written to be read. `restore` uses another form of it:
# only the rows of Σ that the window reaches, everything element-wise in place, and products in half
# precision where the processor is good at it, which section 4 said would cost little. Here is what
# that gains for 481 × 321 pixels at σ = 25/255. It was measured once and kept (`docs/speed.md`), as
# the first of these ways, which works as the paper's code does, takes more than a minute.

# %%
measured = json.loads(data.shipped("speed.json").read_text(encoding="utf-8"))
measured = measured["processor"]["image"]
others = ("SC, plain form", "GroupSC, fast form, float32", "DCT thresholding")
ways = {row["way"]: (row["seconds"], row["psnr"]) for row in measured["rows"]
        if row["psnr"] and row["way"] not in others}
print("measured on", measured["device"])
figures.show_tradeoff(ways)

# %% [markdown]
# **What to notice.** With tiles of 56 pixels all forms of GroupSC give the same picture: the points
# lie on one level. Smaller tiles hold fewer look-alikes: less work, and a little less gained. Tiles
# that overlap more gain a little, at several times the work. BM3D needs two fifths of the time of
# GroupSC in half precision, and is 0.14 dB below it on this photograph; SC is the quickest here,
# and 0.29 dB below BM3D.
#
# **Another σ.** The thresholds were learned for σ = 25/255, as SC's were. But Σ was, too: noise
# adds about $2\sigma^2 \lVert \boldsymbol\kappa \rVert^2$ to every squared distance, twins or not.

# %%
print("σ × 255   SC, dB   GroupSC, dB   gain   2σ²‖κ‖²   median ‖Σᵢ‖₁ at the start")
for level in (10, 15, 25, 35, 50):
    seen = GaussianNoise(level / 255)(clean, "brick")[part]
    result, (start, *_) = unroll(seen, nus)
    one, other = decibels(sc(seen), clean[part]), decibels(result, clean[part])
    middle, blur = start.sum(dim=1).median(), 2 * (level / 255) ** 2 * model.kappa.square().sum()
    print(f"{level:7d}{one:9.2f}{other:14.2f}{other - one:+7.2f}{blur:10.1f}{middle:12.1f}")

# %% [markdown]
# **What to notice.** The lead that GroupSC has at its own σ does not survive another. With little
# noise a patch begins with two or three times as many relatives as in training, and what is special
# about it is voted down. With much noise groups begin small, and the estimates that a refresh
# compares are still full of noise; thresholds made for groups then let through more of it than SC's
# do. In SC one thing depends on σ, in GroupSC two do: Λ should grow with it, and κ shrink.
# `restore(model, noisy, sigma)` does both at once, by scaling the image instead.
#
# ## Further reading
#
# - J. Mairal, F. Bach, J. Ponce, G. Sapiro, A. Zisserman, *Non-local sparse models for image
#   restoration*, ICCV 2009: LSSC, the hard groups that are relaxed here.
# - T. Plötz, S. Roth, *Neural nearest neighbors networks*, NeurIPS 2018: another way to make the
#   choice of neighbours differentiable.
# - A. Vaswani and others, *Attention is all you need*, NeurIPS 2017.
#
# **Next:** [09 · CSR](09_csr.ipynb) keeps Σ and changes what similar patches have to agree on.
