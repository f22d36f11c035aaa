"""Answers to lesson 07 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def l12_norm(codes):
    return (codes**2).sum(dim=1).sqrt().sum()


def group_threshold(z, threshold):
    length = (z**2).sum(dim=-1, keepdim=True).sqrt()
    shorter = torch.relu(length - threshold)
    return torch.where(length > 0, z * shorter / length.clamp_min(1e-30), z)


def largest_lambda(patches, dictionary):
    largest = 0.0
    for atom in dictionary.T:
        largest = max(largest, float((atom @ patches).norm()))
    return largest / patches.shape[1] ** 0.5


def group_step(patches, dictionary, codes, lam, step):
    ahead = codes + step * torch.einsum("mk,rmn->rkn", dictionary, patches - dictionary @ codes)
    return group_threshold(ahead, lam * step * patches.shape[2] ** 0.5)


def sparse_group_threshold(z, entry, row):
    left = torch.relu(z.abs() - entry)
    length = left.square().sum(dim=-1, keepdim=True).sqrt()
    share = torch.where(length > row, 1 - row / length.clamp_min(1e-30), torch.zeros_like(length))
    return z.sign() * left * share
