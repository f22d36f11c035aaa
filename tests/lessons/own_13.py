"""Answers to lesson 13 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def dncnn(layers, width, channels):
    class Stack(nn.Sequential):
        """A kind of one's own."""

    sizes = [channels] + (layers - 1) * [width] + [channels]
    modules = []
    for number, inputs in enumerate(sizes[:-1]):
        outputs = sizes[number + 1]
        first, last = number == 0, number == layers - 1
        modules += [nn.Conv2d(inputs, outputs, kernel_size=3, padding="same", bias=first)]
        modules += [] if first or last else [nn.BatchNorm2d(outputs, eps=1e-4)]
        modules += [] if last else [nn.ReLU(inplace=not first)]
    return Stack(*modules)


def fold(kernel, gamma, beta, mean, variance, eps):
    # What the norm makes of 0 and of 1 says all about a line.
    at_zero, at_one = (
        nn.functional.batch_norm(x.expand(1, -1), mean, variance, gamma, beta, eps=eps)[0]
        for x in (0 * mean, 0 * mean + 1)
    )
    return torch.einsum("oihw,o->oihw", kernel, at_one - at_zero), at_zero


def field_side(kernels, strides, dilations):
    # From the end: so many values of the layer before are needed.
    needed = 1
    for k, s, d in reversed(list(zip(kernels, strides, dilations, strict=True))):
        needed = (needed - 1) * s + d * (k - 1) + 1
    return needed


def by_strips(network, noisy, rows, halo):
    result = torch.empty_like(noisy)
    height = noisy.shape[2]
    top = 0
    while top < height:
        above, end = min(halo, top), min(top + rows, height)
        seen = noisy[:, :, top - above : min(end + halo, height)]
        result[:, :, top:end] = network(seen)[:, :, above : above + end - top]
        top = end
    return result
