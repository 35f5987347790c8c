import pytest
import torch

from foveal.heads.samplers import PseudoSampler, RandomSampler

INDS = torch.tensor([0] * 50 + [-1] * 10 + [1, 2, 3] * 10)


def test_pseudo_keeps_everything():
    assert torch.equal(PseudoSampler().select(INDS), INDS)


@pytest.mark.parametrize(
    ("options", "positives", "negatives"),
    [
        ({"num": 20, "pos_fraction": 0.5}, 10, 10),
        ({"num": 100, "pos_fraction": 0.5}, 30, 50),
        ({"num": 60, "pos_fraction": 0.9}, 30, 30),
        ({"num": 60, "pos_fraction": 0.1, "neg_pos_ub": 3}, 6, 18),
    ],
)
def test_random_counts(options, positives, negatives):
    picked = RandomSampler(**options).select(INDS)
    assert ((picked > 0).sum(), (picked == 0).sum()) == (positives, negatives)
    kept = picked >= 0
    assert torch.equal(picked[kept], INDS[kept])


def test_random_is_fair():
    sampler = RandomSampler(20, 0.5)
    counts = sum((sampler.select(INDS) >= 0).float() for _ in range(2000)) / 2000
    torch.testing.assert_close(counts[:50], torch.full((50,), 0.2), atol=0.05, rtol=0)
    torch.testing.assert_close(counts[60:], torch.full((30,), 1 / 3), atol=0.06, rtol=0)


def test_random_without_positives():
    picked = RandomSampler(8, 0.5).select(torch.zeros(20, dtype=torch.long))
    assert (picked == 0).sum() == 8 and (picked > 0).sum() == 0
