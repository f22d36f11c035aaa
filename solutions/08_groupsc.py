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
# - write the relaxed group prox, name its two special cases, and test whether it is a prox at all;
# - compute Σ anew from the current estimate, and look at it on a photograph;
# - show that the group prox is attention, in a few lines and in a few numbers;
# - say what GroupSC has learned, what it gains over SC, what it costs, and when it fails.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in a minute on a laptop.
# - **You need:** lessons 05 (SC), 06 (self-similarity) and 07 (the group lasso).
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, ECCV 2020, §3.2 and §3.3: Algorithm 1, eq. 11 and 12;
#   Tables 3, 7, 9 and 14 to 16, Figures 1, 3 and 11 to 13.
# - **Letters:** the table in lesson 00.

# %%
# %matplotlib inline
import json
from time import process_time

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib import checkpoints, data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.scores import read_score
from lessons_lib.exercises import check
from lessons_lib.models import build, restore
from lessons_lib.ops import prox
from lessons_lib.ops.patches import extract_patches, overlap_average
from lessons_lib.ops.similarity import squared_distances, window_mask
from lessons_lib.viz import diagrams, figures, widgets

# %%
torch.set_grad_enabled(False)  # nothing is trained here
generator = torch.Generator().manual_seed(0)
sigma, size = 25 / 255, 9
sc, model = (checkpoints.load_model(f"{name}-gray-25") for name in ("sc", "groupsc"))
clean = data.sample("brick")[..., 172:228, 166:222]
noisy = GaussianNoise(sigma)(clean, "brick")
y, mean = model.cut(noisy)  # centred patches (1, 81, N) and their means (1, 1, N)
x, _ = model.cut(clean)
across = clean.shape[-1] - size + 1  # patches in a row
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
chosen = torch.randperm(y.shape[2], generator=generator)[:25]
few, truth = y[..., chosen], x[..., chosen]
kappas = torch.linspace(0.3, 2.5, 200)
figure = figures.new_figure(6.5, 3)
for name, style in (("hard groups", "-"), ("soft groups", "--")):
    errors = []
    for kappa in kappas:
        distances = squared_distances(kappa * few, kappa * few)
        weights = (distances <= 1).float() if name == "hard groups" else torch.exp(-distances)
        estimate = few @ (weights / weights.sum(dim=-2, keepdim=True))
        errors.append(255 * (estimate - truth).square().mean().sqrt())
    figure.axes[0].plot(kappas, errors, style, label=name)
figure.axes[0].set(xlabel="κ", ylabel="error in grey levels")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** Hard groups make a staircase: between two stairs the derivative is 0, on a
# stair there is none. The soft curve has a slope everywhere, and it points to the minimum. With 81
# numbers in κ, 256 thresholds in each step and three dictionaries, a slope is the only hope.
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
# Can κ be moved inside, so that only plain distances are left? `squared_distances(x, y)` is there.
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
# $$ \mathbf B = \mathbf A + \mathbf C^\top(\mathbf Y - \mathbf D \mathbf A), \qquad
#    \alpha_{ji} \leftarrow b_{ji} \max\Bigl( 1 - \frac{\Lambda_j \sqrt{\lVert \boldsymbol\Sigma_i
#    \rVert_1}}{\lVert (\mathbf B \operatorname{diag}(\boldsymbol\Sigma_i)^{1/2})^j \rVert_2},\, 0
#    \Bigr) . $$
#
# (The paper writes the two indices of $\alpha$ and $b$ the other way round.) Divide by
# $\sqrt{\lVert \boldsymbol\Sigma_i \rVert_1}$ above and below, and it gets a meaning:
#
# $$ \alpha_{ji} \leftarrow b_{ji} \max\Bigl( 1 - \frac{\Lambda_j}{s_{ji}},\, 0 \Bigr), \qquad
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
# *Expect* `[1.66, 0.55]` for the twins. Below them, two methods of earlier lessons come out as
# special cases: with Σ the identity each patch is its own group, and the prox is SC's; with Σ 1
# within blocks and 0 between them it is lesson 07's, with the threshold $\Lambda \sqrt{|S_i|}$.
#
# <details><summary>Hint</summary>
#
# $\sum_l \Sigma_{li} b_{jl}^2$ for all $j$ and $i$ is one matrix product. Where it is 0, the code
# is 0 as well, but 0/0 is not: `clamp_min` helps.
# </details>


# %% tags=["nbval-check-output"]
def relaxed_group_threshold(codes: Tensor, similarity: Tensor, threshold: Tensor | float) -> Tensor:
    """Eq. 11: codes (B, K, N), Σ (B, N, N), Λ a number or (K, 1) -> (B, K, N)."""
    ### BEGIN SOLUTION
    energy = codes.square() @ similarity
    group = similarity.sum(dim=-2, keepdim=True)
    strength = (energy / group).sqrt().clamp_min(1e-12)
    return codes * (1 - threshold / strength).clamp_min(0)
    ### END SOLUTION


relaxed_group_threshold = check("groupsc.threshold", relaxed_group_threshold)
twins = relaxed_group_threshold(torch.tensor([[[3.0, 1.0]]]), torch.ones(1, 2, 2), 1.0)
print([round(value, 2) for value in twins.flatten().tolist()])

codes, group = torch.randn(1, 5, 12, generator=generator), torch.arange(12) % 3
alone = relaxed_group_threshold(codes, torch.eye(12)[None], 0.5)
assert torch.allclose(alone, prox.soft_threshold(codes, 0.5), atol=1e-6)
blocks = (group[:, None] == group).float()[None]  # three groups of four
together = relaxed_group_threshold(codes, blocks, 0.5)
for number in range(3):
    lasso = prox.group_threshold(codes[..., group == number], 0.5 * 4**0.5)
    assert torch.allclose(together[..., group == number], lasso, atol=1e-6)
print("Σ = identity: SC. Σ in blocks: the group lasso.")

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
# **Is it still a proximal operator?** In the two special cases, yes. And in between? The paper
# keeps the name, and calls eq. 11 "a joint relaxation of the Group Lasso penalty and its proximal
# operator", each made soft by itself. Do the two still belong together? Nobody can try all
# penalties.
#
# ### Exercise 3: a test for a prox
#
# But one can look at the function. Whatever its penalty Ψ, convex or not, a proximal operator
# answers a question, $\operatorname{prox}(\mathbf z) = \operatorname{argmin}_{\mathbf u} \frac12
# \lVert \mathbf u - \mathbf z \rVert^2 + \Psi(\mathbf u)$, and that leaves a mark on how it answers
# when $\mathbf z$ moves a little. Most functions do not bear it. Find this mark, and measure how
# much of it a function lacks.
#
# Given are a function `f`, which makes a vector $(n)$ of a vector $(n)$, and a point `z` in
# float64, at which `f` is smooth. Return a number from 0 to 1:
#
# - 0 for every proximal operator, of any penalty, so that whatever has more is none;
# - the same for `f` and a multiple of it, and in any orthonormal basis (measure sizes by roots of
#   sums of squares);
# - 1 for a quarter turn of the plane, $(z_1, z_2) \mapsto (-z_2, z_1)$, and 0.41 for a shear,
#   $(z_1, z_2) \mapsto (z_1 + z_2, z_2)$.
#
# *Expect* 0 for soft thresholding and for the group prox.
#
# <details><summary>Hint</summary>
#
# Multiply the square out: $\operatorname{prox}(\mathbf z)$ is where $\langle \mathbf u, \mathbf z
# \rangle - \frac12 \lVert \mathbf u \rVert^2 - \Psi(\mathbf u)$ is largest. Call the largest value
# $F(\mathbf z)$. How does $F$ change when $\mathbf z$ moves a little, and what does that make of
# the prox? (Gradients are switched off in this lesson; the functions of `torch.func` and
# `torch.autograd.functional` work all the same.)
# </details>


# %% tags=["nbval-check-output"]
def far_from_prox(f, z: Tensor) -> float:
    """A function (n,) -> (n,) and a point (n,) -> 0 if f may be a prox there, up to 1."""
    ### BEGIN SOLUTION
    slopes = torch.autograd.functional.jacobian(f, z)
    return float((slopes - slopes.T).norm() / (2 * slopes.norm()).clamp_min(1e-300))
    ### END SOLUTION


far_from_prox = check("groupsc.far_from_prox", far_from_prox)
known = {"soft thresholding": lambda z: prox.soft_threshold(z, 0.5),
         "group prox": lambda z: prox.group_threshold(z, 0.5),
         "quarter turn": lambda z: torch.stack([-z[1], z[0]]),
         "shear": lambda z: torch.stack([z[0] + z[1], z[1]])}
for name, f in known.items():
    print(f"{name:18s}{far_from_prox(f, torch.tensor([3.0, 1.0], dtype=torch.float64)):.2f}")

# %% [markdown]
# Now eq. 11, on 24 patches in a row of the wall and the six atoms that are largest in it. Σ is made
# with κ as trained, and with multiples of it: 0 makes one group of all, a large number leaves each
# patch alone. Each atom has a curve.

# %%
row = 16 * across + torch.arange(12, 36)
first = model.C.mT @ y  # B of the first step, which begins with codes of 0
atoms = first.abs().sum(dim=(0, 2)).topk(6).indices
everyone = torch.ones(len(row), len(row), dtype=torch.bool)
scales, far = [0, 0.2, 0.4, 0.7, 1, 1.4, 2, 3, 5], []
for scale in scales:
    near = gaussian_similarity(y[..., row].double(), scale * model.kappa.double(), everyone)
    far.append([far_from_prox(lambda b, s=near, j=j: relaxed_group_threshold(
        b[None, None], s, model.thresholds[0, j].double())[0, 0], first[0, j, row].double())
        for j in atoms])
assert max(far[0] + far[-1]) < 1e-5 < min(far[4])
figure = figures.new_figure(6.5, 2.8)
figure.axes[0].plot(scales, far, "o-", markersize=3)
figure.axes[0].set(xlabel="multiple of the trained κ", ylabel="far from a prox", ylim=(0, None))
figure

# %% [markdown]
# **What to notice.** At both ends there is a penalty, and the number is 0. Between them there is
# none, convex or not, whose prox eq. 11 could be, and the network works near the top of the hill.
# So this loop is not proximal gradient descent on any cost, and no proof of lessons 02 and 07
# covers it. It is a small step away from what they prove. Whether it works is for training and the
# test pictures to say. We go on calling it the group *prox*.
#
# The point of soft groups is not that they are better. It is that training can *make* them better.
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
# The estimates $\mathbf W\boldsymbol\alpha$ of overlapping patches contradict each other. *Middle
# averaging* (Table 9) makes them agree first: add the means, average the overlaps to an image (eq.
# 6), cut it into patches again, take away the *old* means.
#
# *Toy example.* Two patches have Σ = 0.1 in the noise and $\hat\Sigma = 0.9$ in the estimate. With
# ν = 3/4 they go on with 0.7.
#
# ### Exercise 4: a refresh
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
    """Σ (B, N, N) after a look at the estimates W α (B, m, N) with means (B, 1, N)."""
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
nu = float(model.nu_logit.sigmoid())
nus = dict.fromkeys(model.config.refreshes, nu)


def unroll(noisy: Tensor, nus: dict[int, float], window: int = 49) -> tuple[Tensor, list, list]:
    """The estimate; Σ at the start and after each refresh; the codes before and after each step."""
    y, mean = model.cut(noisy)
    shape = (noisy.shape[-2], noisy.shape[-1])
    mask = window_mask((shape[0] - size + 1, shape[1] - size + 1), window)
    sigmas, path = [gaussian_similarity(y, model.kappa, mask)], [0 * (model.C.mT @ y)]
    for k, threshold in enumerate(model.thresholds):
        A = path[-1]
        if k in nus:
            sigmas.append(refresh(sigmas[-1], model.W @ A, mean, shape, model.kappa, mask, nus[k]))
        B = A + model.C.mT @ (y - model.D @ A)
        path.append(relaxed_group_threshold(B, sigmas[-1], threshold))
    return model.average(model.W @ path[-1] + mean, noisy), sigmas, path


# %%
estimate, sigmas, path = unroll(noisy, nus)
assert (estimate - model(noisy)).abs().max() < 1e-3, "your parts make the network"
print(f"ν = {nu:.2f}, ‖κ‖² = {model.kappa.square().sum():.0f}")
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
# **What to notice.** On the left, the squares look like a throw of dice: section 5 asks whether
# their pattern matters. On the right, noise alone puts
# $2\sigma^2\lVert\boldsymbol\kappa\rVert^2 \approx 1.4$ between any two patches, twins or not: it
# takes three quarters of a similarity away. So groups begin large and vague, mostly of a hundred to
# three hundred patches. A look at the estimate makes them smaller, and finds two kinds of patches:
# those on a brick, with a hundred relatives or so, and those at a joint, with ten or twenty.
#
# **One step, in pictures** (the paper's Figure 3). It is step 19, just after the last refresh: 40
# patches in a row of the wall, across a joint, and the 24 atoms that they use most. What is learned
# stands at the arrows.

# %%
k, columns = 19, 16 * across + torch.arange(4, 44)
A, B = path[k], path[k] + model.C.mT @ (y - model.D @ path[k])
s = (B.square() @ (sigmas[-1] / sigmas[-1].sum(dim=1, keepdim=True))).sqrt()
rows = path[k + 1][0][:, columns].abs().sum(dim=1).topk(24).indices
before, after = (model.average(model.W @ path[n] + mean, noisy)[0, 0] for n in (k, k + 1))
lower = {"codes A": A, "B = A + Cᵀ(Y − DA)": B, "strength s": s,
         "factor max(1 − Λ/s, 0)": (1 - model.thresholds[k] / s).clamp_min(0),
         "new codes A": path[k + 1]}
panels = {title: (n, 1, v[0][rows][:, columns]) for n, (title, v) in enumerate(lower.items())}
upper = {"noisy image": noisy[0, 0], "similarity Σ": sigmas[-1][0][columns][:, columns],
         "estimate": before, "new estimate": after}
panels |= {title: (n, 0, values.clamp_min(0)) for n, (title, values) in enumerate(upper.items(), 1)}
arrows = {(5, 1): "patches Y", (0, 1): "C, D", (7, 6): "κ, ν", (6, 2): "who counts",
          (1, 2): "squares", (2, 3): "Λ", (3, 4): "× B", (4, 8): "W, average", (8, 7): "next step"}
diagrams.show_flow(panels, arrows)

# %% [markdown]
# **What to notice.** Follow a row of the last pictures. An atom of the joint is used left of the
# middle and nowhere else; an atom of the brick is weak, in all patches of the brick, and what noise
# does in a single patch is gone. Σ shows why: patches on the joint resemble their next neighbours
# only, those on the brick each other. The old estimate is noisy, after 19 steps of denoising: keep
# that in mind for section 5.
#
# Who resembles whom on the whole wall? Each panel below shows one column of Σ, laid over the
# photograph. The blue square is the patch in question; a weight is drawn at the centre of the patch
# that it belongs to.

# %% tags=["nbsphinx-thumbnail"]
def look(row: int, column: int, refreshes: list[int]) -> figures.Figure:
    """Columns of Σ, before and after refreshes, of the patch at a position."""
    columns = {("in the noise" if n == 0 else f"after refresh {n}"):
               sigmas[n][0, :, row * across + column].unflatten(0, (-1, across))
               for n in refreshes}
    return figures.show_similar(noisy if refreshes == [0] else estimate, columns,
                                (row, column), size, label="similarity")


look(16, 22, [0, 1, 3])

# %% [markdown]
# **What to notice.** The colour bars leave out the patch itself. In the noise the patch knows brick
# from mortar and no more: anything on a brick will do, and how well is decided by noise. After a
# refresh this one, on the edge of an upright joint, has found its family: patches *on that edge*,
# at the same distance from the mortar; after the last one, places on the brick are distant cousins.
# The window ends 24 patches away.
#
# Take a tour: choose a patch and a moment. The first, near a corner, has few relatives besides its
# next neighbours.

# %%
def tour(row: int, column: int, refreshes: int) -> figures.Figure:
    return look(row, column, [0, refreshes])


widgets.explore(tour, row=[34, *range(0, 48, 4)], column=[8, *range(0, 48, 4)],
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
# ### Exercise 5: the prox as attention
#
# Write it with `F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)`, and
# without Σ. It wants tensors of shape $(B, N, \text{channels})$.
#
# *Expect* the numbers of exercise 2, to 1e-5, window included.
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
mask = window_mask((across, across), 49)
assert mask.logical_not().any()  # so the window does matter here
by_sigma = relaxed_group_threshold(first, sigmas[0], model.thresholds[0])
by_attention = group_attention(first, y, model.kappa, mask, model.thresholds[0])
assert (by_sigma - by_attention).abs().max() < 1e-5
weights = sigmas[-1][0] / sigmas[-1][0].sum(dim=0)
for count in (10, 100, 500):
    share = weights.topk(count, dim=0).values.sum(dim=0).mean()
    print(f"the {count} most similar of {len(weights)} patches hold {share:.0%} of the weight")

# %% [markdown]
# **What to notice.** The identity is exact, so whatever is known about attention holds for GroupSC:
#
# - No $N \times N$ matrix need ever be stored. A softmax can be summed up key by key, and fast
#   attention code does that. (Our `mask` is such a matrix; a window known by its width need not
#   be.)
# - One patch in twenty holds more than half of the weight, and one in five about nine tenths. To
#   keep only the nearest is an approximation whose error one can measure.
# - A refreshed Σ is an average of two attentions, patch $i$ weighing them by $(1 - \nu) \lVert
#   \boldsymbol\Sigma_i \rVert_1$ and $\nu \lVert \hat{\boldsymbol\Sigma}_i \rVert_1$.
#
# And there is a difference from a transformer. There, attention *moves* values from token to token.
# Here no code ever leaves its patch: attention says only how much each is to be trusted.
#
# ## 5. What has it learned, and does it matter?
#
# **Λ and ν.** Λ holds one threshold for each atom and each step (the paper's Figure 13). Noise
# alone gives $\mathbf c_j^\top \mathbf y$ the standard deviation $\sigma \lVert \mathbf c_j
# \rVert$, and only $\Lambda_j / (\sigma \lVert \mathbf c_j \rVert)$ can be compared with SC's. The
# paper writes $\nu_k$, one for each refresh; the authors' program has one ν for all, and so has
# ours. In Σ the noisy patches then count for $1 - \nu$ after one refresh, $(1 - \nu)^2$ after two:
# on the right, for four sets of weights, whose training began at ν = 0.73, with them or with those
# that they were made from.

# %%
figure = figures.new_figure(9, 2.8, columns=2)
left, right = figure.axes
for network, name, style in ((sc, "SC", "s--"), (model, "GroupSC", "o-")):
    relative = network.thresholds[:, :, 0] / (sigma * network.C.norm(dim=0))
    left.plot(relative.median(dim=1).values, style, markersize=4, label=name)
for k in model.config.refreshes:
    left.axvline(k - 0.5, color="0.6", linestyle=":", label="refresh" if k == 7 else None)
for name, style in (("gray-50", "^--"), ("gray-25", "o-"), ("jpeg-10", "s-."), ("color-25", "v:")):
    learned = float(checkpoints.load_model(f"groupsc-{name}").nu_logit.sigmoid())
    shares = [(1 - learned) ** n for n in range(4)]
    right.semilogy(range(4), shares, style, label=f"{name}, ν = {learned:.2f}")
left.set(xlabel="step", ylabel="median of Λ / (σ‖c‖)", ylim=(0, None))
right.set(xlabel="refreshes", ylabel="share of the first look", xticks=range(4))
_ = [axes.legend(frameon=False, fontsize=9) for axes in (left, right)]
figure

# %% [markdown]
# **What to notice.** Counted from 0, Σ is refreshed before steps 7, 13 and 19. In the last step
# before the second and the third refresh, 12 and 18, thresholds fall to little more than half, and
# jump back after it. Nobody told the network to. A possible reason: what has been deleted cannot be
# compared, so before it compares patches again, it lets more of the picture through. (That was the
# noisy estimate in the diagram.) Below we put this to the test.
#
# GroupSC's thresholds are lower than SC's, too, and lesson 07 knows why: in a single patch Λ has to
# be above the *largest* code that noise brings about, in a group only above the root mean square of
# many such codes.
#
# And ν has learned to forget: after three refreshes the noisy patches count for a hundredth or so
# in colour, those of the file for three thousandths in JPEG, and in gray noise for less than one.
#
# **D, W and C** (the paper's Figure 12). The paper trained D and W, with C = D, and finds them
# coupled. Here all three are free, and were equal when training began. Are they still? Below are
# the sixteen atoms that the wall uses most, and for all 256 the cosine between an atom of one and
# its counterpart in another.

# %%
matrices = {"D": model.D, "W": model.W, "C": model.C}
for one, other in (("D", "W"), ("C", "W"), ("D", "C")):
    cosines = F.normalize(matrices[one], dim=0).mT @ F.normalize(matrices[other], dim=0)
    own, found = cosines.diagonal(), (cosines.argmax(dim=0) == torch.arange(256)).float().mean()
    print(f"{one} and {other}: cosine of counterparts {own.median():.2f} (median), "
          f"of any two ±{cosines.abs().median():.2f};")
    print(f"         negative {(own < 0).float().mean():4.0%}, nearest of all 256 {found:.0%}")
used = path[-1].abs().sum(dim=(0, 2)).topk(16).indices
figure = figures.show_dictionary(torch.cat([m[:, used] for m in matrices.values()], 1), 9, width=9)
for n, name in enumerate(matrices):
    figure.axes[0].text(-3, 10 * n + 5, name, ha="right", va="center")
figure

# %% [markdown]
# **What to notice.** Coupled, yes: most atoms have their counterpart for the nearest of all 256,
# where chance would give one. But loosely. Atoms of W, with which the picture is painted, are
# smooth; those of D and C look noisy, and need not look like anything: what counts is what they do
# together in 24 steps. Some pairs even point in opposite directions.
#
# **Do the refreshes matter?** Paper against paper: its text says that without them GroupSC loses
# 0.15 dB (§3.3); its Table 14 shows 31.67 against 31.57 dB (BSD68, σ = 15/255, blocks 48 apart),
# and 0.10 to 0.12 with blocks otherwise. Short trainings of ours, with and without, are [0.05 dB
# apart](../docs/training.md). Let us now switch refreshes off in the network we have. Mind what
# this measures: its weights are those trained *with* three of them.


# %%
def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


steps = model.config.refreshes
variants = {f"as trained: ν = {nu:.2f}, three refreshes": (nus, 49),
            "no refresh": ({}, 49), "the first refresh only": ({steps[0]: nu}, 49),
            "ν = 0.25": (dict.fromkeys(steps, 0.25), 49), "ν = 1": (dict.fromkeys(steps, 1.0), 49),
            "window of 9 patches": (nus, 9), "window of 1 patch: SC's prox": (nus, 1)}
part = (..., slice(8, 48), slice(0, 40))  # smaller, so that this stays quick
print("PSNR in dB on a part of the wall, the same weights in each line")
for name, (chosen, window) in variants.items():
    score = decibels(unroll(noisy[part], chosen, window)[0], clean[part])
    print(f"  {name:42s}{score:6.2f}")

# %% [markdown]
# **What to notice.** Without refreshes this network loses far more than a tenth of a decibel:
# groups stay as large and vague as in the noise, and Λ was learned for better ones. A window of a
# single patch does the greatest harm. The prox is SC's then, but Λ is not: thresholds made for
# groups are too low for a patch on its own. One refresh does most of the work on this wall, and to
# forget the first look altogether (ν = 1) costs next to nothing.
#
# **Does κ matter?** Its 81 squares look like dice. *Predict:* shuffle the 81 numbers, so that each
# pixel of a patch gets the weight of another. What becomes of the wall's PSNR, on average over
# three shuffles?


# %%
def altered(name: str, values: Tensor, noisy=noisy[part], clean=clean[part]) -> float:
    """Decibels on the part of the wall with other values in a parameter, which is then put back."""
    parameter = getattr(model, name)
    kept = parameter.clone()
    parameter.copy_(values)
    score = decibels(unroll(noisy, nus)[0], clean)
    parameter.copy_(kept)
    return score


def shuffle(kappa=model.kappa, altered=altered) -> tuple[str, str]:
    drawn = [altered("kappa", kappa[torch.randperm(81)]) for _ in range(3)]
    lost = altered("kappa", kappa) - sum(drawn) / 3
    return "a" if lost > 1 else "b" if lost > 0.2 else "c", f"It loses {lost:.2f} dB."


widgets.predict({"a": "it loses more than 1 dB", "b": "it loses 0.2 to 1 dB",
                 "c": "it loses less than 0.2 dB, or gains"}, shuffle)

# %%
kappa, filled = model.kappa, model.raw_thresholds.abs()
flat = torch.full_like(kappa, float(kappa.square().mean().sqrt()))
shuffled = kappa[torch.randperm(len(kappa), generator=generator)]
for name, chosen in {"as trained": kappa, "κ shuffled": shuffled, "κ all alike": flat,
                     "κ / 2": kappa / 2, "2 κ": 2 * kappa}.items():
    print(f"  {name:24s}{altered('kappa', chosen):6.2f} dB    ‖κ‖² = {chosen.square().sum():.0f}")
for k in steps[1:]:
    filled[k - 1] = (filled[k - 2] + filled[k]) / 2
moved = filled.clone()
moved[[k - 3 for k in steps[1:]]] *= 0.57
for name, chosen in {"dips of Λ filled": filled, "dips two steps earlier": moved}.items():
    print(f"  {name:24s}{altered('raw_thresholds', chosen):6.2f} dB")

# %% [markdown]
# **What to notice.** On this wall the pattern of κ does not matter: no pixel of a patch tells more
# than another who its relatives are. What matters is one number, how large κ is. Here a single one
# could stand for the 81 weights of eq. 12.
#
# The dips of Λ do matter. If they are filled, with the mean of the steps around them, the wall
# loses 0.1 dB. Moved two steps earlier, away from the refreshes, the dips cost 0.8 dB, far more
# than having none at all. So it is their place that counts, just before a refresh. (All else was
# trained with the dips.)
#
# ## Results: against SC
#
# The baseline is the SC of lesson 05: the same patches, as many atoms and steps, and 82 parameters
# fewer: 81 weights κ, and one ν. All see the same noise. Could SC do the same by simply shrinking
# more? To find out, a third column raises its thresholds by 20 %. (`tile=48`: patches are compared
# within tiles of 48 × 48 pixels.)

# %%
stronger = build("sc", {})
stronger.load_state_dict(sc.state_dict() | {"raw_thresholds": 1.2 * sc.raw_thresholds})
networks = {"SC": sc, "SC, 1.2 Λ": stronger, "GroupSC": model}
pieces = {"astronaut": (150, 20, 32), "coins": (60, 60, 32), "brick": (172, 166, 72)}
print("PSNR in dB     noisy       SC  SC, 1.2 Λ  GroupSC")
for name, (top, left, height) in pieces.items():
    target = data.sample(name)[..., top : top + height, left : left + 72]
    seen = GaussianNoise(sigma)(target, name)
    images = {title: restore(network, seen, tile=48) for title, network in networks.items()}
    scores = [decibels(image, target) for image in (seen, *images.values())]
    print("{:10s}{:10.2f}{:9.2f}{:11.2f}{:9.2f}".format(name, *scores))
_, plain, raised, grouped = scores
assert grouped - max(plain + 0.4, raised + 0.05) > 0
figures.show_images({"clean": target} | images, clean=target, residual=True, width=11)

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
# picture.
#
# **On average, and at what cost?** The next cell prints scores on BSD68 at σ = 25/255 that are kept
# with the library, beside print (the paper's Tables 3 and 7). DnCNN, a stack of 17 convolutions,
# has the weights that its authors published. Seconds are kept, too, for a photograph of 481 × 321
# pixels, all on one machine ([docs/speed.md](../docs/speed.md); CSR was not measured). The last
# column is measured now, on 96 × 96 pixels: seconds of all cores together, DnCNN's with random
# weights.

# %%
kept = json.loads(data.shipped("speed.json").read_text(encoding="utf-8"))["processor"]["image"]
once = {row["way"]: f"{row['seconds']:.1f}" for row in kept["rows"]}
table = {"BM3D": ("bm3d", "BM3D", None), "SC": ("sc-gray-25", "SC, fast form", sc),
         "CSR": ("csr-gray-25", "", checkpoints.load_model("csr-gray-25")),
         "GroupSC": ("groupsc-gray-25", "GroupSC, fast form, bfloat16", model),
         "DnCNN": ("dncnn-gray-25@cszn", "DnCNN, float32", build("dncnn", {}))}
seen = GaussianNoise(sigma)(data.sample("camera", size=96), "camera")
print(f"{'':10}parameters  measured  printed  seconds, kept   here")
for name, (method, way, network) in table.items():
    score, start = read_score(data.shipped("scores") / f"BSD68-25-{method}.json"), process_time()
    _ = network and restore(network, seen)
    here = f"{process_time() - start:.2f}" if network else "–"
    count = checkpoints.known_weights()[method].parameters if network else "–"
    print(f"{name:10}{count:>10}{score.psnr:10.2f}{score.paper.psnr:9.2f}"
          f"{once.get(way, '–'):>15}{here:>7}")

# %% [markdown]
# **What to notice.** Groups gain 0.24 dB over SC (in print 0.30), for 82 numbers more and seven
# times the seconds. Our three networks lie 0.14 to 0.26 dB below print, after about a hundredth of
# the paper's training. DnCNN has eight times the parameters, is 0.22 dB ahead of our GroupSC before
# rounding (0.03 dB in print), and takes less than a tenth of its time: it compares no patches, and
# convolutions are what processors are good at.
#
# **What are the sizes worth?** The paper's Tables 15 and 16 say how many dB each choice gained or
# lost on BSD68 at σ = 25/255, in a lighter version, each fully trained. Beside them stand short
# trainings of ours, on held-out crops, all at about the same cost: who has half the atoms or half
# the steps takes twice as many training steps ([docs/training.md](../docs/training.md)).
#
# | in place of | | paper | ours |
# |:--|:--|--:|--:|
# | 256 atoms | 128 | −0.05 | +0.05 |
# | | 512 | +0.03 | −0.07 |
# | patches of 9 × 9 | 7 × 7 | −0.06 | −0.19 |
# | | 11 × 11 | +0.01 | – |
# | 24 steps of GroupSC | 12 | −0.02 | +0.10 |
# | | 36 | 0.00 | −0.04 |
# | 24 steps of SC | 12 | −0.01 | +0.08 |
# | | 36 | −0.01 | −0.05 |
#
# After a long training sizes hardly matter, and 12 steps would do. In a short one, at equal cost,
# few atoms and few steps win, because they are trained longer.
#
# ## What breaks
#
# **Large pictures.** Σ has $N^2$ entries: twice the side, sixteen times the work. So photographs
# are cut into tiles, and look-alikes beyond the tile are lost.
#
# **Another σ.** The thresholds were learned for σ = 25/255, as SC's were. But Σ was, too: noise
# adds about $2\sigma^2 \lVert \boldsymbol\kappa \rVert^2$ to every squared distance, twins or not.

# %%
print("σ × 255   SC, dB   GroupSC, dB   GroupSC − SC   2σ²‖κ‖²   median ‖Σᵢ‖₁ at the start")
for level in (10, 15, 25, 35, 50):
    seen = GaussianNoise(level / 255)(clean, "brick")[part]
    result, (start, *_), _ = unroll(seen, nus)
    one, other = decibels(sc(seen), clean[part]), decibels(result, clean[part])
    middle, blur = start.sum(dim=1).median(), 2 * (level / 255) ** 2 * model.kappa.square().sum()
    print(f"{level:7d}{one:9.2f}{other:14.2f}{other - one:+15.2f}{blur:10.1f}{middle:12.1f}")

# %% [markdown]
# **What to notice.** The lead that GroupSC has at its own σ does not survive another. With little
# noise a patch begins with two or three times as many relatives as in training, and what is special
# about it is voted down. With much noise groups begin small, and the estimates that a refresh
# compares are still full of noise; thresholds made for groups then let through more of it than SC's
# do. In SC one thing depends on σ, in GroupSC two do.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("08")

# %% [markdown]
# ## Problems
#
# **1. What 0 does not prove.** Try your test of exercise 3 on $f(\mathbf z) = 3\mathbf z$ and on
# $f(\mathbf z) = -\mathbf z$. One of the two is a proximal operator. Of which penalty? And why is
# the other none, whatever the penalty? (Write down that $f(\mathbf a)$ is at least as good an
# answer to $\mathbf a$ as $f(\mathbf b)$ is, and the same the other way round.)
#
# <details><summary>Solution</summary>
#
# Both have 0, if your test measures no more than it must. Let $\mathbf p =
# \operatorname{prox}(\mathbf a)$ and $\mathbf q = \operatorname{prox}(\mathbf b)$, of any penalty,
# convex or not. Then
#
# $$ \tfrac12 \lVert \mathbf p - \mathbf a \rVert^2 + \Psi(\mathbf p) \le \tfrac12 \lVert \mathbf q
#    - \mathbf a \rVert^2 + \Psi(\mathbf q), \qquad \tfrac12 \lVert \mathbf q - \mathbf b \rVert^2 +
#    \Psi(\mathbf q) \le \tfrac12 \lVert \mathbf p - \mathbf b \rVert^2 + \Psi(\mathbf p) . $$
#
# Add the two: Ψ falls out, and so do the squares of $\mathbf p$, $\mathbf q$, $\mathbf a$ and
# $\mathbf b$. What is left is $\langle \mathbf p - \mathbf q, \mathbf a - \mathbf b \rangle \ge 0$:
# a prox never turns back. But $-\mathbf z$ does: the product is $-\lVert \mathbf a - \mathbf b
# \rVert^2$.
#
# $3\mathbf z$ is the prox of $\Psi(\mathbf u) = -\frac13 \lVert \mathbf u \rVert^2$, which is not
# convex: $\frac12 \lVert \mathbf u - \mathbf z \rVert^2 - \frac13 \lVert \mathbf u \rVert^2$ still
# is, and has the derivative $\frac13 \mathbf u - \mathbf z$. So a number above 0 settles it, and 0
# does not. But a smooth function that has 0 everywhere and never turns back is the prox of some
# penalty (Gribonval and Nikolova, 2020).
#
# ```python
# z = torch.randn(5, generator=generator, dtype=torch.float64)
# print(far_from_prox(lambda z: 3 * z, z), far_from_prox(lambda z: -z, z))
# rivals = torch.cat([3 * z[None], 3 * z + torch.randn(999, 5, generator=generator)])
# costs = (rivals - z).square().sum(dim=1) / 2 - rivals.square().sum(dim=1) / 3
# assert costs.argmin() == 0
# ```
#
# </details>
#
# **2. One network for all σ.** How must Λ and κ be changed so that the network, without any
# training, does at σ' what it does at σ? Show that your answer is the same as multiplying the
# picture first, and try it at σ' = 50/255.
#
# <details><summary>Solution</summary>
#
# Let $c = \sigma' / \sigma$. Multiply the patches by $c$, Λ by $c$, and κ by $1/c$. Then $\kappa
# \odot \mathbf y$ is as before, and so is Σ. If the codes are $c$ times the old ones, so is
# $\mathbf B$, and so are the strengths; $\Lambda_j / s_{ji}$ is as before, hence the new codes are
# $c$ times the old ones, and so is the estimate that the next refresh looks at. So the network with
# $(c\Lambda, \kappa / c)$ makes of $c\,\mathbf y$ what the trained one makes of $\mathbf y$, times
# $c$. In SC only Λ has to grow. `restore(model, noisy, sigma)` divides the picture by $c$, and
# multiplies the estimate.
#
# ```python
# seen, louder = GaussianNoise(50 / 255)(clean, "brick")[part], build("groupsc", {})
# louder.load_state_dict(model.state_dict() | {
#     "raw_thresholds": 2 * model.raw_thresholds, "kappa": model.kappa / 2})
# assert (louder(seen) - 2 * model(seen / 2)).abs().max() < 1e-3
# print(f"2 Λ and κ / 2: {decibels(louder(seen), clean[part]):.2f} dB, "
#       f"SC with 2 Λ: {decibels(2 * sc(seen / 2), clean[part]):.2f} dB")
# ```
#
# On the wall 17.35 dB become 29.77, and GroupSC is ahead of SC again, which has 28.71 with twice
# its thresholds.
#
# </details>
#
# ## Further reading
#
# - J. Mairal, F. Bach, J. Ponce, G. Sapiro, A. Zisserman, *Non-local sparse models for image
#   restoration*, ICCV 2009: LSSC, the hard groups that are relaxed here.
# - T. Plötz, S. Roth, *Neural nearest neighbors networks*, NeurIPS 2018: another way to make the
#   choice of neighbours differentiable.
# - R. Gribonval, M. Nikolova, *A characterization of proximity operators*, 2020: which functions
#   are proximal operators, convex penalty or not.
# - A. Vaswani and others, *Attention is all you need*, NeurIPS 2017.
#
# **Next:** [09 · CSR](09_csr.ipynb) keeps Σ and changes what similar patches have to agree on.
