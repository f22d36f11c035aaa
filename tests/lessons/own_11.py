"""Answers to lesson 11 as a student may write them; they use the lesson's own names."""
# ruff: noqa: F821


def nlm_as_attention(patches, h):
    scaled = patches / h
    half = -(scaled**2).sum(dim=2, keepdim=True)
    return F.pad(scaled, (0, 1), value=1.0), torch.cat((2 * scaled, half), dim=2)


def non_local(features, theta, psi, g, carried):
    logits = torch.einsum("bil,bjl->bij", theta(features), psi(features)) + carried
    grown = torch.exp(logits - logits.amax(dim=2, keepdim=True))
    found = torch.bmm(grown, g(features)) / grown.sum(dim=2, keepdim=True)
    return found + features, logits


def takes_means(operate):
    for _ in range(3):
        q, k, v = torch.rand(1, 8, 5) - 0.5, torch.randn(1, 8, 5), torch.randn(1, 8, 8)
        w = torch.stack([operate(q, k, one[None, :, None])[0, :, 0] for one in torch.eye(8)], dim=1)
        same = torch.full((1, 8, 5), 0.3)
        good = [
            float((operate(q, k, v)[0] - w @ v[0]).abs().max()) < 1e-4,
            float(w.min()) > -1e-4,
            float((w.sum(dim=1) - 1).abs().max()) < 1e-4,
            float((operate(q, same, v) - v.mean(dim=1, keepdim=True)).abs().max()) < 1e-4,
        ]
        if not all(good):
            return False
    return True


def carry_on(earlier, own):
    return torch.softmax(earlier.log() + own.log(), dim=-1)


def count_parameters(states, width, embedding, own_norms):
    def layer(side, inputs, outputs):
        return side * side * inputs * outputs + outputs

    total = layer(3, 1, width) + layer(3, width, 1) + 2 * layer(3, width, width)
    total += 2 * layer(1, width, embedding) + layer(1, width, width)
    channels = 1 + width
    for _ in range(states if own_norms else 1):
        channels += 3 * width
    return total + 2 * channels
