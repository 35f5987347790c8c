"""CenterNet's head: objects as points (Zhou et al., 2019, arXiv:1904.07850)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, bias_init_with_prob, normal_init
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.dense import precise
from foveal.heads.detection.gaussian import gaussian_radius
from foveal.heads.detection.post_processing import to_original
from foveal.registry import MODELS

Options = dict[str, Any]

LOSS_HEATMAP = {"type": "GaussianFocalLoss", "loss_weight": 1.0}
LOSS_WH = {"type": "L1Loss", "loss_weight": 0.1}
LOSS_OFFSET = {"type": "L1Loss", "loss_weight": 1.0}
OVERLAP = 0.3


@MODELS.register_module()
class CenterNetHead(BaseModule):
    """A heat map of centres for each class, the size of the box at each point, and the centre's offset from the grid.

    Arguments, defaults and keys (``heatmap_head.i``, ``wh_head.i``, ``offset_head.i``) are those of mmdet 3.x.

    Args:
        in_channels: Channels of the one feature map.
        feat_channels: Channels between.
        num_classes: C, without background.
        loss_center_heatmap: Config of the heat maps' loss, on probabilities.
        loss_wh: Config of the sizes' loss, in pixels of the map.
        loss_offset: Config of the offsets' loss.
        train_cfg: Taken for mmdet's configs; nothing in it concerns this head.
        test_cfg: mmdet's: ``topk`` detections, ``local_maximum_kernel``. None: cannot predict.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_classes: int,
        loss_center_heatmap: Options = LOSS_HEATMAP,
        loss_wh: Options = LOSS_WH,
        loss_offset: Options = LOSS_OFFSET,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_classes = num_classes
        self.test_cfg = test_cfg
        self.heatmap_head = _branch(in_channels, feat_channels, num_classes)
        self.wh_head = _branch(in_channels, feat_channels, 2)
        self.offset_head = _branch(in_channels, feat_channels, 2)
        self.loss_center_heatmap = MODELS.build(loss_center_heatmap)
        self.loss_wh = MODELS.build(loss_wh)
        self.loss_offset = MODELS.build(loss_offset)

    def init_weights(self) -> None:
        """Initialise as mmdet does: centres start at a probability of 0.1, sizes and offsets near zero."""
        last: Any = self.heatmap_head[-1]
        nn.init.constant_(last.bias, bias_init_with_prob(0.1))
        for module in (*self.wh_head.modules(), *self.offset_head.modules()):
            if isinstance(module, nn.Conv2d):
                normal_init(module, std=0.001)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the raw outputs.

        Args:
            feats: One map [N, in_channels, H, W].

        Returns:
            Probabilities of centres [N, C, H, W], sizes [N, 2, H, W] (width, height) and offsets [N, 2, H, W] (x, y) in
            pixels of the map, a list of one each.

        Raises:
            ConfigError: If there is more than one map.
        """
        if len(feats) != 1:
            raise ConfigError(f"CenterNetHead reads one feature map, got {len(feats)}")
        x = feats[0]
        heatmap, sizes, offsets = (precise(head(x)) for head in (self.heatmap_head, self.wh_head, self.offset_head))
        return [heatmap.sigmoid()], [sizes], [offsets]

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and the metainfo ``batch_input_shape``.

        Returns:
            The scalars ``loss_center_heatmap``, ``loss_wh`` and ``loss_offset``.
        """
        (heatmap,), (sizes,), (offsets,) = self(feats)
        targets = center_targets(data_samples, heatmap.shape, heatmap.dtype)
        count = (targets["heatmap"] == 1).sum().clamp(min=1)
        weight = targets["weight"].expand_as(sizes)
        return {
            "loss_center_heatmap": self.loss_center_heatmap(heatmap, targets["heatmap"], avg_factor=count),
            "loss_wh": self.loss_wh(sizes, targets["wh"], weight, avg_factor=count * 2),
            "loss_offset": self.loss_offset(offsets, targets["offset"], weight, avg_factor=count * 2),
        }

    @torch.no_grad()
    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the detections: the highest local maxima of the heat maps.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``batch_input_shape`` (h, w), ``scale_factor`` (w, h) and, where
                the image was padded at all sides, ``border`` (top, bottom, left, right).
            rescale: Boxes in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K], best first.

        Raises:
            ConfigError: If there is no ``test_cfg``.
        """
        if self.test_cfg is None:
            raise ConfigError("the model has no test_cfg: prediction needs topk and local_maximum_kernel")
        (heatmap,), (sizes,), (offsets,) = self(feats)
        height, width = heatmap.shape[2:]
        kernel = self.test_cfg.get("local_maximum_kernel", 3)
        highest = F.max_pool2d(heatmap, kernel, stride=1, padding=(kernel - 1) // 2)
        peaks = (heatmap * (highest == heatmap)).flatten(1)
        scores, places = peaks.topk(min(self.test_cfg.get("topk", 100), peaks.shape[1]))
        labels, places = places // (height * width), places % (height * width)
        index = places[:, None].expand(-1, 2, -1)
        size = sizes.flatten(2).gather(2, index).transpose(1, 2)
        offset = offsets.flatten(2).gather(2, index).transpose(1, 2)
        center = torch.stack((places % width, places // width), dim=-1) + offset
        boxes = torch.cat((center - size / 2, center + size / 2), dim=-1)
        results = []
        for i, sample in enumerate(data_samples):
            meta = sample.metainfo
            input_h, input_w = meta["batch_input_shape"]
            box = boxes[i] * boxes.new_tensor([input_w / width, input_h / height] * 2)
            top, _, left, _ = meta.get("border", (0, 0, 0, 0))
            box = box - box.new_tensor([left, top, left, top])
            results.append(
                InstanceData(bboxes=to_original(box, meta) if rescale else box, scores=scores[i], labels=labels[i])
            )
        return results


@torch.no_grad()
def center_targets(samples: Sequence[BaseDataElement], shape: Sequence[int], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return what the points of a batch learn, without a loop over boxes.

    Args:
        samples: N samples with ``gt_instances`` and the metainfo ``batch_input_shape``.
        shape: N, C, H, W of the heat maps.
        dtype: Of the result.

    Returns:
        ``heatmap`` [N, C, H, W]: a bell around each box's centre, 1 in its middle; ``wh`` and ``offset`` [N, 2, H, W]
        at the middles, of the last box where several share one; ``weight`` [N, 1, H, W], 1 at the middles.
    """
    images, classes, height, width = shape
    input_h, input_w = samples[0].metainfo["batch_input_shape"][:2]
    boxes = torch.cat([sample.gt_instances.bboxes for sample in samples]).to(dtype)
    labels = torch.cat([sample.gt_instances.labels for sample in samples])
    counts = torch.tensor([len(sample.gt_instances.labels) for sample in samples], device=boxes.device)
    image = torch.arange(images, device=boxes.device).repeat_interleave(counts, output_size=len(boxes))
    boxes = boxes * boxes.new_tensor([width / input_w, height / input_h] * 2)
    size, center = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    limit = torch.tensor([width - 1, height - 1], device=boxes.device)
    # a box beyond the image would have its middle outside of the map
    middle = center.long().clamp(min=0).minimum(limit)
    heatmap = _bells(middle, gaussian_radius(size, OVERLAP).floor(), image * classes + labels, shape, dtype)
    # index_put_ leaves open which of several boxes wins: the last one is to
    place = (image * height + middle[:, 1]) * width + middle[:, 0]
    order = torch.arange(len(boxes), device=boxes.device)
    owner = torch.full((images * height * width,), -1, device=boxes.device).scatter_reduce(0, place, order, "amax")
    wins = owner[place] == order
    wh, offset = boxes.new_zeros(len(owner), 2), boxes.new_zeros(len(owner), 2)
    wh.index_add_(0, place, size * wins[:, None])
    offset.index_add_(0, place, (center - middle) * wins[:, None])
    maps = (x.view(images, height, width, -1).permute(0, 3, 1, 2) for x in (wh, offset, (owner >= 0).to(dtype)))
    return {"heatmap": heatmap, **dict(zip(("wh", "offset", "weight"), maps, strict=True))}


def _bells(middle: Tensor, radius: Tensor, channel: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Heat maps [N, C, H, W] with a Gaussian of the radius around each middle; the highest counts."""
    images, classes, height, width = shape
    columns = torch.arange(width, device=middle.device) - middle[:, :1]
    rows = torch.arange(height, device=middle.device) - middle[:, 1:]
    reach = radius[:, None, None]
    sigma = ((2 * reach + 1) / 6).to(dtype)
    bell = (-(columns[:, None] ** 2 + rows[..., None] ** 2) / (2 * sigma**2)).exp()
    near = (columns.abs()[:, None] <= reach) & (rows.abs()[..., None] <= reach)
    bell = bell.where(near & (bell >= torch.finfo(dtype).eps), 0)
    maps = bell.new_zeros(images * classes, height, width)
    index = channel[:, None, None].expand_as(bell)
    return maps.scatter_reduce(0, index, bell, "amax").view(images, classes, height, width)


def _branch(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1),
    )
