"""Channel attention."""

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Scale every channel by what an MLP makes of the channels' means (Hu et al., CVPR 2018, arXiv:1709.01507).

    Args:
        dim: C; the MLP has a quarter of it inside, rounded to a multiple of 8.

    Shape:
        [N, C, H, W] to the same.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = max(8, (dim // 4 + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(dim, inner, 1)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(inner, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x * self.fc2(self.act(self.fc1(x.mean((-2, -1), keepdim=True)))).sigmoid()
