"""Answers to lesson 10 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def masked_step(codes, patches, known, C, D, threshold):
    missing = known == 0
    residual = (patches - torch.einsum("mk,bkn->bmn", D, codes)).masked_fill(missing, 0)
    return soft_threshold(codes + torch.einsum("mk,bmn->bkn", C, residual), threshold)


def measured_mean(patches, known, channels):
    batch, length, number = patches.shape
    total = torch.zeros(batch, 1, number)
    for c in range(channels):
        rows = slice(c * length // channels, (c + 1) * length // channels)
        values = patches[:, rows].sum(dim=1, keepdim=True)
        total = total + values / known[:, rows].sum(dim=1, keepdim=True)
    return total / channels


def noise_level(patches):
    return torch.linalg.eigvalsh(torch.cov(patches)).min().clamp(min=0).sqrt()


def between_levels(sigma, levels, rows):
    made = []
    for one in sigma:
        shares = torch.zeros_like(levels)
        if one <= levels[0]:
            shares[0] = 1
        elif one >= levels[-1]:
            shares[-1] = 1
        else:
            after = int((levels < one).sum())
            gap = levels[after] - levels[after - 1]
            shares[after], shares[after - 1] = one - levels[after - 1], levels[after] - one
            shares = shares / gap
        made.append(shares @ rows)
    return torch.stack(made)


def restore_luma(rgb, restore_gray):
    y, cb, cr = rgb_to_ycbcr(rgb).split(1, dim=1)
    return ycbcr_to_rgb(torch.cat((restore_gray(y), cb, cr), dim=1))
