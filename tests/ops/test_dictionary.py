"""Dictionaries: what they promise about their columns, and that learning makes patches sparse."""

import importlib.util

import numpy as np
import pytest
import torch
from scipy.fft import dct, dctn
from skimage import data as photographs

from lessons_lib.ops.dictionary import (
    coherence,
    cosine_basis,
    dct_dictionary,
    learn_dictionary,
    normalize_atoms,
    random_dictionary,
    spectral_norm,
)
from lessons_lib.ops.patches import centre, extract_patches
from lessons_lib.solvers import fista

needs_spams = pytest.mark.skipif(
    importlib.util.find_spec("spams") is None, reason="SPAMS is not installed"
)


@pytest.fixture(scope="module")
def patches() -> torch.Tensor:
    """2,000 centred 6 x 6 patches of a photograph."""
    photo = torch.from_numpy(photographs.camera()[100:420, 100:420]) / 255
    columns = centre(extract_patches(photo[None, None], 6))[0][0]
    return columns[:, np.random.RandomState(0).permutation(columns.shape[1])[:2000]]


def test_square_dct_is_scipys_orthonormal_dct():
    image = np.random.RandomState(0).rand(8, 8)
    ours = dct_dictionary(8, 64).double().T @ torch.from_numpy(image).flatten()
    assert np.allclose(ours.reshape(8, 8), dctn(image, norm="ortho"), atol=1e-5)


def test_cosines_of_a_line_are_scipys_orthonormal_dct():
    line = np.random.RandomState(0).rand(16)
    assert np.allclose(cosine_basis(16).numpy().T @ line, dct(line, norm="ortho"), atol=1e-5)
    assert cosine_basis(1).tolist() == [[1.0]]


@pytest.mark.parametrize(("size", "atoms", "channels"), [(8, 256, 1), (9, 100, 1), (7, 81, 3)])
def test_overcomplete_dct_spans_patches_with_unit_atoms(size: int, atoms: int, channels: int):
    dictionary = dct_dictionary(size, atoms, channels)
    assert dictionary.shape == (channels * size**2, channels * atoms)
    assert torch.allclose(dictionary.norm(dim=0), torch.ones(channels * atoms), atol=1e-5)
    assert torch.linalg.matrix_rank(dictionary) == channels * size**2
    # All but the constant atom of each plane vary around zero.
    assert dictionary[:, 1:atoms].sum(dim=0).abs().max() < 1e-4


@pytest.mark.parametrize("atoms", [63, 60, 49])
def test_impossible_numbers_of_cosines_are_refused(atoms: int):
    with pytest.raises(ValueError, match="perfect square"):
        dct_dictionary(8, atoms)


def test_coherence_of_known_dictionaries():
    eye = torch.eye(4)
    assert coherence(eye) == 0
    assert coherence(torch.cat([eye, -2 * eye[:, :1]], dim=1)) == pytest.approx(1)
    assert coherence(torch.cat([eye, torch.ones(4, 1)], dim=1)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two atoms"):
        coherence(eye[:, :1])


def test_coherence_is_at_least_welchs_bound():
    dictionary = random_dictionary(10, 40, torch.Generator().manual_seed(0))
    assert torch.allclose(dictionary.norm(dim=0), torch.ones(40))
    assert ((40 - 10) / (10 * 39)) ** 0.5 <= coherence(dictionary) <= 1


def test_spectral_norm_is_the_largest_singular_value():
    matrix = torch.randn(12, 30, dtype=torch.float64)
    assert spectral_norm(matrix) == pytest.approx(np.linalg.svd(matrix)[1].max())


def test_an_atom_of_zeros_stays_zero():
    assert torch.equal(normalize_atoms(torch.zeros(3, 2)), torch.zeros(3, 2))


def objective(patches: torch.Tensor, dictionary: torch.Tensor, lam: float) -> float:
    return fista(patches, dictionary, lam, tolerance=1e-3, max_iterations=200)[1].objective[-1]


@pytest.mark.slow
@needs_spams
def test_both_backends_learn_equally_good_dictionaries(patches):
    lam = 0.1
    learned = {
        name: learn_dictionary(patches, 64, lam, iterations=40, backend=name)
        for name in ("spams", "pytorch")
    }
    scores = {name: objective(patches, found, lam) for name, found in learned.items()}
    fixed = objective(patches, dct_dictionary(6, 64), lam)
    assert scores["pytorch"] == pytest.approx(scores["spams"], rel=0.03)
    assert max(scores.values()) < 0.97 * fixed
    for found in learned.values():
        assert torch.allclose(found.norm(dim=0), torch.ones(64), atol=1e-5)


def test_learning_repeats_exactly(patches):
    first, second = (learn_dictionary(patches, 40, 0.1, iterations=5, seed=3) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, learn_dictionary(patches, 40, 0.1, iterations=5, seed=4))


def test_learning_from_too_little_is_refused(patches):
    with pytest.raises(ValueError, match="cannot start 64 atoms"):
        learn_dictionary(patches[:, :30], 64, 0.1)
    with pytest.raises(ValueError, match="backend is"):
        learn_dictionary(patches, 8, 0.1, backend="matlab")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="25 atoms cannot start a dictionary of 64"):
        learn_dictionary(patches, 64, 0.1, initial=torch.rand(36, 25))
    with pytest.raises(ValueError, match="positive, not 0"):
        learn_dictionary(patches, 8, 0.0)


@pytest.mark.parametrize("backend", ["pytorch", pytest.param("spams", marks=needs_spams)])
def test_learning_survives_flat_patches(backend):
    start = dct_dictionary(6, 64)
    learned = learn_dictionary(
        torch.zeros(36, 600), 64, 0.1, iterations=2, initial=start, backend=backend
    )
    assert torch.isfinite(learned).all()


@needs_spams
def test_learning_leaves_pytorch_its_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        learn_dictionary(torch.rand(16, 64), 16, 0.1, iterations=1, backend="spams")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
