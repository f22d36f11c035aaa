"""Answers to lesson 02 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def soft_threshold(z, threshold):
    return torch.where(
        z > threshold, z - threshold, torch.where(z < -threshold, z + threshold, 0 * z)
    )


def lipschitz(dictionary):
    return float(torch.linalg.svdvals(dictionary)[0] ** 2)


def ista(patches, dictionary, lam, step, iterations):
    codes = torch.zeros(dictionary.shape[1], patches.shape[1])
    values = torch.zeros(iterations)
    for k in range(iterations):
        gradient = dictionary.T @ (dictionary @ codes - patches)
        codes = soft_threshold(codes - step * gradient, lam * step)
        values[k] = objective(patches, dictionary, codes, lam)
    return codes, values


def kkt_violation(patches, dictionary, codes, lam):
    c = dictionary.T @ (patches - dictionary @ codes)
    worst = []
    for n in range(codes.shape[1]):
        used = codes[:, n] != 0
        apart = (c[:, n] - lam * codes[:, n].sign()).abs()
        apart[~used] = torch.relu(c[~used, n].abs() - lam)
        worst.append(apart.max())
    return torch.stack(worst)


def lower_bound(patches, dictionary, residual, lam):
    out = torch.zeros(patches.shape[1], dtype=patches.dtype)
    for n in range(patches.shape[1]):
        y, r = patches[:, n], residual[:, n]
        energy, worst = r @ r, (dictionary.T @ r).abs().max()
        if energy > 0:
            s = (r @ y) / energy
            if s.abs() * worst > lam:
                s = s.sign() * lam / worst
            out[n] = s * (r @ y) - s**2 * energy / 2
    return out


def fista_step(patches, dictionary, lam, step, codes, ahead, t):
    new_codes = soft_threshold(
        ahead - step * dictionary.T @ (dictionary @ ahead - patches), lam * step
    )
    new_t = 0.5 + 0.5 * (1 + 4 * t * t) ** 0.5
    momentum = (t - 1) / new_t
    return new_codes, (1 + momentum) * new_codes - momentum * codes, new_t


def refit(patches, dictionary, codes, step, iterations):
    zero = codes == 0
    codes = codes.clone()
    for _ in range(iterations):
        codes = codes - step * dictionary.T @ (dictionary @ codes - patches)
        codes[zero] = 0
    return codes
