"""In a graph for a file, products with the spectrum are matrix products; elsewhere FFTs: both give the same."""

import pytest
import torch

from foveal.layers.spectrum import filter_spectrum


@pytest.mark.parametrize("size", [(14, 14), (7, 9), (8, 5), (6, 12), (1, 1)])
def test_exported_and_fft_agree(size):
    class Filter(torch.nn.Module):
        def forward(self, x, weight):
            return filter_spectrum(x, weight)

    x = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = torch.randn(3, size[0], size[1] // 2 + 1, 2, dtype=torch.float64)
    program = torch.export.export(Filter(), (x, weight), strict=False)
    assert "fft" not in str(program.graph)
    torch.testing.assert_close(program.module()(x, weight), filter_spectrum(x, weight), rtol=0, atol=1e-12)
