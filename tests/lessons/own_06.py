"""Answers to lesson 06 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def squared_distances(x, y):
    return torch.cdist(x.T, y.T, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def distance_spread(distances, m, sigma):
    # E u⁴ − (E u²)² = 3v² − v² for a pixel's noise, and v·(2a)² for its product with the picture.
    v = sigma**2 + sigma**2
    square = m * (3 * v**2 - v**2)
    product = 4 * distances * v
    return torch.sqrt(square + product)


def block_matching(patches, grid, window, count):
    distances = squared_distances(patches, patches)
    distances[torch.arange(len(distances)), torch.arange(len(distances))] = 0
    distances[~similarity.window_mask(grid, window)] = math.inf
    nearest, numbers = distances.sort(dim=0)
    return numbers[:count], nearest[:count]


def nlm_weights(distances, mask, sigma, h):
    logits = -torch.relu(distances - 2 * sigma**2) / h**2
    return torch.softmax(logits.masked_fill(~mask, -math.inf), dim=0)


def filter_stacks(stacks, threshold):
    across, along = bases(stacks)
    codes = torch.einsum("ma,rmn,nb->rab", across, stacks, along)
    keep = codes.abs() > threshold
    keep[:, 0, 0] = True
    estimates = torch.einsum("ma,rab,nb->rmn", across, codes * keep, along)
    return estimates, 1 / (keep & (codes != 0)).sum(dim=(1, 2)).clamp_min(1)


def wiener_stacks(stacks, pilots, sigma):
    across, along = bases(stacks)
    seen, hoped = (across.T @ each @ along for each in (stacks, pilots))
    gains = hoped**2 / (hoped**2 + sigma**2)
    return across @ (gains * seen) @ along.T, 1 / (gains**2).flatten(1).sum(dim=1)
