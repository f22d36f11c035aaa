# %% [markdown]
# # 09 · CSR: a prox with two magnets
#
# GroupSC asks similar patches to agree on *which* atoms they use. *Centralised sparse
# representation* (CSR) asks for more: their codes should have nearly the same *values*. One term
# is added to the penalty, a second kink appears, and the proximal operator gets a second magnet.
# It still has a closed form, and this lesson derives it with nothing but a ruler.
#
# **You will be able to**
#
# - write the CSR penalty, and find its proximal operator by brute force;
# - derive that operator case by case, read it off a staircase, and go on to any number of magnets;
# - say what its second magnet β is, and measure how good a guess it is;
# - take one step of trainable CSR, and predict where the method fails.
#
# **Before you start**
#
# - **Time:** 60 minutes; all cells together run in half a minute on a laptop.
# - **You need:** lessons 02 (soft thresholding as a prox), 05 (SC) and 08 (the similarity Σ).
# - **Source:** GroupSC: Lecouat, Ponce, Mairal, *Fully trainable and interpretable non-local
#   sparse models for image restoration*, ECCV 2020, §A (eq. 15, 16, Proposition 1), §D and Table 8,
#   after W. Dong, L. Zhang, G. Shi, *Centralized sparse representation for image restoration*,
#   2011.

# %%
# %matplotlib inline
import torch
from torch import Tensor

from lessons_lib import data
from lessons_lib.checkpoints import load_model
from lessons_lib.degradations import GaussianNoise
from lessons_lib.exercises import check
from lessons_lib.metrics import psnr
from lessons_lib.models import build, restore
from lessons_lib.ops.prox import soft_threshold
from lessons_lib.ops.similarity import gaussian_similarity
from lessons_lib.viz import figures, widgets

torch.set_grad_enabled(False)  # nothing is trained here
generator = torch.Generator().manual_seed(0)
sigma = 25 / 255

# %% [markdown]
# ## 1. What if we have a good guess?
#
# Suppose that for each code $\boldsymbol\alpha_i$ somebody hands us a guess
# $\boldsymbol\beta_i$. Section 4 says who. GroupSC's eq. 15 then penalises two things:
#
# $$ \Psi_i(\mathbf u) = \lVert \mathbf u \rVert_1 + \gamma \lVert \mathbf u - \boldsymbol\beta_i
#    \rVert_1 , $$
#
# being away from zero, and being away from the guess. The proximal operator (eq. 8) weighs this
# against the distance to where the gradient step has led, $\mathbf z$. All terms are sums over
# entries, so every entry minimises a function of one number:
#
# $$ c(u) = \tfrac12 (u - z)^2 + \lambda |u| + \lambda\gamma |u - \beta| . $$
#
# *Toy example.* Take $\beta = 2$, $\lambda = 0.8$, $\gamma = 0.5$. If $z = 3$, then at $u = 2$ the
# cost is $\frac12 + 1.6 = 2.1$. A bit to the left, the slope is $-1 + 0.8 - 0.4 < 0$; a bit to
# the right it is $-1 + 0.8 + 0.4 > 0$. So the minimum lies *exactly* on the guess.
#
# ### Exercise 1: the cost
#
# Write $c(u)$, entry by entry: no sum.
#
# *Expect* the three curves below, each with two kinks.
#
# <details><summary>Hint</summary>
#
# `lam` multiplies both absolute values, `gamma` only the second.
# </details>


# %% tags=["nbval-check-output"]
def cost(u: Tensor, z: Tensor, beta: Tensor, lam: float, gamma: float) -> Tensor:
    """½(u − z)² + λ|u| + λγ|u − β| for each entry; shapes broadcast."""
    ### BEGIN SOLUTION
    return 0.5 * (u - z) ** 2 + lam * u.abs() + lam * gamma * (u - beta).abs()
    ### END SOLUTION


cost = check("csr.cost", cost)
toy = cost(torch.tensor([1.9, 2.0, 2.1]), torch.tensor(3.0), torch.tensor(2.0), 0.8, 0.5)
print("cost at u = 1.9, 2.0, 2.1:", [round(value, 3) for value in toy.tolist()])

# %%
lam, gamma, beta = 0.8, 0.5, torch.tensor(2.0)
u = torch.linspace(-3, 5, 1601)  # 0.005 apart: 0 and β are among them
figure = figures.new_figure(8.5, 3, columns=2)
figure.axes[0].plot(u, cost(u, beta * 0, beta, lam, gamma) - 0.5 * u**2)
figure.axes[0].set(title="the penalty λ|u| + λγ|u − β|", xlabel="u")
for z, style in ((-0.5, "-."), (1.5, "--"), (3.0, "-")):
    curve = cost(u, torch.tensor(z), beta, lam, gamma)
    line = figure.axes[1].plot(u, curve, style, label=f"z = {z}")[0]
    figure.axes[1].plot(u[curve.argmin()], curve.min(), "o", color=line.get_color())
figure.axes[1].set(title="the cost, and its minimum", xlabel="u", ylim=(0, 5))
figure.axes[1].legend(frameon=False)
for axes in figure.axes:
    for kink in (0, beta):
        axes.axvline(kink, color="0.7", linewidth=0.8, zorder=0)
figure

# %% [markdown]
# **What to notice.** Outside of 0 and β the penalty is $\lambda(1 + \gamma)$ steep, between them
# only $\lambda(1 - \gamma)$, because there one pull works against the other. One minimum sits on
# the kink at 0, one on the kink at β, one on neither.
#
# ### Exercise 2: the prox by brute force
#
# Before we trust a formula, let us have something to test it with. Given a list of candidates for
# $u$, return for each entry the one that costs least.
#
# *Expect* that of 2000 random entries about 30 % end on 0 and about 10 % on their β, exactly.
#
# <details><summary>Hint</summary>
#
# `candidates[:, None]` against `z` makes a table of costs, $(G, N)$. `argmin(dim=0)` gives
# positions; you want candidates.
# </details>


# %% tags=["nbval-check-output"]
def brute_force(z: Tensor, beta: Tensor, lam: float, gamma: float, candidates: Tensor) -> Tensor:
    """The best candidate for each entry, (N,), (N,), (G,) -> (N,)."""
    ### BEGIN SOLUTION
    table = cost(candidates[:, None], z, beta, lam, gamma)
    return candidates[table.argmin(dim=0)]
    ### END SOLUTION


brute_force = check("csr.brute_force", brute_force)
zs, betas = 2 * torch.randn(2, 2000, generator=generator)
betas = (betas / 0.005).round() * 0.005  # a number that is among the candidates
candidates = torch.linspace(-10, 10, 4001)
found = brute_force(zs, betas, lam, gamma, candidates)
on_zero, on_beta = ((found - magnet).abs().lt(1e-4).float().mean() for magnet in (0, betas))
print(f"exactly 0: {100 * on_zero:.0f} %, exactly β: {100 * on_beta:.0f} %")

# %% [markdown]
# ## 2. Which formula is it?
#
# A convex function is smallest where 0 is one of its slopes. At a kink it has a whole interval of
# them: $\partial|u|$ is $\operatorname{sign}(u)$, but $[-1, 1]$ at $u = 0$. So (§D)
#
# $$ z \in u + \lambda\,\partial|u| + \lambda\gamma\,\partial|u - \beta| . $$
#
# Let $\beta > 0$. Five cases, one per line. The middle column reads the condition from $u$ to $z$;
# solved for $u$, it is the right one.
#
# | case | condition | the prox |
# |:--|:--|:--|
# | $u < 0$ | $z = u - \lambda(1 + \gamma)$ | $u = z + \lambda(1 + \gamma)$ |
# | $u = 0$ | $-\lambda(1 + \gamma) \le z \le \lambda(1 - \gamma)$ | $u = 0$ |
# | $0 < u < \beta$ | $z = u + \lambda(1 - \gamma)$ | $u = z - \lambda(1 - \gamma)$ |
# | $u = \beta$ | $\lambda(1 - \gamma) \le z - \beta \le \lambda(1 + \gamma)$ | $u = \beta$ |
# | $u > \beta$ | $z = u + \lambda(1 + \gamma)$ | $u = z - \lambda(1 + \gamma)$ |
#
# Each line begins where the one above ends. So $z$ climbs a staircase as $u$ grows, and every $z$
# is reached exactly once. To get the prox, turn the picture over its diagonal.

# %%
wide, narrow, b = lam * (1 + gamma), lam * (1 - gamma), float(beta)
corners_u = [-2.0, 0.0, 0.0, b, b, 4.0]
corners_z = [-2.0 - wide, -wide, narrow, b + narrow, b + wide, 4.0 + wide]
left, right = (figure := figures.new_figure(8.5, 3.8, columns=2)).axes
for case, name in enumerate(("u < 0", "u = 0", "0 < u < β", "u = β", "u > β")):
    ends = slice(case, case + 2)
    left.plot(corners_u[ends], corners_z[ends], linewidth=2.5, label=name)
    right.plot(corners_z[ends], corners_u[ends], linewidth=2.5)
right.plot(u[::50], brute_force(u[::50], beta.expand(33), lam, gamma, u), "k.", label="brute force")
left.set(title="the condition: z over u", xlabel="u", ylabel="z", ylim=(-3.2, 5.2))
right.set(title="turned over: the prox", xlabel="z", ylabel="u", xlim=(-3.2, 5.2))
for axes in (left, right):
    axes.legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** On the right, the vertical steps of the staircase have become plateaus: all
# those $z$ have the same $u$. The plateau at 0 is $2\lambda$ wide, the one at β $2\lambda\gamma$.
# Width is strength: these are the two magnets.
#
# **One line for five.** Proposition 1 writes the same thing with two soft thresholds:
#
# $$ \operatorname{prox}_{\lambda\Psi}(z) = S_\lambda\bigl( S_{\lambda\gamma}(z - \beta -
#    \lambda s) + \beta + \lambda s \bigr), \qquad s = \operatorname{sign}(\beta) . $$
#
# Read it from the inside, still with $\beta > 0$. Soft thresholding of $z - t$, with $t$ added
# back, pulls by $\lambda\gamma$ towards $t$. It aims at $t = \beta + \lambda$: too high by
# $\lambda$, since the outer threshold is going to take $\lambda$ away. What arrives in the middle
# is
#
# - $z - \lambda\gamma > t$ from above. The outer threshold makes it $z - \lambda(1 + \gamma)$:
#   fifth line.
# - exactly $t$, if $|z - t| \le \lambda\gamma$. The outer threshold makes it β: fourth line.
# - $z + \lambda\gamma < t$ from below. The outer threshold takes $\lambda$ away if it is larger
#   than that (third line), makes it 0 if it is not (second), or adds $\lambda$ (first).
#
# For $\beta < 0$, turn all signs.
#
# ### Exercise 3: Proposition 1
#
# Write it. `soft_threshold` is there from lesson 02.
#
# *Expect* agreement with brute force to half the distance between two candidates.
#
# <details><summary>Hint</summary>
#
# Name $\beta + \lambda \operatorname{sign}(\beta)$ first, since it occurs twice.
# </details>


# %% tags=["nbval-check-output"]
def csr_threshold(z: Tensor, beta: Tensor, lam: Tensor | float, gamma: Tensor | float) -> Tensor:
    """Proximal operator of λ‖·‖₁ + λγ‖· − β‖₁; any shape -> same shape."""
    ### BEGIN SOLUTION
    target = beta + lam * beta.sign()
    return soft_threshold(soft_threshold(z - target, lam * gamma) + target, lam)
    ### END SOLUTION


csr_threshold = check("csr.threshold", csr_threshold)
error = (csr_threshold(zs, betas, lam, gamma) - found).abs().max()
assert error < 0.0026
print("2000 entries agree with brute force, to half a step of the candidates")

# %% [markdown]
# *Question.* The proof in §D sets $\beta = 0$ aside: there, it says, Ψ "boils down to the $\ell_1$
# norm". Which factor gets lost in this sentence, and does the formula of Proposition 1 know about
# it?
#
# <details><summary>Answer</summary>
#
# With $\beta = 0$ both terms of Ψ are the same norm, so $\Psi = (1 + \gamma)\lVert \mathbf u
# \rVert_1$, and the prox is $S_{\lambda(1+\gamma)}$, not $S_\lambda$. The formula is right: with
# $\operatorname{sign}(0) = 0$ it reads $S_\lambda(S_{\lambda\gamma}(z))$, and two soft thresholds
# in a row are one with the sum of the thresholds. (With $\pm 1$ for the sign of 0 it gives the
# same.) This matters: most entries of a sparse code have a β near 0, and CSR shrinks these *harder*
# than SC does.
# </details>
#
# **More magnets.** A patch has many relatives. Section 4 will melt them into one guess. One could
# also let each of them pull by itself, at its own place $\beta_l$ with its own strength
# $w_l \ge 0$:
#
# $$ c(u) = \tfrac12 (u - z)^2 + \sum_{l=1}^L w_l\, |u - \beta_l| . $$
#
# CSR is the case $L = 2$, with places 0 and β and strengths λ and λγ. A magnet at 0, where one is
# wanted, is simply one of the $L$.
#
# ### Exercise 4: any number of magnets
#
# Nobody has told you the formula. Derive the minimiser and write it, for each entry by itself, any
# $L$, and exactly: no grid. The magnets come in any order, several may sit in one place, a
# strength may be 0.
#
# *Expect* that it agrees with Proposition 1 on 5 × 2000 entries, to nine digits. The two share
# no line, which makes each a good witness for the other.
#
# <details><summary>Hint</summary>
#
# Draw the staircase of section 2 for three magnets, in order. How high is each stair? What is the
# slope of the penalty between two of them? So which numbers can $u$ be at all, and how many are
# there?
# </details>


# %% tags=["nbval-check-output"]
def many_magnets(z: Tensor, places: Tensor, strengths: Tensor) -> Tensor:
    """Minimiser of ½(u − z)² + Σ w|u − β|; z (...), β and w (L, ...) -> (...)."""
    ### BEGIN SOLUTION
    # Either u is one of the L places, or it is z less one of the L + 1 slopes between them. Of
    # these 2L + 1 numbers as many lie below the minimiser as above it: it is their median.
    places, order = places.sort(dim=0)
    passed = strengths.gather(0, order).cumsum(dim=0)
    slopes = 2 * torch.cat([0 * passed[:1], passed]) - passed[-1]
    return torch.cat([places, z - slopes]).median(dim=0).values
    ### END SOLUTION


many_magnets = check("csr.many_magnets", many_magnets)
zs, betas = zs.double(), betas.double()
for times in (0.1, 0.9, 1.0, 2.0, 5.0):
    both = torch.tensor([[lam], [lam * times]], dtype=torch.float64).expand(2, 2000)
    witness = many_magnets(zs, torch.stack([0 * betas, betas]), both)
    assert torch.allclose(csr_threshold(zs, betas, lam, times), witness, atol=1e-9)
print("two soft thresholds and any number of magnets agree on 5 × 2000 entries, to 1e-9")

# %% [markdown]
# ## 3. What do the three numbers do?
#
# The paper's Fig. 6 draws the prox for several λ, γ and β. Below, each panel changes one of them.
#
# **Predict.** Let the guess be strong: λ = 0.8, γ = 2, β = 2. A code says $z = 0$, so the patch
# alone shows no sign of this atom. Where does the prox put it?


# %%
def from_zero() -> tuple[str, str]:
    end = csr_threshold(torch.tensor([0.0]), torch.tensor([2.0]), 0.8, 2.0).item()
    right = "a" if end == 0 else "c" if abs(end - 2) < 1e-6 else "b"
    return right, f"The prox of 0 is {end:.2f}."


widgets.predict({"a": "at 0, where it is", "b": "between 0 and the guess", "c": "on the guess"},
                from_zero)

# %%
z = torch.linspace(-4, 5, 901)
figure = figures.new_figure(10, 3.3, columns=3)
for axes, name, values in zip(figure.axes, ("λ", "γ", "β"),
                              ((0.3, 0.8, 1.3), (0.0, 0.5, 2.0), (-1.0, 0.0, 2.0)), strict=True):
    for value, style in zip(values, ("-.", "-", "--"), strict=True):
        chosen = {"λ": lam, "γ": gamma, "β": b} | {name: value}
        curve = csr_threshold(z, torch.tensor(chosen["β"]), chosen["λ"], chosen["γ"])
        axes.plot(z, curve, style, label=f"{name} = {value}")
    axes.plot(z, z, color="0.7", linewidth=0.8, zorder=0)
    axes.set(xlabel="z", title=f"other {name}", ylim=(-3.5, 4.5))
    axes.legend(frameon=False)
figure.axes[0].set_ylabel("prox")
figure

# %% [markdown]
# **What to notice.** λ scales both magnets at once. γ = 0 is soft thresholding, and the guess has
# no say. With γ = 2 the guess pulls harder than zero does, and then $z = 0$ itself is not mapped
# to 0: the plateau at 0 has moved to the left of it. No shrinkage does that; CSR can switch *on*
# an atom that the patch alone shows no sign of. And for β = 0 there is one wide plateau.
#
# Use the sliders to find out when the middle piece, between the plateaus, lies on the grey line
# $u = z$.


# %%
def draw(lam: float, gamma: float, beta: float) -> figures.Figure:
    """The prox, with its two plateaus and plain soft thresholding for comparison."""
    figure = figures.new_figure(5, 3.6)
    axes, z = figure.axes[0], torch.linspace(-4, 5, 901)
    axes.plot(z, z, color="0.7", linewidth=0.8)
    axes.plot(z, soft_threshold(z, lam), ":", color="black", label="soft threshold λ")
    axes.plot(z, csr_threshold(z, torch.tensor(beta), lam, gamma), linewidth=2, label="CSR")
    for magnet, name in ((0.0, "0"), (beta, "β")):
        axes.axhline(magnet, color=figures.COLOURS[1], linewidth=0.8, linestyle="--")
        axes.text(5, magnet, f" {name}", color=figures.COLOURS[1], va="center")
    axes.set(xlabel="z", ylabel="prox", xlim=(-4, 5), ylim=(-4, 5))
    axes.legend(frameon=False, loc="upper left")
    return figure


widgets.explore(draw, lam=[0.8, 0.0, 0.2, 0.4, 1.2], gamma=[0.5, 0.0, 0.25, 1.0, 1.5, 2.0, 4.0],
                beta=[2.0, -3.0, -1.0, 0.0, 0.5, 1.0, 3.0])

# %% [markdown]
# Two entries at once, to see the magnets. Every arrow goes from a code $\mathbf z$ of two atoms to
# its prox, and $\boldsymbol\beta$ is the star.

# %% tags=["nbsphinx-thumbnail"]
star = torch.tensor([2.0, 1.2])
steps = torch.linspace(-1.5, 3.5, 14)
start = torch.cartesian_prod(steps, steps)
end = csr_threshold(start, star, 0.45, 0.8)
figure = figures.new_figure(4.6, 4.6)
axes = figure.axes[0]
for one, other in ((0, 0), star):
    axes.axvline(one, color="0.8", zorder=0)
    axes.axhline(other, color="0.8", zorder=0)
axes.quiver(*start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1,
            color=figures.COLOURS[0], width=0.004)
axes.plot(*end.T, ".", color=figures.COLOURS[0], markersize=5)
axes.plot(*star, "*", color=figures.COLOURS[1], markersize=16)
axes.set(aspect="equal", xlabel="first atom", ylabel="second atom", title="λ = 0.45, γ = 0.8")
figure

# %% [markdown]
# **What to notice.** (The middle piece lies on the grey line for γ = 1: between 0 and β the two
# pulls are then equally strong and cancel.) Codes do not move towards the star as the crow flies.
# Each entry is caught by its own 0 or its own β, so the grey lines fill up first, and their four
# crossings most of all. A code may well take one entry from the guess and set the other to zero.
#
# ## 4. Who makes the guess?
#
# The other patches do. Eq. 16 averages the codes of the step before, weighted by similarity:
#
# $$ \boldsymbol\beta_i = \sum_l \frac{\Sigma_{li}}{\sum_{l'} \Sigma_{l'i}}\, \boldsymbol\alpha_l
#    . $$
#
# It is non-local means (lesson 06), with codes in place of pixels. Σ is that of lesson 08, and its
# column $i$ belongs to patch $i$.
#
# *Toy example.* Two twins and a stranger, one atom, codes $(1.0, 0.6, 4.0)$. With Σ = 1 between
# the twins and 0 to the stranger, $\beta = (0.8, 0.8, 4.0)$. The stranger's guess is the stranger.
#
# ### Exercise 5: β from codes and Σ
#
# Compute β for all patches and atoms.
#
# *Expect* `[0.8, 0.8, 4.0]`.
#
# <details><summary>Hint</summary>
#
# One matrix product, one division. `keepdim=True` keeps the shapes right.
# </details>


# %% tags=["nbval-check-output"]
def average_codes(codes: Tensor, similarity: Tensor) -> Tensor:
    """β, from codes (B, K, N) and Σ (B, N, N) -> (B, K, N)."""
    ### BEGIN SOLUTION
    return (codes @ similarity) / similarity.sum(dim=-2, keepdim=True)
    ### END SOLUTION


average_codes = check("csr.average", average_codes)
twins = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
guesses = average_codes(torch.tensor([[[1.0, 0.6, 4.0]]]), twins)
print([round(value, 3) for value in guesses.flatten().tolist()])

# %% [markdown]
# **Is it a good guess?** Take a piece of a brick wall and code its noisy patches with SC. What we
# wish to have is the code of the *clean* patch, from the same network. How far from that is a
# patch's own code, and how far is β? It depends on how picky Σ is, so we try one κ for all pixels
# from small to large, comparing either the noisy patches or SC's estimates of them (a refresh, in
# lesson 08).

# %%
sc, csr, groupsc = (load_model(f"{name}-gray-25") for name in ("sc", "csr", "groupsc"))


def code(image: Tensor) -> Tensor:
    """SC's codes (1, K, N) of all patches of an image."""
    patches, _ = sc.cut(image)
    codes = sc.first_codes(patches)
    for threshold in sc.thresholds:
        codes = soft_threshold(codes + sc.C.mT @ (patches - sc.D @ codes), threshold)
    return codes


def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(psnr(estimate.clamp(0, 1), clean))


# %%
clean = data.sample("brick")[..., 196:244, 170:218]
noisy = GaussianNoise(sigma)(clean, "brick")
wanted, own = code(clean), code(noisy)
y, mean = csr.cut(noisy)


def distances(codes: Tensor) -> Tensor:
    """From codes (1, K, N) to the codes of the clean patches, (1, N)."""
    return (codes - wanted).norm(dim=1)


kappas, curves, best = torch.linspace(0.4, 5, 24), {}, own
for name, points in (("noisy patches", y), ("SC's estimates", sc.W @ own)):
    betas = [average_codes(own, gaussian_similarity(points, kappa.expand(81))) for kappa in kappas]
    curves[name] = [distances(beta).mean().item() for beta in betas]
    best = min(best, *betas, key=lambda codes: distances(codes).mean())

# %%
figure = figures.new_figure(11, 3, columns=3)
for (name, values), style in zip(curves.items(), ("-", "--"), strict=True):
    figure.axes[0].plot(kappas, values, style, label=f"β, Σ between {name}")
figure.axes[0].axhline(distances(own).mean(), color="0.5", linestyle=":", label="own code")
figure.axes[0].set(xlabel="κ", ylabel="distance to the clean code", ylim=(0, None))
figure.axes[0].legend(frameon=False, fontsize=8)
maps = {"distance of its own code": own, "distance of the best β": best}
for axes, (title, codes) in zip(figure.axes[1:3], maps.items(), strict=True):
    shown = axes.imshow(distances(codes).unflatten(1, (40, 40))[0], vmin=0, vmax=2)
    axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes)
closer = (distances(best) < distances(own)).float().mean()
print(f"the best β is closer than the own code for {closer:.0%} of the patches")
figure

# %% [markdown]
# **What to notice.** A small κ averages over strangers, a large one over nobody: between noisy
# patches, β is then the patch's own code. In between is a guess that is much better than what the
# patch knows of itself, for on the bricks, and along the joints, the noise of many patches cancels.
# In SC's estimates look-alikes are easier to tell from strangers, so there κ may be larger. But
# nobody hands us the best κ: it has to be learned.
#
# **One guess, or a crowd?** Your `many_magnets` can try both. Take the 16 nearest relatives of each
# patch. Either one magnet sits at their weighted mean, as in CSR, or each relative is a magnet, and
# the same strength is shared among them.

# %%
shares, nearest = gaussian_similarity(sc.W @ own, torch.ones(81))[0].topk(16, dim=0)
shares = (shares / shares.sum(dim=0))[:, None]  # (16, 1, N)
crowd = own[0][:, nearest].movedim(1, 0)  # (16, K, N)
ways = {"one magnet at the mean": ((crowd * shares).sum(dim=0, keepdim=True), torch.ones(1, 1, 1)),
        "16 magnets": (crowd, shares)}
pulls = (0.02, 0.1, 0.3, 1.0, 3.0)
figure = figures.new_figure(5, 2.8)
for (name, (places, parts)), style in zip(ways.items(), ("o-", "s--"), strict=True):
    moved = [many_magnets(own[0], places, (pull * parts).expand_as(places)) for pull in pulls]
    figure.axes[0].semilogx(pulls, [distances(codes).mean() for codes in moved], style, label=name)
figure.axes[0].axhline(distances(own).mean(), color="0.5", linestyle=":", label="own code")
figure.axes[0].set(xlabel="strength of all magnets together", ylabel="distance", ylim=(0, None))
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** A moderate strength does more with one magnet: a crowd on both sides of a code
# pulls against itself. Let it pull as hard as it can, and the code ends where half of the crowd's
# strength is on either side of it; with one magnet it ends at their mean.
# Here both are equally far from the clean code. So CSR's average loses nothing, and costs one
# number for each entry instead of 16.
#
# ## 5. The network
#
# Unrolled, CSR is SC with this prox and a β that is computed anew in each step:
#
# $$ \boldsymbol\alpha_i \leftarrow \operatorname{prox}_{\Lambda_k\Psi_i}\bigl[
#    \boldsymbol\alpha_i + \mathbf C^\top(\mathbf y_i - \mathbf D \boldsymbol\alpha_i) \bigr],
#    \qquad \boldsymbol\beta_i \text{ from the } \boldsymbol\alpha \text{ on the right.} $$
#
# The paper publishes neither code for it nor how γ is chosen. Ours learns one γ for each step. They
# start near 0 as long as patches are compared in the noise, where β is little but the patch's own
# code, and at 1 from the first refresh on. All else starts from a trained GroupSC.
#
# ### Exercise 6: one step
#
# Write it with your `average_codes` and `csr_threshold`.
#
# *Expect* that 24 of your steps are the network: the cell after it compares.
#
# <details><summary>Hint</summary>
#
# Two things are made from the old codes: the gradient step, and β. `C.mT` is the transpose.
# </details>


# %%
def csr_step(codes: Tensor, patches: Tensor, C: Tensor, D: Tensor,
             similarity: Tensor, threshold: Tensor, gamma: Tensor) -> Tensor:
    """(B, K, N), (B, m, N), (m, K), (m, K), (B, N, N), (K, 1), one number -> (B, K, N)."""
    ### BEGIN SOLUTION
    beta = average_codes(codes, similarity)
    ahead = codes + C.mT @ (patches - D @ codes)
    return csr_threshold(ahead, beta, threshold, gamma)
    ### END SOLUTION


csr_step = check("csr.step", csr_step)


# %%
def unroll(noisy: Tensor, gammas: Tensor, fixed: Tensor | None = None) -> Tensor:
    """Trained CSR with any γ of each step, and with a fixed Σ where one is given."""
    y, mean = csr.cut(noisy)
    similarity = csr.similarities(y, mean, noisy) if fixed is None else fixed
    codes = csr.first_codes(y)
    for k, (threshold, gamma) in enumerate(zip(csr.thresholds, gammas, strict=True)):
        if fixed is None and k in csr.config.refreshes:
            similarity = csr.refresh(similarity, csr.W @ codes, mean, noisy, k)
        codes = csr_step(codes, y, csr.C, csr.D, similarity, threshold, gamma)
    return csr.average(csr.W @ codes + mean, noisy)


estimate = unroll(noisy, csr.gammas)
assert (estimate - csr(noisy)).abs().max() < 1e-4, "24 of your steps are the network"
print("your 24 steps and the network agree")

# %% [markdown]
# What has training made of γ, Λ and κ? Λ is drawn as in lesson 08: in units of what noise adds to a
# code, $\sigma \lVert \mathbf c_j \rVert$, for atoms of C are not equally long in all networks.

# %%
figure = figures.new_figure(11, 2.8, columns=3)
left, right, last = figure.axes[:3]
left.plot(csr.gammas, "o-", markersize=4)
left.plot(build("csr", {}).gammas, ":", color="0.5", label="before training")
left.set(xlabel="step", ylabel="γ", ylim=(0, None))
for model, name, style in ((sc, "SC", "s--"), (csr, "CSR", "o-")):
    relative = model.thresholds[:, :, 0] / (sigma * model.C.norm(dim=0))
    right.plot(relative.median(dim=1).values, style, markersize=4, label=name)
right.set(xlabel="step", ylabel="median of Λ / (σ‖c‖)", ylim=(0, None))
left.legend(frameon=False)
right.legend(frameon=False)
shown = last.imshow(csr.kappa.abs().unflatten(0, (9, 9)), vmin=0)
last.set(title="κ of the pixels of a patch", xticks=[], yticks=[])
figure.colorbar(shown, ax=last)
figure

# %% [markdown]
# **What to notice.** There are two regimes. Before the first refresh β says little, γ is below
# 0.25, and the network is little else than SC with lower thresholds: an entry has to be 1.8 times
# what noise adds to it, in SC 2.6 times. From then on two pulls share the work: where γ is large, Λ
# is small. The very last step has both, and its γ is almost 8: there most codes end up as what
# their relatives have. κ looks as if patches were compared by a ring of pixels, without the corners
# and the middle. Does that mean anything? Lesson 08 had a test for it: shuffle the 81 weights. And
# is that last γ of use?

# %%
kept, places = csr.kappa.clone(), {"brick": (196, 170), "camera": (100, 200)}
for name, (top, left) in places.items():
    truth = data.sample(name)[..., top : top + 48, left : left + 48]
    seen, shuffled = GaussianNoise(sigma)(truth, name), []
    for _ in range(2):
        csr.kappa.copy_(kept[torch.randperm(81, generator=generator)])
        shuffled.append(f"{decibels(csr(seen), truth):.2f}")
    csr.kappa.copy_(kept)
    print(f"{name}: κ as trained {decibels(csr(seen), truth):.2f} dB, shuffled", *shuffled)
softer = csr.gammas.clone()
softer[-1] = 1
print(f"brick, the last γ set to 1: {decibels(unroll(noisy, softer), clean):.2f} dB")

# %% [markdown]
# **What to notice.** Shuffled, κ does as well, to within a tenth of a decibel. The ring is
# chance, like the dice of lesson 08, and says nothing about how patches should be compared. The
# last γ is no chance: with 1 in its place the wall loses more than a decibel.
#
# ## Results: SC, CSR, GroupSC
#
# CSR is GroupSC's older rival. On the 68 photographs of BSD68, at this σ, the paper reports 28.90
# dB for SC, 29.16 for CSR and 29.20 for GroupSC (Table 7). All networks below see the same noise. A
# positive γ shrinks entries with β = 0 by $\Lambda(1 + \gamma)$, so we have to ask again, as in
# lesson 08, whether SC could do the same by shrinking more: its thresholds are raised by 20 %.

# %%
weights, stronger = sc.state_dict(), build("sc", {})
stronger.load_state_dict(weights | {"raw_thresholds": 1.2 * weights["raw_thresholds"]})
networks = {"SC": sc, "SC, 1.2 Λ": stronger, "CSR": csr, "GroupSC": groupsc}
pieces = {"brick": (172, 166, 72), "astronaut": (150, 20, 32), "coins": (60, 60, 32)}
scores, pictures = {}, {}
print("PSNR in dB     noisy       SC  SC, 1.2 Λ      CSR  GroupSC")
for name, (top, left, height) in pieces.items():
    truth = data.sample(name)[..., top : top + height, left : left + 72]
    seen = GaussianNoise(sigma)(truth, name)
    images = {title: restore(network, seen, tile=48) for title, network in networks.items()}
    pictures[name] = {"clean": truth} | images
    scores[name] = [decibels(image, truth) for image in (seen, *images.values())]
    print("{:10s}{:10.2f}{:9.2f}{:11.2f}{:9.2f}{:9.2f}".format(name, *scores[name]))
assert scores["brick"][3] > scores["brick"][1] + 0.1

# %%
wall = {name: image for name, image in pictures["brick"].items() if name != "SC, 1.2 Λ"}
figures.show_images(wall, clean=wall["clean"], residual=True, width=11)

# %% [markdown]
# **What to notice.** CSR beats SC where patches have relatives, on the wall and on the astronaut,
# and loses a little on the coins, as GroupSC does; higher thresholds lose much there. On the smooth
# wall plain shrinkage would have done as well; on the astronaut it would not. Most of SC's
# scratches are gone. A few faint ones are left: to pull a wrong code back, β needs relatives that
# know better. GroupSC simply asks whether anybody else uses the atom.
#
# In the paper CSR comes close to GroupSC on BSD68: 29.16 dB and 29.20. Our SC has 28.76 and our CSR
# 28.90. It began at the weights of a GroupSC that had 28.92, and needed 1700 more steps to come
# back to them; GroupSC has 29.00 after more of its own. CSR was harder to train. The threshold rule
# of GroupSC is worth something from the first step of training; what similar codes say has to be
# learned with κ and γ.
#
# On **mosaics** CSR did not get that far: in the paper's Table 8 it stands *below* SC. On Kodak24
# SC has 42.34 dB, CSR 42.25 and GroupSC 42.71. Our networks for mosaics have 41.59 (SC) and 41.79
# (GroupSC) on the same photographs, with more in lesson 10; there is no CSR among them.
#
# ## What breaks
#
# **Predict.** Let Σ be the identity: each patch has itself for its only relative. GroupSC with this
# Σ is SC (lesson 08). What about the trained CSR, on the small piece of the wall?


# %%
def alone(noisy=noisy, clean=clean, n=y.shape[2]) -> tuple[str, str]:
    found = decibels(unroll(noisy, csr.gammas, torch.eye(n)[None]), clean)
    plain = decibels(sc(noisy), clean)
    right = "a" if found > plain + 0.3 else "c" if found < plain - 0.3 else "b"
    return right, f"CSR, each patch alone: {found:.2f} dB; SC: {plain:.2f} dB."


widgets.predict({"a": "better than SC by more than 0.3 dB, for its atoms are",
                 "b": "within 0.3 dB of SC, for that is what is left of it",
                 "c": "worse than SC by more than 0.3 dB"}, alone)

# %% [markdown]
# **A patch without relatives.** If Σ is the identity, GroupSC is SC. CSR is not! Then
# $\boldsymbol\beta_i = \boldsymbol\alpha_i$: the guess is the patch's own code, one step old, and
# the second magnet has become a brake. An entry $\alpha > 0$ no longer moves once
# $|\mathbf c_j^\top \mathbf r - \lambda| \le \lambda\gamma$, with $\mathbf r$ the residual,
# where ISTA would go on until $\mathbf c_j^\top \mathbf r = \lambda$.
#
# **Everybody alike.** If Σ is 1 everywhere, β is the mean code of the whole picture: almost zero,
# for what is an edge here is another there. Then the prox is nearly $S_{\lambda(1+\gamma)}$: more
# shrinkage, and nothing else.
#
# **Too much trust.** A large γ makes all look-alikes equal.

# %%
n, first = y.shape[2], csr.similarities(y, mean, noisy)
sums = {"its own Σ, refreshed": None, "Σ of the noisy patches": first,
        "Σ = identity": torch.eye(n)[None], "Σ = 1 everywhere": torch.ones(1, n, n)}
print("PSNR in dB on the small piece of the wall, trained weights")
print(f"  {'SC, for comparison':24s}{decibels(sc(noisy), clean):6.2f}")
for name, fixed in sums.items():
    print(f"  {name:24s}{decibels(unroll(noisy, csr.gammas, fixed), clean):6.2f}")
factors = (0.0, 0.5, 1.0, 2.0, 4.0, 10.0)
panels = {f"γ × {factor:g}": unroll(noisy, factor * csr.gammas) for factor in factors}
figures.show_images(panels, clean=clean, columns=6, width=12)

# %% [markdown]
# **What to notice.** With its own Σ, refreshed, this network beats SC on the small piece. Without
# refreshes it falls far behind, by just as much as with the identity: κ is so large that in the
# noise everybody is alone, and the guess is a brake. With everybody alike it is worse still. And γ
# has to be right: none leaves thresholds that are half of SC's, twice as much takes the last
# scratches and begins to wear off the joint, and ten times as much turns all look-alikes into one.

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("09")

# %% [markdown]
# ## Problems
#
# **1. How far does a wrong guess lead?** Say that the guess is off by ε in some entry, and what the
# gradient step gives is off by δ. Show that the prox is then off by at most the *larger* of the
# two, not by their sum. (How does $u$ move when only $z$ moves, in each of the five cases? And when
# only β moves?)
#
# <details><summary>Solution</summary>
#
# Read the table of section 2 again. In the first, third and fifth case $u$ is $z$ plus a number:
# it moves with $z$, and does not know where β is. On the plateau of β it moves with β, and does not
# know where $z$ is. On the plateau of 0 it does not move. So nowhere does it move with both: on
# each piece of the plane of $(z, \beta)$ the slopes are $(1, 0)$, $(0, 1)$ or $(0, 0)$.
#
# The prox is continuous, across β = 0 too, where the two plateaus become one. Walk in a straight
# line from $(z, \beta)$ to $(z + \delta, \beta + \varepsilon)$. On each piece of the way $u$ moves
# at the speed of $z$, at that of β, or not at all. So altogether by at most
# $\max(|\delta|, |\varepsilon|)$. Nothing blows up from step to step in the prox, however large γ.
#
# ```python
# start, end = 2 * torch.randn(2, 2, 100_000, generator=generator).double()
# for times in (0.3, 1.0, 4.0):
#     moved = [csr_threshold(z, beta, 0.7, times) for z, beta in (start, end)]
#     assert ((moved[1] - moved[0]).abs() <= (end - start).abs().amax(dim=0) + 1e-12).all()
# ```
#
# </details>
#
# **2. What does the last step do?** Its γ is almost 8. Find out which part of the codes it leaves
# exactly on their β, and what the small piece of the wall loses if the last step does nothing but
# $\boldsymbol\alpha \leftarrow \boldsymbol\beta$. How sparse are the codes then? What would you
# call such a step?
#
# <details><summary>Solution</summary>
#
# 99 % of the entries end on their β, and with β in place of the prox the wall has 33.11 dB instead
# of 33.16. Without the step it has 30.78. So the last step of CSR is non-local means (lesson 06),
# of codes. Hardly an entry is 0 in the end, and few were before: an average of codes is not sparse,
# and each step with a large γ puts averages in their place. Codes are sparse, four entries in five
# 0, only where γ is near 0: before the first refresh, and around step 15. An estimate needs no
# more.
#
# ```python
# codes, similarity = csr.first_codes(y), csr.similarities(y, mean, noisy)
# for k, (threshold, gamma) in enumerate(zip(csr.thresholds, csr.gammas, strict=True)):
#     if k in csr.config.refreshes:
#         similarity = csr.refresh(similarity, csr.W @ codes, mean, noisy, k)
#     old, averages = codes, average_codes(codes, similarity)
#     codes = csr_step(old, y, csr.C, csr.D, similarity, threshold, gamma)
# print(f"on β: {((codes - averages).abs() < 1e-6).float().mean():.0%}")
# for name, last in (("as trained", codes), ("β", averages), ("left out", old)):
#     found = decibels(csr.average(csr.W @ last + mean, noisy), clean)
#     print(f"{name}: {found:.2f} dB, {(last != 0).float().mean():.0%} of the entries not 0")
# ```
#
# </details>

# %% [markdown]
# ## Further reading
#
# - W. Dong, L. Zhang, G. Shi, *Centralized sparse representation for image restoration*, ICCV 2011:
#   CSR, with similarities between estimates of the patches.
# - W. Dong, L. Zhang, G. Shi, X. Li, *Nonlocally centralized sparse representation for image
#   restoration*, IEEE Trans. Image Processing, 2013: NCSR, the better known successor.
#
# **Next:** [10 · Other inverse problems](10_inverse_problems.ipynb) keeps these networks and
# changes the question: missing colours, unknown noise, JPEG.
