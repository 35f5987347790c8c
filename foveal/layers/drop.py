"""Stochastic depth."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training (Huang et al., ECCV 2016, arXiv:1603.09382).

    Args:
        drop_prob: Probability of dropping a sample's branch, in [0, 1). Kept ones are scaled by 1 / (1 - drop_prob).

    Shape:
        any [N, …] to the same.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with the rows of dropped samples set to zero; ``x`` itself in eval mode."""
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        """Show the probability when the module is printed."""
        return f"drop_prob={self.drop_prob:.3f}"
