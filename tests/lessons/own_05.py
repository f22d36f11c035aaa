"""Answers to lesson 05 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def centre(patches):
    mean = patches.sum(dim=1, keepdim=True) / patches.shape[1]
    return patches - mean, mean


def weighted_loss(estimate, clean, counts):
    squares = ((estimate - clean) * counts / counts.amax()) ** 2
    return squares.sum(dim=(1, 2, 3)).mean()


def denoise(noisy, C, D, W, thresholds, size):
    patches = pieces.extract_patches(noisy, size)
    centred, mean = centre(patches)
    codes = torch.zeros(noisy.shape[0], D.shape[1], patches.shape[2])
    for k in range(len(thresholds)):
        residual = centred - torch.matmul(D, codes)
        codes = soft_threshold(codes + torch.matmul(C.T, residual), thresholds[k])
    return pieces.overlap_average(torch.matmul(W, codes) + mean, noisy.shape[2:], size)


def training_step(model, optimizer, clean, counts, sigma, generator):
    noise = torch.empty_like(clean).normal_(0, sigma, generator=generator)
    loss = weighted_loss(model(clean + noise), clean, counts)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def at_level(model, noisy, sigma, trained):
    # Around the mean of each picture, which SC does not see anyway.
    grey = noisy.mean(dim=(1, 2, 3), keepdim=True)
    quieter = grey + (noisy - grey) * (trained / sigma)
    return grey + (model(quieter) - grey) / (trained / sigma)
