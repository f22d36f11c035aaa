"""Answers to lesson 03 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def update_atoms(patches, dictionary, codes):
    atoms = dictionary.clone()
    for j in range(atoms.shape[1]):
        if not codes[j].any():
            continue
        left = patches - atoms @ codes + atoms[:, j : j + 1] @ codes[j : j + 1]
        atom = left @ codes[j]
        atoms[:, j] = atom / atom.norm()
    return atoms


def best_pair(rest):
    energies, directions = torch.linalg.eigh(rest @ rest.T)
    atom = directions[:, energies.argmax()]
    return atom, rest.T @ atom


def coherence(dictionary):
    unit = F.normalize(dictionary, dim=0)
    gram = (unit.T @ unit).abs()
    return float((gram - torch.diag(gram.diagonal())).max())


def pursue(patch, dictionary, limit, most):
    used = torch.zeros(dictionary.shape[1], dtype=torch.bool)
    code = torch.zeros(dictionary.shape[1])
    for _ in range(most):
        residual = patch - dictionary @ code
        if residual.norm() <= limit:
            break
        match = (dictionary.T @ residual).abs()
        used[match.masked_fill(used, -1).argmax()] = True
        code[used] = torch.linalg.pinv(dictionary[:, used]) @ patch
    return code


def code_noisy(patches, dictionary, sigma, factor):
    length = factor * sigma * patches.shape[0] ** 0.5
    columns = [pursue(patch, dictionary, length, len(patch)) for patch in patches.T]
    return torch.stack(columns, dim=1)


def denoise(noisy, dictionary, size, sigma, factor):
    patches = pieces.extract_patches(noisy, size)[0]
    mean = patches.mean(dim=0, keepdim=True)
    limit = factor * sigma * size
    codes = omp(patches - mean, dictionary, residual_norm=limit)[0]
    return pieces.overlap_average((dictionary @ codes + mean)[None], noisy.shape[2:], size)
