"""Answers to lesson 09 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def cost(u, z, beta, lam, gamma):
    return (u - z).square() / 2 + lam * (u.abs() + gamma * (u - beta).abs())


def brute_force(z, beta, lam, gamma, candidates):
    found = []
    for one, magnet in zip(z, beta, strict=True):
        found.append(candidates[cost(candidates, one, magnet, lam, gamma).argmin()])
    return torch.stack(found)


def csr_threshold(z, beta, lam, gamma):
    # For β ≥ 0; the other half is its mirror image.
    mirrored = beta.sign() + (beta == 0)
    z, beta = z * mirrored, beta * mirrored
    inner = soft_threshold(z - beta - lam, lam * gamma) + beta + lam
    return mirrored * soft_threshold(inner, lam)


def many_magnets(z, places, strengths):
    # Climb the staircase: start below all magnets, and pass one after the other.
    order = places.argsort(dim=0)
    slope = -strengths.sum(dim=0)
    u = z - slope
    for place, strength in zip(places.gather(0, order), strengths.gather(0, order), strict=True):
        slope = slope + 2 * strength
        u = torch.where(u > place, torch.maximum(place, z - slope), u)
    return u


def average_codes(codes, similarity):
    weights = similarity / similarity.sum(dim=1, keepdim=True)
    return torch.einsum("bkn,bnm->bkm", codes, weights)


def csr_step(codes, patches, C, D, similarity, threshold, gamma):
    residual = patches - torch.einsum("mk,bkn->bmn", D, codes)
    moved = codes + torch.einsum("mk,bmn->bkn", C, residual)
    return csr_threshold(moved, average_codes(codes, similarity), threshold, gamma)
