"""Losses between images that look at more than single pixels' differences."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.losses.elementwise import ElementwiseLoss
from foveal.registry import MODELS

# mean and deviation of ImageNet, on which the features were learnt
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# layers of VGG-19 after which each block's first activation stands
_VGG_LAYERS = {"relu1_1": 1, "relu2_1": 6, "relu3_1": 11, "relu4_1": 20, "relu5_1": 29}


@MODELS.register_module()
class FFTLoss(ElementwiseLoss):
    """Absolute difference of the images' spectra, real and imaginary part (Cho et al., ICCV 2021, arXiv:2108.05054).

    Args:
        loss_weight: Factor on the result; 0.1 beside L1 is common.
        reduction: ``none``, ``mean`` or ``sum``.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction, loss_weight)

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the differences, [N, C, H, W // 2 + 1, 2]."""
        spectrum = torch.fft.rfft2(pred) - torch.fft.rfft2(target)
        return torch.view_as_real(spectrum).abs()


@MODELS.register_module()
class EdgeLoss(ElementwiseLoss):
    """Charbonnier loss between the images' Laplacians of a Gaussian pyramid (MPRNet, arXiv:2102.02808).

    Args:
        loss_weight: Factor on the result; 0.05 beside Charbonnier in MPRNet.
        reduction: ``none``, ``mean`` or ``sum``.
        eps: Added to the root's square.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", eps: float = 1e-3) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the losses, [N, C, H, W]."""
        difference = laplacian(pred) - laplacian(target)
        return (difference**2 + self.eps**2).sqrt()


def laplacian(image: Tensor) -> Tensor:
    """Return what an image loses when it is halved and doubled again: [N, C, H, W] to the same."""
    blurred = _blur(image)
    halved = torch.zeros_like(blurred)
    halved[..., ::2, ::2] = blurred[..., ::2, ::2] * 4
    return image - _blur(halved)


def _blur(image: Tensor) -> Tensor:
    """The Gaussian (1, 5, 8, 5, 1) / 20 on both axes, borders repeated."""
    taps = image.new_tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    channels = image.shape[1]
    kernel = (taps[:, None] * taps).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), "replicate"), kernel, groups=channels)


@MODELS.register_module()
class PixelFocusLoss(ElementwiseLoss):
    """Charbonnier loss that looks more at pixels with large errors, to refine a trained network.

    The idea of https://arxiv.org/abs/2404.02731, whose code was not released: few pixels, at edges, make most of what
    is left of the error, so each pixel's loss is multiplied by (error / mean error) ** gamma, or by
    exp(gamma * (error / mean error - 1)). The factors are no part of the gradient. The exact form is ours.

    Args:
        loss_weight: Factor on the result.
        reduction: ``none``, ``mean`` or ``sum``.
        gamma: Strength; 0 is the Charbonnier loss.
        form: ``power`` or ``exponential``.
        eps: Added to the root's square.

    Raises:
        ConfigError: If ``form`` is another word.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        gamma: float = 1.0,
        form: str = "power",
        eps: float = 1e-3,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if form not in ("power", "exponential"):
            raise ConfigError(f"PixelFocusLoss: form is 'power' or 'exponential', got {form!r}")
        self.gamma, self.form, self.eps = gamma, form, eps

    def compare(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the losses, any shape."""
        error = ((pred - target) ** 2 + self.eps**2).sqrt()
        ratio = error.detach() / error.detach().mean()
        if self.form == "power":
            return error * ratio**self.gamma
        # beyond this the factor would overflow float32
        return error * torch.exp((self.gamma * (ratio - 1)).clamp(max=20))


@MODELS.register_module()
class PerceptualLoss(nn.Module):
    """Absolute difference of VGG-19's features (Johnson et al., ECCV 2016, arXiv:1603.08155).

    Args:
        layers: Weight of each layer, ``relu1_1`` … ``relu5_1``.
        loss_weight: Factor on the result.
        weights: torchvision's name of the weights, downloaded when first used. None: random ones, for tests.

    Shape:
        two images [N, 3, H, W] in [0, 1], RGB, at least 32 x 32.

    Raises:
        ConfigError: If a layer is unknown.
    """

    def __init__(
        self,
        layers: Mapping[str, float] | None = None,
        loss_weight: float = 1.0,
        weights: str | None = "IMAGENET1K_V1",
    ) -> None:
        super().__init__()
        from torchvision.models import vgg19

        self.layers = dict(layers or {"relu3_1": 1.0})
        unknown = [name for name in self.layers if name not in _VGG_LAYERS]
        if unknown:
            raise ConfigError(f"PerceptualLoss has no layer {unknown[0]!r}; it has {', '.join(_VGG_LAYERS)}")
        self.loss_weight = loss_weight
        deepest = max(_VGG_LAYERS[name] for name in self.layers)
        features = vgg19(weights=weights).features[: deepest + 1].requires_grad_(False).eval()
        for module in features:
            if isinstance(module, nn.ReLU):
                module.inplace = False
        # hidden from the module: a fixed measure is no part of the model's checkpoints
        self._features = [features]

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        self._features[0] = self._features[0].to(pred)
        mean, std = (pred.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        x = (torch.cat([pred, target]) - mean) / std
        wanted = {_VGG_LAYERS[name]: weight for name, weight in self.layers.items()}
        total = pred.new_zeros(())
        for i, layer in enumerate(self._features[0]):
            x = layer(x)
            if i in wanted:
                ours, theirs = x.chunk(2)
                total = total + wanted[i] * F.l1_loss(ours, theirs)
        return self.loss_weight * total
