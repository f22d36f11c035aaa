# %% [markdown]
# # 13 · DnCNN: convolutions and nothing else
#
# The networks of lessons 05, 08 and 09 are algorithms: a dictionary, a sparse code, groups of
# similar patches. DnCNN has none of them. It is a stack of 17 small convolutions that was shown
# many noisy pictures, and every paper of this course compares itself with it. This lesson builds
# it, asks what its ideas are worth, and finds out what such a stack can see, and what it cannot.
#
# **You will be able to**
#
# - build DnCNN from its depth and width, and account for each of its 556,096 parameters;
# - say why it predicts the noise and not the picture, and show it by training;
# - fold batch normalisation into convolutions, and avoid its best-known trap;
# - compute which pixels an estimate depends on, and measure which of them count;
# - judge DnCNN against SC and GroupSC in decibels, parameters, multiplications and seconds.
#
# **Before you start**
#
# - **Time:** 90 minutes; all cells together run in a minute on a laptop.
# - **You need:** lessons 05 (SC) and 08 (GroupSC); convolutions and ReLUs as in any introduction to
#   neural networks.
# - **Source:** Zhang, Zuo, Chen, Meng, Zhang, *Beyond a Gaussian denoiser: residual learning of
#   deep CNN for image denoising*, 2017; G. Boracchi, *Convolutional neural networks for image
#   restoration*, lecture, 2022; Luo, Li, Urtasun, Zemel, *Understanding the effective receptive
#   field in deep convolutional neural networks*, 2016.

# %%
# %matplotlib inline
from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor, nn

from lessons_lib import checkpoints, classical, data, metrics
from lessons_lib.degradations import GaussianNoise
from lessons_lib.evaluation.scores import read_score
from lessons_lib.exercises import check
from lessons_lib.models import restore
from lessons_lib.models.convolutional import start_convolutions
from lessons_lib.models.macs import macs_per_pixel
from lessons_lib.viz import figures, widgets

# %%
torch.set_grad_enabled(False)  # switched on where something is trained
sigma = 25 / 255
model = checkpoints.load_model("dncnn-gray-25")
clean = data.sample("camera")[..., 130:258, 200:328]
noisy = GaussianNoise(sigma)(clean, "camera")


def decibels(estimate: Tensor, clean: Tensor) -> float:
    """PSNR of one image, clipped to [0, 1]."""
    return float(metrics.psnr(estimate.clamp(0, 1), clean))


print(f"{sum(one.numel() for one in model.parameters()):,} parameters, "
      f"trained for σ = {255 * model.sigma:.0f}/255")

# %% [markdown]
# ## 1. What is left without a dictionary?
#
# Layers. With $K_l$ for a convolution of 3 × 3 pixels, DnCNN estimates the noise by
#
# $$ R(\mathbf y) = K_{17}\, \rho\bigl( \operatorname{norm}( K_{16} \cdots
#    \rho(\operatorname{norm}( K_2\, \rho(K_1 \mathbf y + \mathbf b)))) \bigr), \qquad
#    \hat{\mathbf x} = \mathbf y - R(\mathbf y) , $$
#
# where $\rho(z) = \max(z, 0)$ is the ReLU. Layers are padded with zeros, so the size stays.
#
# | layer | from | to | biases | then |
# |:--|--:|--:|:--|:--|
# | first | image | 64 channels | yes | ReLU |
# | 15 in the middle | 64 | 64 | no | norm, ReLU |
# | last | 64 | image | no | |
#
# The norm is batch normalisation, which section 3 takes apart. It has two numbers γ and β for each
# channel to be trained.
#
# *Toy example.* Three layers of two channels for a gray image have $9 \cdot 1 \cdot 2 + 9 \cdot 2
# \cdot 2 + 9 \cdot 2 \cdot 1 = 72$ weights in their kernels, 2 biases, 2 γ and 2 β: 78 parameters.
#
# ### Exercise 1: the stack
#
# Build the layers of $R$, for any number of layers, width, and channels of the image, as one flat
# `nn.Sequential`. The norm's constant is to be ε = 1e-4, as in the authors' PyTorch code:
# `nn.BatchNorm2d(width, eps=1e-4)`.
#
# *Expect* 72 and 78 for the toy. For 17 layers of 64 channels expect the two numbers that papers
# give for DnCNN: some count the kernels, 554,112, and write 554k, others all that is trained,
# 556,096, and write 556k.
#
# <details><summary>Hint</summary>
#
# Begin with a list of the first convolution and its ReLU, add three modules for each layer in the
# middle, and write `nn.Sequential(*modules)` at the end. `padding=1` keeps the size.
# </details>


# %% tags=["nbval-check-output"]
def dncnn(layers: int, width: int, channels: int) -> nn.Sequential:
    """R: images (B, channels, H, W) -> noise (B, channels, H, W), `layers` convolutions."""
    ### BEGIN SOLUTION
    modules = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    for _ in range(layers - 2):
        modules.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
        modules.append(nn.BatchNorm2d(width, eps=1e-4))
        modules.append(nn.ReLU())
    modules.append(nn.Conv2d(width, channels, 3, padding=1, bias=False))
    return nn.Sequential(*modules)
    ### END SOLUTION


dncnn = check("dncnn.layers", dncnn)
for layers, width in ((3, 2), (17, 64)):
    sizes = [one.shape for one in dncnn(layers, width, 1).parameters()]
    kernels = sum(size.numel() for size in sizes if len(size) == 4)
    print(f"{layers} layers of {width} channels: {kernels:,} weights in kernels, "
          f"{sum(size.numel() for size in sizes):,} parameters")

# %%
# Your stack takes the trained weights: the library's model has its modules under other names.
modules = [model.first, nn.ReLU()]
for convolution, norm in zip(model.middle, model.norms, strict=True):
    modules += [convolution, norm, nn.ReLU()]
net = dncnn(17, 64, 1)
net.load_state_dict(nn.Sequential(*modules, model.last).state_dict())
net.eval()
noise = net(noisy)
assert (noisy - noise - model(noisy)).abs().max() < 1e-5, "your stack is the network"
shown = {"clean": clean, f"noisy y, {decibels(noisy, clean):.2f} dB": noisy,
         f"estimate y − R(y), {decibels(noisy - noise, clean):.2f} dB": noisy - noise,
         "R(y), about mid-grey": 0.5 + noise}
figures.show_images(shown, width=11)

# %% [markdown]
# **What to notice.** What the network takes away looks like noise, with hardly an outline of the
# man in it. There is no patch, no mean to be subtracted, no threshold that somebody has chosen.
# Everything that tells noise from picture has been put into kernels by training.
#
# ## 2. Why predict the noise?
#
# A network with the same layers could give the picture itself: $\hat{\mathbf x} = P(\mathbf y)$. If
# $P$ can be learned, so can $R = \mathbf y - P$. Does it make a difference which?
#
# *Toy example.* Two pixels, 0.5 and 0.7, with noise 0.1 and −0.1. A network that still gives 0 has
# the mean squared error $(0.5^2 + 0.7^2)/2 = 0.37$ if that is to be the picture, and 0.01 if it is
# to be the noise.
#
# Now take a fresh stack of six layers with 16 channels, and multiply its last layer by a number
# near 0. Once it is to give the picture, once the noise.


# %%
def estimate(net: nn.Module, noisy: Tensor, residual: bool) -> Tensor:
    """x̂ from a network that gives the noise, or else the picture."""
    return noisy - net(noisy) if residual else net(noisy)


fresh = dncnn(6, 16, 1).eval()
start_convolutions(fresh)  # random kernels with which ReLUs keep the size of what runs through
start = fresh[-1].weight.clone()
print(f"noisy picture: {decibels(noisy, clean):.2f} dB")
for factor in (1, 0.1, 0.01, 0):
    fresh[-1].weight.copy_(factor * start)
    plain, residual = (decibels(estimate(fresh, noisy, way), clean) for way in (False, True))
    print(f"last layer × {factor:<5g}  picture {plain:6.2f} dB   noise {residual:6.2f} dB")

# %% [markdown]
# **What to notice.** Near zero, the residual network *is* the identity: it starts with the noisy
# picture and has nothing to unlearn. The plain one starts with a black picture, and has to carry
# every grey level through six layers before it can think of noise. Only the last layer has to be
# small: with random kernels as large as in the others, R is far louder than the noise, and training
# has to calm it first. All networks below begin with a last layer × 0.01.
#
# That is the start. What about the goal? A *short experiment*: the same small stack is trained four
# times, with and without the residual, with and without norms, from the same weights, on the same
# 150 batches of 16 crops from five photographs (the man with the camera is not among them). The
# loss is the paper's,
#
# $$ \ell = \frac{1}{2N} \sum_{i=1}^{N} \lVert \hat{\mathbf x}_i - \mathbf x_i \rVert^2, \qquad
#    \text{which with the residual is} \qquad
#    \frac{1}{2N} \sum_{i=1}^{N} \lVert R(\mathbf y_i) - (\mathbf y_i - \mathbf x_i) \rVert^2 . $$

# %%
photographs = [data.sample(name) for name in ("astronaut", "chelsea", "coffee", "rocket", "coins")]


def crops(generator: torch.Generator, count: int = 16, size: int = 32) -> tuple[Tensor, Tensor]:
    """Clean crops (count, 1, size, size) and the same with noise."""
    cut = []
    for which in torch.randint(len(photographs), (count,), generator=generator):
        image = photographs[which]
        top, left = (int(torch.randint(side - size + 1, (), generator=generator))
                     for side in image.shape[-2:])
        cut.append(image[0, :, top : top + size, left : left + size])
    x = torch.stack(cut)
    return x, x + sigma * torch.randn(x.shape, generator=generator)


# %%
def train(net: nn.Module, residual: bool, steps: int = 150) -> list[float]:
    """Adam on fresh crops; returns the loss of each step."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.train().parameters(), lr=5e-3)
    losses = []
    for _ in range(steps):
        x, y = crops(generator)
        with torch.enable_grad():
            loss = (estimate(net, y, residual) - x).square().sum() / (2 * len(x))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    return losses


# %%
ways = {"noise, with norms": (True, True), "noise, no norms": (True, False),
        "picture, with norms": (False, True), "picture, no norms": (False, False)}
reached, curves = {}, {}
for name, (residual, normed) in ways.items():
    torch.manual_seed(0)
    stack = dncnn(6, 16, 1)
    stack[-1].weight.mul_(0.01)
    kept = [layer for layer in stack if normed or not isinstance(layer, nn.BatchNorm2d)]
    small, begun = nn.Sequential(*kept), perf_counter()
    curves[name] = torch.tensor(train(small, residual))
    seconds = perf_counter() - begun
    reached[name] = decibels(estimate(small, noisy, residual), clean)
    print(f"{name:20s} {seconds:4.1f} s, {reached[name]:.1f} dB on the man with the camera")
print(f"shipped weights: {decibels(model(noisy), clean):.1f} dB")
assert min(list(reached.values())[:2]) > max(list(reached.values())[2:]) + 0.5

# %%
figure = figures.new_figure(7, 3.2)
for (name, losses), style in zip(curves.items(), ("-", "--", "-", "--"), strict=True):
    figure.axes[0].semilogy(losses.unfold(0, 10, 1).mean(dim=1), style, label=name)
figure.axes[0].set(xlabel="training step", ylabel="loss, mean of 10 steps")
figure.axes[0].legend(frameon=False)
figure

# %% [markdown]
# **What to notice.** What gives the noise starts with a far smaller loss, as the toy said, and
# stays ahead: after 150 steps it is more than 2 dB better, on a picture that it has never seen.
# With or without norms its loss is the same. Where the picture has to be given, norms are of no
# use: the curve jumps. A possible reason is that a norm takes away the mean of a channel, and grey
# levels are means. (The lecture names what norms are for: deep networks, higher learning rates, any
# start. Six layers are hardly deep; problem 3 has steps that need them.) None of the four comes
# near the shipped weights: they have 17 layers, and were trained on eighty times as many pixels.
#
# ## 3. What does the norm do?
#
# Batch normalisation looks at one channel $z$ of all pictures in a batch, makes its mean 0 and its
# variance 1, and then gives it back a scale γ and a shift β that are trained:
#
# $$ \operatorname{norm}(z) = \gamma\, \frac{z - \mu}{\sqrt{v + \varepsilon}} + \beta . $$
#
# In training, μ and $v$ are those of the batch. After training there may be no batch, so running
# averages of all the μ and $v$ that were seen take their place, and no longer change.
#
# **Predict.** Multiply the kernels of the four middle layers of a fresh small network by 10. How
# much larger does $R(\mathbf y)$ become, in training mode?


# %%
def tenfold(noisy=noisy) -> tuple[str, str]:
    torch.manual_seed(0)
    stack = dncnn(6, 16, 1)
    before = stack(noisy).std()
    for layer in stack[2:-1]:
        if isinstance(layer, nn.Conv2d):
            layer.weight.mul_(10)
    ratio = float(stack(noisy).std() / before)
    right = "a" if ratio < 2 else "b" if ratio < 20 else "c"
    return right, f"It becomes {ratio:.2f} times as large."


widgets.predict({"a": "hardly at all", "b": "10 times", "c": "10⁴ times"}, tenfold)

# %% [markdown]
# So the size of a kernel before a norm does not matter, which makes training robust: no layer can
# blow up what comes after it, or starve it. Without norms the four factors would multiply.
#
# After training, μ, $v$, γ and β are fixed numbers, and the norm is a straight line. A convolution
# is linear, too. So why compute both?
#
# *Toy example.* A channel $z = 2x$, with μ = 3, $v$ = 4, ε = 0, γ = 1, β = ½. The norm makes of it
# $(2x - 3)/2 + \frac12 = x - 1$: kernel 1, bias −1, and no norm.
#
# ### Exercise 2: folding
#
# Given the kernel of a convolution without biases and the numbers of the norm behind it, return the
# kernel and the bias of one convolution that does the work of both.
#
# *Expect* that all fifteen norms of DnCNN can be folded away, with a difference below 1e-5.
#
# <details><summary>Hint</summary>
#
# Write $\operatorname{norm}(Kx)$ as something times $Kx$ plus something. The kernel has the shape
# (outputs, inputs, 3, 3), and each output has its own factor: `factor[:, None, None, None]`.
# </details>


# %% tags=["nbval-check-output"]
def fold(kernel: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor,
         eps: float) -> tuple[Tensor, Tensor]:
    """(O, I, 3, 3) and four times (O,) -> kernel (O, I, 3, 3), bias (O,)."""
    ### BEGIN SOLUTION
    gain = gamma / (variance + eps).sqrt()
    return kernel * gain[:, None, None, None], beta - gain * mean
    ### END SOLUTION


fold = check("dncnn.fold", fold)
folded = []
for layer in net:
    if isinstance(layer, nn.BatchNorm2d):
        kernel, bias = fold(folded[-1].weight, layer.weight, layer.bias,
                            layer.running_mean, layer.running_var, layer.eps)
        folded[-1] = nn.Conv2d(64, 64, 3, padding=1)
        folded[-1].weight.copy_(kernel)
        folded[-1].bias.copy_(bias)
    else:
        folded.append(layer)
folded = nn.Sequential(*folded)
assert (folded(noisy) - net(noisy)).abs().max() < 1e-5
print(f"{len(net)} modules became {len(folded)}, with "
      f"{sum(one.numel() for one in folded.parameters()):,} parameters")

# %% [markdown]
# **What to notice.** For the price of no accuracy, a third of the modules is gone. Networks are
# published in this form. The file of DnCNN's authors holds 555,137 numbers: yours, and a bias of
# the last layer.
#
# **The trap.** The same module computes two different things, depending on a switch. In training
# mode the statistics are those of whatever batch is there, so an estimate depends on *which other
# pictures* it is computed with. Forget `eval()`, and this happens:

# %%
truth = data.sample("coins")[..., 60:124, 60:124]
coins = GaussianNoise(sigma)(truth, "coins")
sky = GaussianNoise(sigma)(data.sample("camera")[..., 20:84, 20:84], "sky")
print(f"eval mode                                {decibels(coins - net(coins), truth):.2f} dB")
for pieces in (0, 1, 3, 15):
    batch = torch.cat([coins, *pieces * [sky]])
    other = dncnn(17, 64, 1).train()  # a copy: training mode changes the running averages
    other.load_state_dict(net.state_dict())
    print(f"training mode, with {pieces:2d} pieces of sky     "
          f"{decibels((batch - other(batch))[:1], truth):.2f} dB")

# %% [markdown]
# **What to notice.** The same weights, the same coins, other estimates. In training mode the coins
# are judged by what else is in the batch. Alone they come out as in eval mode; the more sky, the
# worse, by up to a quarter of a decibel. Nothing warns: no error, no strange number. If a network
# is better in a large batch than alone, or better on some days than on others, look for a missing
# `eval()` first.
#
# ## 4. What can an estimate see?
#
# SC sees patches of 9 × 9 pixels and what overlaps them, GroupSC a window of patches. And a stack
# of convolutions? A value after one layer of 3 × 3 depends on 3 pixels in a row; after two layers
# on 5, since the outer values of three neighbours see one pixel more on either side. What an
# estimate can depend on is its *receptive field*.
#
# Other networks have kernels of other sizes; kernels with *strides*, which are applied to every
# second place only, so that neighbours in the next layer are two pixels apart; and *dilated*
# kernels, whose entries are several pixels apart.
#
# ### Exercise 3: the receptive field
#
# Find the formula for all of them. Given are, for each layer, the side $k$ of its kernel, its
# stride $s$ and its dilation $d$, the first layer first. Return how many pixels in a row one value
# after the last layer depends on, from the first to the last that takes part.
#
# *Expect* 35 for DnCNN; 62 for a kernel of 2 with stride 2 and then fifteen of 3 (the FFDNet of
# the next lesson); 33 for seven kernels of 3 with dilations 1, 2, 3, 4, 3, 2, 1. The check compares
# your formula with what gradients reach, in random stacks.
#
# <details><summary>Hint</summary>
#
# Suppose that you know the field of a value before a layer. The layer combines $k$ such values. How
# far apart are two neighbouring entries of its kernel, counted in pixels of the image? So by how
# much does the layer extend the field?
# </details>


# %% tags=["nbval-check-output"]
def field_side(kernels: list[int], strides: list[int], dilations: list[int]) -> int:
    """Pixels in a row that one value after the last layer depends on."""
    ### BEGIN SOLUTION
    side, step = 1, 1  # step: pixels between two neighbouring values before the layer
    for kernel, stride, dilation in zip(kernels, strides, dilations, strict=True):
        side += (kernel - 1) * dilation * step
        step *= stride
    return side
    ### END SOLUTION


field_side = check("dncnn.field_side", field_side)
print("DnCNN:", field_side(17 * [3], 17 * [1], 17 * [1]))
print("shuffled by 2:", field_side([2] + 15 * [3], [2] + 15 * [1], 16 * [1]))
print("dilated:", field_side(7 * [3], 7 * [1], [1, 2, 3, 4, 3, 2, 1]))

# %% [markdown]
# 35 × 35 pixels are fewer than most methods of its time looked at. At σ = 25/255, the paper counts
# (its Table I) 49 × 49 for BM3D, 61 × 61 for TNRD, 361 × 361 for WNNM, and only for EPLL about as
# many, 36 × 36.
#
# **But do all pixels count alike?** Change a pixel a little, and see how much the value changes:
# the slope $\partial v / \partial y_p$. From the value back to pixel $p$ lead many paths, one step
# of −1, 0 or 1 pixels in each layer, and to the middle lead far more of them than to the rim.
#
# Say that all weights are independent, with mean 0 and one variance, as in a fresh network. Then
# products of weights along different paths are uncorrelated, and the mean of the *squared* slope is
# proportional to the number of paths. (ReLUs shut half of them, everywhere alike.) So it is spread
# as the end of a random walk of $n$ steps, each of which is −1, 0 or 1 with the same probability:
# variance $\frac23$ a step,
#
# $$ \text{width after } n \text{ layers: } \sqrt{\tfrac23 n}, \qquad
#    \text{and for many steps it is a Gaussian} $$
#
# (the central limit theorem; Luo and others, 2016). The field grows like $n$, what counts like
# $\sqrt n$. *Toy example.* After one layer all nine pixels count alike, with the width $\sqrt{2/3}
# = 0.82$. After 17 layers it is 3.4, in a field of 35.
#
# Let us measure, in fresh networks and in the trained one: squared slopes of values in the middle
# of 41 × 41 noisy pixels, each of another channel, after 1, 5, 10 and all 17 layers of $R$, before
# the ReLU.

# %%
whole = GaussianNoise(sigma)(data.sample("camera"), "camera")
corners = [(60 + 97 * n % 400, 40 + 53 * n % 430) for n in range(12)]
pieces = torch.cat([whole[..., top : top + 41, left : left + 41] for top, left in corners])
offsets = torch.arange(41) - 20.0


def slopes(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """∂v/∂y (B, H, W) of the value v in the middle, in one channel for each image."""
    with torch.enable_grad():
        seen = images.clone().requires_grad_()
        values = network(seen)[..., images.shape[-2] // 2, images.shape[-1] // 2]
        chosen = torch.arange(len(values)) % values.shape[1]
        return torch.autograd.grad(values.gather(1, chosen[:, None]).sum(), seen)[0][:, 0]


def share(found: Tensor) -> Tensor:
    """Squared slopes of each pixel, as a share of all of an image's; their mean over the images."""
    energy = found.square().flatten(1)
    return (energy / energy.sum(dim=1, keepdim=True)).mean(dim=0).view(41, 41)


# %%
def width(energy: Tensor) -> float:
    """Root mean square distance from the middle, along a row or a column."""
    return float(((energy.sum(dim=0) + energy.sum(dim=1)) / 2 @ offsets.square()).sqrt())


def side_of(energy: Tensor, part: float = 0.95) -> int:
    """Side of the smallest square about the middle that holds this part of the squares."""
    sums = [float(energy[20 - n : 21 + n, 20 - n : 21 + n].sum()) for n in range(21)]
    return 2 * next(n for n in range(21) if sums[n] >= part) + 1


begun = dncnn(17, 64, 1).eval()
start_convolutions(begun)
depths, fields = (1, 3, 5, 10, 13, 16, 17), {"before training": {}, "after training": {}}
for name, network in zip(fields, (begun, net), strict=True):
    for depth in depths:  # up to the norm of the layer; the first and the last have none
        fields[name][depth] = share(slopes(network[: 3 * depth - 2], pieces))

# %% tags=["nbsphinx-thumbnail"]
figure = figures.new_figure(9, 4.6, rows=2, columns=4)
for row, (name, measured) in enumerate(fields.items()):
    for column, depth in enumerate((1, 5, 10, 17)):
        axes, energy = figure.axes[4 * row + column], measured[depth]
        axes.imshow(energy.sqrt(), cmap="inferno", interpolation="nearest")
        half = depth + 0.5
        axes.plot([20 - half, 20 + half, 20 + half, 20 - half, 20 - half],
                  [20 - half, 20 - half, 20 + half, 20 + half, 20 - half], color="w", linewidth=0.8)
        axes.set(xticks=[], yticks=[], xlabel=f"95 % in {side_of(energy)} × {side_of(energy)}")
        axes.set_title(f"{depth} layer{'s' if depth > 1 else ''}, {name}", fontsize=9)
figure

# %%
figure = figures.new_figure(9, 3, columns=2)
left, right = figure.axes
for (name, measured), style in zip(fields.items(), ("o-", "s--"), strict=True):
    left.plot(depths[:-1], [width(measured[depth]) for depth in depths[:-1]], style, label=name)
left.plot(range(1, 17), [(2 * n / 3) ** 0.5 for n in range(1, 17)], "k:", label="√(2n/3)")
left.set(xlabel="layers n", ylabel="width in pixels", ylim=(0, None))
for (name, measured), style in zip(fields.items(), ("-", "--"), strict=True):
    right.semilogy(offsets, measured[16].sum(dim=0), style, label=f"{name}, 16 layers")
gauss = torch.exp(-(offsets**2) / (2 * 2 * 16 / 3))
right.semilogy(offsets, gauss / gauss.sum(), "k:", label="Gaussian of width √(2·16/3)")
right.set(xlabel="pixels from the middle", ylabel="share of a column", ylim=(1e-6, 1))
for axes in (left, right):
    axes.legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# **What to notice.** White squares are the theoretical fields. Before training, theory is met to
# the letter: widths follow $\sqrt{2n/3}$, and the profile is a parabola on a logarithmic scale, a
# Gaussian. After 17 layers 95 % lie within 15 × 15 of 35 × 35 pixels. Training has changed the
# shape: no longer a Gaussian, but a peak on a plateau that reaches the rim, as in the weights that
# DnCNN's authors published. What is nearest counts for more than by chance, what is a few pixels
# away for less, and what is beyond ten pixels for more again: chance hardly reaches that far.
#
# And the last picture? After 17 layers nearly all lies in one pixel. Has the network gone blind?
# No: $R$ gives the *noise* of this pixel. Noise is the pixel less an average of what is around it,
# so the pixel itself has a slope near 1, and the many others small ones. The average is
# $\hat{\mathbf x} = \mathbf y - R(\mathbf y)$. So let us see the slopes of $\hat x$, at four places
# of the photograph: red pixels are added, blue ones subtracted.

# %%
places = {"sky": (60, 330), "lawn": (242, 440), "tripod": (428, 358), "camera": (185, 290)}
photo = data.sample("camera")


def draw(spots: dict, photo=photo, whole=whole) -> figures.Figure:
    figure = figures.new_figure(2.3 * len(spots), 4.7, rows=2, columns=len(spots))
    for n, (name, (row, column)) in enumerate(spots.items()):
        part = (..., slice(row - 20, row + 21), slice(column - 20, column + 21))
        found, (above, below) = slopes(model, whole[part])[0], figure.axes[n :: len(spots)]
        above.imshow(photo[part][0, 0], cmap="gray", vmin=0, vmax=1)
        above.plot(20, 20, "+", color=figures.COLOURS[1])
        below.imshow(found, cmap="RdBu_r", vmin=-found.abs().max(), vmax=found.abs().max())
        above.set_title(name, fontsize=9)
        above.set(xticks=[], yticks=[])
        below.set(xticks=[], yticks=[], xlabel=f"middle {found[20, 20]:.2f}, sum {found.sum():.2f}")
    return figure


draw(places)

# %% [markdown]
# **What to notice.** The slopes sum up to nearly 1: each estimate is an average, with weights of
# its own. In the sky, where all pixels are alike, a hundred and more of them take part, each a
# little, the middle one here even with a minus sign. On the lawn the average follows its stripes,
# on the leg of the tripod and under the camera it runs *along* the edge and not across it.
# Non-local means (lesson 06) chooses its weights by comparing patches; here ReLUs choose them, by
# switching paths on and off.
#
# Take a tour of the photograph.


# %%
def tour(row: int, column: int, draw=draw) -> figures.Figure:
    return draw({f"row {row}, column {column}": (row, column)})


widgets.explore(tour, row=[300, *range(40, 480, 40)], column=[250, *range(40, 480, 40)])

# %% [markdown]
# ## 5. Why does nobody blend tiles?
#
# A photograph of 24 million pixels has $64 \cdot 24 \cdot 10^6$ numbers after each layer, 6 GB. It
# has to be cut. The models of patches cut tiles that overlap, and blend what they say of the same
# pixel, since each says something else. A convolutional network says the same of a pixel wherever
# it stands, as long as its field is there. So: cut strips, give each some rows more above and
# below, its *halo*, and throw away what comes out there.
#
# ### Exercise 4: strips with a halo
#
# Write it. At the border of the picture the halo ends, too: there the network pads with zeros, as
# it does with the whole picture.
#
# *Expect* the whole picture's estimate, to the last digits, once the halo is wide enough. How wide
# is that? 17 rows, says the theoretical field. But section 4 found that not all of them count.
#
# <details><summary>Hint</summary>
#
# A strip's first row stands at another place in what the network returns than in the picture. By
# how many rows, for the first strip, and for all others?
# </details>


# %%
def by_strips(network: Callable[[Tensor], Tensor], noisy: Tensor, rows: int, halo: int) -> Tensor:
    """The estimate of an image (B, C, H, W), `rows` rows at a time."""
    ### BEGIN SOLUTION
    height, strips = noisy.shape[-2], []
    for top in range(0, height, rows):
        first, last = max(0, top - halo), min(height, top + rows + halo)
        part = network(noisy[..., first:last, :])
        strips.append(part[..., top - first : top - first + rows, :])
    return torch.cat(strips, dim=-2)
    ### END SOLUTION


by_strips = check("dncnn.by_strips", by_strips)
at_once, halos = model(noisy), (0, 1, 2, 4, 6, 8, 10, 12, 14, 15, 16, 17)
cut = {halo: by_strips(model, noisy, 32, halo) for halo in halos}
worst = {halo: 255 * float((cut[halo] - at_once).abs().max()) for halo in halos}
for halo in (0, 2, 4, 8, 16, 17):
    lost = decibels(at_once, clean) - decibels(cut[halo], clean)
    print(f"halo {halo:2d}: worst difference {worst[halo]:6.2f} grey levels, {lost:.3f} dB lost")
assert worst[17] < 1e-2

# %%
left, right = (figure := figures.new_figure(8, 3, columns=2)).axes
left.semilogy(halos[:-1], list(worst.values())[:-1], "o-")
left.axvline(17, color="0.6", linestyle=":", label="17: no difference")
left.set(xlabel="rows of halo", ylabel="worst difference, grey levels")
left.legend(frameon=False)
right.imshow(0.5 + 8 * (cut[0] - at_once)[0, 0], cmap="gray", vmin=0, vmax=1)
right.set_title("halo 0: 8 × (in strips − at once)", fontsize=9)
right.set(xticks=[], yticks=[])
figure

# %% [markdown]
# **What to notice.** With 17 rows nothing is left of the seams, with 16 there is a trace, less
# than a tenth of a grey level: the theoretical field is what it says. But the error falls fast, and
# 4 rows cost no more than two hundredths of a decibel: the effective field. The library takes 17,
# since exact is easier to test than good enough. Nothing is blended: every pixel is computed once,
# as it would have been in the whole picture.
#
# ## Results
#
# Against SC (lesson 05), CSR (09) and GroupSC (08), and two classical methods, on three pieces of
# photographs. All see the same noise. Multiplications are counted for each pixel of a crop of
# 48 × 48, seconds here and now.

# %%
methods = {"DCT, lesson 01": lambda y: classical.METHODS["dct"].function(y, sigma),
           "NLM, lesson 06": lambda y: classical.METHODS["nlm"].function(y, sigma)}
networks = {"SC": "sc-gray-25", "CSR": "csr-gray-25", "GroupSC": "groupsc-gray-25"}
networks = {name: checkpoints.load_model(file) for name, file in networks.items()}
networks["DnCNN"] = model.fold()
methods |= {name: lambda y, network=network: restore(network, y)
            for name, network in networks.items()}
spots = {"camera": (140, 220), "coffee": (150, 200), "astronaut": (20, 180)}
truths = {name: data.sample(name)[..., top : top + 64, left : left + 64]
          for name, (top, left) in spots.items()}
inputs = {name: GaussianNoise(sigma)(truth, name) for name, truth in truths.items()}
results = {}

# %%
print(f"{'PSNR in dB':16s}" + "".join(f"{name:>10s}" for name in truths)
      + "      mean  seconds  parameters   MAC/pixel")
for name, method in methods.items():
    begun = perf_counter()
    estimates = [method(y) for y in inputs.values()]
    seconds = (perf_counter() - begun) / len(inputs)
    found = [decibels(one, truth) for one, truth in zip(estimates, truths.values(), strict=True)]
    results[name] = sum(found) / len(found)
    line = f"{name:16s}" + "".join(f"{one:10.2f}" for one in [*found, results[name]])
    line += f"{seconds:9.2f}"
    if name in networks:
        count = sum(one.numel() for one in networks[name].parameters())
        line += f"{count:12,}{round(macs_per_pixel(networks[name])):12,}"
    print(line)
assert results["DnCNN"] > results["SC"] + 0.2

# %% [markdown]
# **What to notice.** DnCNN is 0.4 dB ahead of SC, with eight times as many parameters and fewer
# multiplications. It is ahead of CSR and GroupSC, too, if by less. Seconds depend on the machine;
# on ours it took about half of SC's, and CSR and GroupSC more than ten times its own. These
# weights are from an hour of training on one core. What a long training makes of the same network,
# the next table shows.
#
# **On par, with 8 times fewer parameters?** So says GroupSC's paper of itself and DnCNN. Scores on
# BSD68, in print and measured: GroupSC's with our weights, DnCNN's with those that its authors
# published.

# %%
print("BSD68        GroupSC          DnCNN        DnCNN − GroupSC")
print("σ × 255   print     ours   print  measured   print  measured")
for level in (15, 25, 50):
    pair = [read_score(data.shipped("scores") / f"BSD68-{level}-{file}.json")
            for file in (f"groupsc-gray-{level}", f"dncnn-gray-{level}@cszn")]
    (ours, group), (theirs, stack) = ((score.psnr, score.paper.psnr) for score in pair)
    print(f"{level:7d}{group:8.2f}{ours:9.2f}{stack:8.2f}{theirs:10.2f}"
          f"{stack - group:+8.2f}{theirs - ours:+10.2f}")
cost = [macs_per_pixel(networks[name]) for name in ("GroupSC", "DnCNN")]
print(f"parameters: {556_096 / 68_434:.1f} times as many in DnCNN; "
      f"multiplications: {cost[0] / cost[1]:.0f} times as many in GroupSC")

# %% [markdown]
# **What to notice.** In print the two are on par indeed, 0.02 to 0.06 dB apart, with 8.1 times
# fewer parameters. Our GroupSC is 0.2 to 0.3 dB behind; it was trained for a fifteenth of the
# paper's steps, on a hundredth of its pixels.
#
# But what is a parameter? DnCNN uses each kernel weight once for each pixel: that is why the table
# above has 554,112 in its last column. SC has an eighth of the weights, and uses those of C and D
# 24 times. GroupSC compares patches besides, and multiplies 14 times as often as DnCNN. Parameters
# say what must be learned and stored; they do not say what an estimate costs. Few parameters are
# what GroupSC gains by knowing beforehand what the network has to find out.
#
# ## What breaks
#
# **Another σ.** Nothing tells the network how strong the noise is. Lesson 08 had a remedy for SC
# and GroupSC: multiply the picture, so that its noise is what the network was trained for, and
# divide the estimate again. `restore(model, noisy, sigma)` does so.
#
# **Predict.** The noise is *weaker* than in training, σ = 15/255. What should one do with DnCNN?


# %%
def weaker(clean=clean) -> tuple[str, str]:
    seen = GaussianNoise(15 / 255)(clean, "camera")
    plain, scaled = decibels(model(seen), clean), decibels(restore(model, seen, 15 / 255), clean)
    right = "b" if plain > scaled + 0.1 else "a" if scaled > plain + 0.1 else "c"
    return right, f"As it is {plain:.2f} dB, multiplied by 25/15 {scaled:.2f} dB."


widgets.predict({"a": "multiply the picture", "b": "give it the picture as it is",
                 "c": "it makes no difference"}, weaker)

# %%
print("σ × 255   noisy   as it is   multiplied   SC, multiplied   clean × 25/σ")
shown = {"clean": clean}
for level in (5, 15, 25, 50):
    seen = GaussianNoise(level / 255)(clean, "camera")
    images = [seen, model(seen), restore(model, seen, level / 255),
              restore(networks["SC"], seen, level / 255)]
    print("{:7d}{:9.2f}{:11.2f}{:13.2f}{:17.2f}{:15.1f}".format(
        level, *(decibels(image, clean) for image in images), float(clean.max()) * 25 / level))
    if level in (15, 50):
        shown |= {f"σ = {level}, as it is": images[1], f"σ = {level}, multiplied": images[2]}
figures.show_images(shown, clean=clean, columns=5, width=13)

# %% [markdown]
# **What to notice.** *Louder noise.* As it is, the network takes away as much noise as it has
# learned to, and leaves the rest. Multiplied, the picture is darker and the noise as in training:
# this works, and DnCNN is a little ahead of SC.
#
# *Weaker noise.* Left as it is, the picture loses details that the network takes for noise: at σ =
# 5 it comes out 4 dB worse than it went in. Multiplied, it gets brighter: its whites reach 1.7 for
# σ = 15, and 5 for σ = 5. In training no pixel was brighter than white and its noise. At 15 that
# goes well, at 5 the picture loses by it; and nothing ensures even that: the weights of DnCNN's
# authors have 30.1 dB at σ = 15 as it is, and 25.7 multiplied, for where the picture is bright they
# leave the noise in. Biases and norms tie the network to one σ *and* to one range of grey levels.
# Lesson 14 has two remedies: tell the network how loud the noise is, or take the biases away.
#
# **Look-alikes far away.** DnCNN compares no patches. GroupSC was made for a wall of bricks.
#
# **Predict.** The wall of lesson 08, at σ = 25/255: who is ahead, and by how much?

# %%
wall = data.sample("brick")[..., 172:244, 166:238]


def bricks(wall=wall, networks=networks) -> tuple[str, str]:
    seen = GaussianNoise(sigma)(wall, "brick")
    one, other = (decibels(restore(networks[name], seen, **options), wall)
                  for name, options in (("GroupSC", {"tile": 48}), ("DnCNN", {})))
    right = "a" if one > other + 0.1 else "c" if other > one + 0.1 else "b"
    return right, f"GroupSC {one:.2f} dB, DnCNN {other:.2f} dB."


widgets.predict({"a": "GroupSC, by more than 0.1 dB", "b": "neither, to 0.1 dB",
                 "c": "DnCNN, by more than 0.1 dB"}, bricks)

# %%
grass = data.sample("grass")[..., 100:172, 100:172]
scenes = {"brick": wall, "grass": grass}
for period in (24, 16):
    scenes[f"grass, {period} pixels repeated"] = (
        grass[..., :period, :period].repeat(1, 1, 5, 5)[..., :72, :72])
print(f"{'PSNR in dB':28s}   noisy     NLM      SC GroupSC   DnCNN   DnCNN − GroupSC")
for name, truth in scenes.items():
    seen = GaussianNoise(sigma)(truth, name)
    images = [seen, methods["NLM, lesson 06"](seen), restore(networks["SC"], seen, tile=48),
              restore(networks["GroupSC"], seen, tile=48), restore(networks["DnCNN"], seen)]
    found = [decibels(image, truth) for image in images]
    print(f"{name:28s}" + "".join(f"{one:8.2f}" for one in found) + f"{found[4] - found[3]:+18.2f}")
figures.show_images({"clean": truth, "noisy": images[0], "GroupSC": images[3], "DnCNN": images[4]},
                    clean=truth, width=10)

# %% [markdown]
# **What to notice.** On the wall GroupSC is 0.2 dB ahead. That is no law: after an hour of another
# optimizer (Adam; the shipped weights had Muon, problem 3) DnCNN was a decibel behind, and its
# authors' weights are 0.7 dB ahead. No two bricks are equal, and to know well what bricks look like
# is worth more than to have seen these. On the grass GroupSC and DnCNN are nearly even. But where
# the same piece of grass comes again and again, to the last digit, GroupSC sees each blade many
# times, and DnCNN does not notice (nor with those weights, which are 0.3 and 0.7 dB behind): with
# its 35 pixels it would see two periods of 16, but it has never met such a thing in training. So it
# is not texture that needs groups, but pictures that repeat themselves exactly. In print this shows
# on Urban100, houses full of equal windows: at σ = 25/255 GroupSC has 30.05 dB there and DnCNN
# 29.91 (its paper's Table 10; NLRN's prints 29.97).

# %% [markdown]
# ## Three questions
#
# Each has one right answer, and every answer gets a reply. You may choose again.

# %%
widgets.quiz("13")

# %% [markdown]
# ## Problems
#
# **1. As far as BM3D.** How many layers of 3 × 3 would DnCNN need to see 49 × 49 pixels, and how
# many parameters would that be? Find a stack that sees as much with no more than 10 layers of
# 3 × 3 and without strides. What does it cost, and what could be bad about it? (Draw which pixels a
# value depends on if two layers with dilation 2 follow each other.)
#
# <details><summary>Solution</summary>
#
# $2n + 1 = 49$ gives 24 layers and 815,040 parameters. With dilations 1, 2, 3, 4, 4, 4, 3, 2, 1
# nine layers are enough, for they add up to 24. That is 260,160 parameters, a third, and a third of
# the multiplications. But fewer layers also have fewer ReLUs. And two layers with dilation 2 and
# nothing else between them see every second pixel only, a grid with holes. Other dilations before
# and after fill the holes.
#
# ```python
# dilations = [1, 2, 3, 4, 4, 4, 3, 2, 1]
# for steps in (24 * [1], dilations):
#     ones = len(steps) * [1]
#     count = sum(one.numel() for one in dncnn(len(steps), 64, 1).parameters())
#     print(len(steps), "layers see", field_side(len(steps) * [3], ones, steps), "pixels;", count)
# holes = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=2, dilation=2) for _ in range(2)))
# print((slopes(holes, torch.rand(1, 1, 11, 11))[0] != 0).int())
# ```
#
# </details>
#
# **2. Without ReLUs.** Take all ReLUs out of the folded network. It is one convolution then, with
# one kernel of 35 × 35 and a bias. Find the kernel without multiplying any kernels, and show that
# it does the same. What is the bias? Why does the centre of a picture suffice for the comparison?
#
# <details><summary>Solution</summary>
#
# The slopes of one value *are* the kernel: they no longer depend on the picture. The bias is what
# comes out of a black picture. Near the border, zeros are put in at each of the 17 layers, and the
# biases of the layers before are missing there: only from 17 pixels on does the network do what the
# one kernel does. As a denoiser it is worthless: its kernels were trained to be used with ReLUs.
#
# ```python
# line = nn.Sequential(*(layer for layer in folded if not isinstance(layer, nn.ReLU))).double()
# kernel = slopes(line, torch.rand(1, 1, 71, 71).double())[:, None, 18:53, 18:53]
# bias = line(torch.zeros(1, 1, 71, 71).double())[0, 0, 35, 35]
# expected = line(noisy.double())[..., 17:-17, 17:-17]
# found = nn.functional.conv2d(noisy.double(), kernel) + bias
# assert (found - expected).abs().max() < 1e-6 * expected.abs().max()
# folded.float()
# ```
#
# </details>
#
# **3. Long steps.** A gradient is large in the few directions in which features vary most, and Adam
# follows them. *Muon* takes the running mean of the gradients of a kernel, seen as a matrix from 9
# times 16 values to 16, and leaves out how large it is in each direction: of its singular value
# decomposition $U S V^\top$ it keeps $U V^\top$. Train the small stack of section 2 like that, its
# inner kernels at least, with steps of 0.03 and of 0.3 times $U V^\top$, with norms and without.
# Before you run it: what should norms do to a step that is too long?
#
# <details><summary>Solution</summary>
#
# With norms it hardly matters how long the steps are: the size of a kernel counts for nothing
# (section 3), only its direction turns, and a kernel that has become large turns more slowly.
# Either way it is half a decibel ahead of Adam. Without norms the kernels grow, and all outputs
# with them, until a layer has none above 0: at 0.3 all its ReLUs are shut, the network gives 0, and
# the noisy picture comes back. The shipped weights were trained by this optimizer
# (`docs/training.md`); the paper's stochastic gradient and Adam need hours for the same.
#
# ```python
# def by_directions(net, rate, steps=150):
#     generator = torch.Generator().manual_seed(1)
#     inner = [layer.weight for layer in net[2:-1] if isinstance(layer, nn.Conv2d)]
#     rest = [one for one in net.train().parameters() if all(one is not other for other in inner)]
#     adam = torch.optim.Adam(rest, lr=5e-3)
#     means = [torch.zeros_like(weight) for weight in inner]
#     for _ in range(steps):
#         x, y = crops(generator)
#         with torch.enable_grad():
#             net.zero_grad()
#             ((estimate(net, y, True) - x).square().sum() / (2 * len(x))).backward()
#         adam.step()
#         for weight, mean in zip(inner, means, strict=True):
#             mean.lerp_(weight.grad, 0.1)
#             left, _, right = torch.linalg.svd(mean.flatten(1), full_matrices=False)
#             weight -= rate * (left @ right).view_as(weight)
#     return net.eval()
#
# for normed in (True, False):
#     for rate in (0.03, 0.3):
#         torch.manual_seed(0)
#         stack = dncnn(6, 16, 1)
#         stack[-1].weight.mul_(0.01)
#         kept = [one for one in stack if normed or not isinstance(one, nn.BatchNorm2d)]
#         quick = by_directions(nn.Sequential(*kept), rate)
#         score = decibels(estimate(quick, noisy, True), clean)
#         print(f"{'norms' if normed else 'none':6s} steps {rate:4.2f}  {score:.2f} dB")
#         assert not normed or score > reached["noise, with norms"] + 0.2
# ```
#
# </details>
#
# ## Further reading
#
# - S. Ioffe, C. Szegedy, *Batch normalization: accelerating deep network training by reducing
#   internal covariate shift*, 2015.
# - K. Jordan and others, *Muon: an optimizer for hidden layers in neural networks*, 2024.
# - K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, CVPR 2016:
#   residuals between layers, where DnCNN has a single one around all of them.
# - K. Zhang, W. Zuo, S. Gu, L. Zhang, *Learning deep CNN denoiser prior for image restoration*,
#   CVPR 2017: dilated layers in place of many.
#
# **Next:** [14 · Losses and noise maps](14_losses_and_noise_maps.ipynb) asks what a network should
# be rewarded for, and tells it how strong the noise is.
