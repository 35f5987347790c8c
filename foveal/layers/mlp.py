"""The transformer's two-layer perceptron."""

import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between, with the keys ``fc1`` and ``fc2`` of most vision transformers.

    Args:
        dim: C.
        hidden_dim: Width between the layers.

    Shape:
        [..., C] to the same.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))
