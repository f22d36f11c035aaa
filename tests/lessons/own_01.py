"""Answers to lesson 01 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def extract(image, size):
    patches = image.unfold(2, size, 1).unfold(3, size, 1)
    batch, channels, rows, columns = patches.shape[:4]
    return patches.permute(0, 1, 4, 5, 2, 3).reshape(batch, channels * size**2, rows * columns)


def average(patches, shape, size):
    height, width = shape
    columns = width - size + 1
    channels = patches.shape[1] // size**2
    apart = patches.reshape(len(patches), channels, size, size, -1, columns)
    total = patches.new_zeros(len(patches), channels, height, width)
    count = torch.zeros_like(total)
    for i in range(size):
        for j in range(size):
            total[..., i : i + height - size + 1, j : j + columns] += apart[:, :, i, j]
            count[..., i : i + height - size + 1, j : j + columns] += 1
    return total / count


def hard_threshold(z, threshold):
    return torch.where(z.abs() <= threshold, torch.zeros_like(z), z)


def dct_denoise(noisy, threshold, size, stride):
    basis = dct_dictionary(size, size * size)
    patches = extract_patches(noisy, size, stride)
    mean = patches.mean(dim=1, keepdim=True)
    codes = torch.einsum("mk,bmn->bkn", basis, patches - mean)
    codes = hard_threshold(codes, threshold)
    return overlap_average(
        torch.einsum("mk,bkn->bmn", basis, codes) + mean, noisy.shape[2:], size, stride
    )


def best_factor(measured, sigma):
    # (1 - g)² P + g² σ² with P + σ² measured: g = P / (P + σ²).
    factors = 1 - sigma**2 / torch.where(measured > 0, measured, torch.ones_like(measured))
    return torch.clip(factors, 0, 1)
