"""Answers to lesson 04 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def layer(codes, patches, C, D, thresholds):
    moved = codes - C.T @ (D @ codes - patches)
    return torch.sign(moved) * torch.relu(moved.abs() - thresholds)


def unroll(patches, C, D, thresholds):
    codes, all_codes = torch.zeros(D.shape[1], patches.shape[1]), []
    for k in range(len(C)):
        codes = layer(codes, patches, C[k], D, thresholds[k])
        all_codes += [codes]
    return torch.stack(all_codes, dim=0)


def descend(loss, C, thresholds, rate):
    weights = [C.clone().requires_grad_(), thresholds.clone().requires_grad_()]
    loss(*weights).backward()
    with torch.no_grad():
        return weights[0] - rate * weights[0].grad, (weights[1] - rate * weights[1].grad).clamp(
            min=0
        )


def backward(z, thresholds, slopes):
    # Three cases, and what each threshold's own entries add up to.
    up = torch.where(z > thresholds, slopes, torch.zeros_like(slopes))
    down = torch.where(z < -thresholds, slopes, torch.zeros_like(slopes))
    total = down - up
    while total.ndim > thresholds.ndim:
        total = total.sum(0)
    for axis in range(thresholds.ndim):
        if thresholds.shape[axis] == 1:
            total = total.sum(axis, keepdim=True)
    return up + down, total


def analytic_weights(dictionary):
    # The right inverse, found by a singular value decomposition.
    u, s, v = torch.linalg.svd(dictionary, full_matrices=False)
    keep = s > 1e-5 * s[0]
    directions = u[:, keep] @ (v[keep] / s[keep, None])
    return directions / torch.einsum("mk,mk->k", directions, dictionary)
