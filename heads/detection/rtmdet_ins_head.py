"""RTMDet-Ins' head: masks by convolutions whose weights each point predicts (Lyu et al., 2022, arXiv:2212.07784).

The dynamic convolutions are those of CondInst (Tian et al., ECCV 2020, arXiv:2003.05664).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.heads.detection.dense import flatten_level, map_sizes, mean_over_ranks
from foveal.heads.detection.post_processing import detections
from foveal.heads.detection.rtmdet_head import (
    CODER,
    LOSS_BBOX,
    LOSS_CLS,
    POINTS,
    SILU,
    RTMDetSepBNHead,
    RTMDetTargets,
    normal_init_of,
    predictors,
    towers,
    with_objectness,
)
from foveal.registry import MODELS

Options = dict[str, Any]

BN = {"type": "BN", "requires_grad": True}
DICE = {"type": "DiceLoss", "loss_weight": 2.0, "eps": 5e-6, "reduction": "mean"}


@MODELS.register_module()
class RTMDetInsSepBNHead(RTMDetSepBNHead):
    """`RTMDetSepBNHead` with a mask for each box.

    Arguments and keys are those of mmdet 3.x. As there, the tower of the boxes is that of the classes; its keys
    ``reg_convs`` repeat ``cls_convs``.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        share_conv: All levels use the first one's convolutions in the tower.
        with_objectness: As for `RTMDetSepBNHead`.
        norm_cfg: mmcv's norm config of the towers.
        act_cfg: mmcv's activation config of the towers.
        pred_kernel_size: Of the last convolutions.
        num_prototypes: Channels of the mask features.
        dyconv_channels: Channels between the dynamic convolutions.
        num_dyconvs: How many there are, at least 2.
        mask_loss_stride: Masks are compared at every so many pixels.
        loss_mask: Config of the mask loss, on logits.
        stacked_convs: Depth of the towers.
        conv_cfg: mmcv's convolution config of the towers. None: Conv2d.
        init_cfg: mmengine's initialisation config. None: mmdet's way.
        feat_channels: Channels of the towers.
        anchor_generator: Config of the points; one level for each feature map.
        bbox_coder: Config of how boxes are written as distances.
        loss_cls: Config of the classification loss; takes class numbers and qualities.
        loss_bbox: Config of the box loss, on boxes in pixels.
        train_cfg: mmdet's: ``assigner``, ``pos_weight``. None: cannot train.
        test_cfg: mmdet's, see `detections`, and ``mask_thr_binary``. None: cannot predict.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        with_objectness: bool = False,
        norm_cfg: Options = BN,
        act_cfg: Options = SILU,
        pred_kernel_size: int = 1,
        num_prototypes: int = 8,
        dyconv_channels: int = 8,
        num_dyconvs: int = 3,
        mask_loss_stride: int = 4,
        loss_mask: Options = DICE,
        stacked_convs: int = 4,
        conv_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
        feat_channels: int = 256,
        anchor_generator: Options = POINTS,
        bbox_coder: Options = CODER,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
    ) -> None:
        rare = ["rtm_cls", "rtm_obj"] if with_objectness else ["rtm_cls"]
        super().__init__(
            num_classes,
            in_channels,
            share_conv,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            pred_kernel_size=pred_kernel_size,
            with_objectness=with_objectness,
            stacked_convs=stacked_convs,
            conv_cfg=conv_cfg,
            init_cfg=init_cfg or normal_init_of(rare, rtm_reg=1),
            feat_channels=feat_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
        )
        self.mask_loss_stride = mask_loss_stride
        self.loss_mask = MODELS.build(loss_mask)
        inner = [dyconv_channels] * (num_dyconvs - 1)
        # outputs and inputs of the dynamic convolutions; the first also reads the offset (x, y) from its point
        self.kernel_shapes = list(zip([*inner, 1], [num_prototypes + 2, *inner], strict=True))
        self.num_gen_params = sum(rows * columns + rows for rows, columns in self.kernel_shapes)
        levels = self.prior_generator.num_levels
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.kernel_convs = towers(ConvModule, levels, stacked_convs, in_channels, feat_channels, layers, False)
        self.rtm_kernel = predictors(levels, feat_channels, self.num_gen_params, pred_kernel_size)
        self.mask_head = MaskFeatModule(
            in_channels, feat_channels, 4, levels, num_prototypes, {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
        )

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Any, ...]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Class logits [N, C, H_l, W_l], distances [N, 4, H_l, W_l] in pixels and weights of the dynamic convolutions
            [N, K, H_l, W_l], a list each, and the mask features [N, num_prototypes, H_0, W_0].
        """
        scores, distances, kernels = [], [], []
        for level, (x, (stride, _)) in enumerate(zip(feats, self.prior_generator.strides, strict=True)):
            shared = self.cls_convs[level](x)
            score = self.rtm_cls[level](shared)
            if self.rtm_obj is not None:
                score = with_objectness(score, self.rtm_obj[level](shared))
            scores.append(score)
            distances.append(F.relu(self.rtm_reg[level](shared)) * stride)
            kernels.append(self.rtm_kernel[level](self.kernel_convs[level](x)))
        return scores, distances, kernels, self.mask_head(feats)

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Any]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and their ``masks``.

        Returns:
            ``loss_cls`` and ``loss_bbox``, a scalar for each level, and the scalar ``loss_mask``.
        """
        scores, distances, kernels, mask_feats = self(feats)
        losses, targets = self.dense_losses(scores, distances, data_samples)
        flat = torch.cat([flatten_level(x, self.num_gen_params) for x in kernels], dim=1)
        return {**losses, "loss_mask": self._mask_loss(mask_feats, flat, map_sizes(scores), targets, data_samples)}

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the detections.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``img_shape``, ``ori_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes and masks in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K] and ``masks`` bool [K, H, W],
            best first.
        """
        *maps, mask_feats = self(feats)
        scores = [flatten_level(x, self.num_classes).sigmoid() for x in maps[0]]
        codes = [flatten_level(x, 4) for x in maps[1]]
        points = self.prior_generator.grid_priors(map_sizes(feats), codes[0].dtype, codes[0].device, with_stride=True)
        extras = {
            "kernels": [flatten_level(x, self.num_gen_params) for x in maps[2]],
            "priors": [level.expand(len(data_samples), -1, -1) for level in points],
        }
        metas = [sample.metainfo for sample in data_samples]
        places = [level[:, :2] for level in points]
        found = detections(scores, codes, places, self.bbox_coder.decode, metas, self.test_cfg, rescale, extras=extras)
        for result, mask_feat, meta in zip(found, mask_feats, metas, strict=True):
            result.masks = self._masks(mask_feat, result.pop("kernels"), result.pop("priors"), meta, rescale)
        return found

    def _reg_towers(self, *shape: Any) -> nn.ModuleList:
        return self.cls_convs

    def _mask_logits(self, mask_feat: Tensor, kernels: Tensor, priors: Tensor) -> Tensor:
        """Run each instance's convolutions: features [D, h, w], weights [n, K], points [n, 4] to logits [n, h, w]."""
        height, width = mask_feat.shape[1:]
        sizes = [(height, width)] + [(0, 0)] * (self.prior_generator.num_levels - 1)
        grid = self.prior_generator.grid_priors(sizes, mask_feat.dtype, mask_feat.device)[0]
        offsets = (priors[:, None, :2] - grid) / (priors[:, None, 2:3] * 8)  # [n, h * w, 2]
        x = torch.cat((offsets.transpose(1, 2), mask_feat.flatten(1).expand(len(priors), -1, -1)), dim=1)
        lengths = [rows * columns for rows, columns in self.kernel_shapes] + [rows for rows, _ in self.kernel_shapes]
        parts = kernels.split(lengths, dim=1)
        depth = len(self.kernel_shapes)
        for i, (rows, columns) in enumerate(self.kernel_shapes):
            x = torch.baddbmm(parts[depth + i][..., None], parts[i].reshape(-1, rows, columns), x)
            x = x if i == depth - 1 else x.relu()
        return x.reshape(-1, height, width)

    def _mask_loss(
        self,
        mask_feats: Tensor,
        kernels: Tensor,
        sizes: list[tuple[int, int]],
        targets: RTMDetTargets,
        samples: Sequence[BaseDataElement],
    ) -> Tensor:
        priors = torch.cat(self.prior_generator.grid_priors(sizes, kernels.dtype, kernels.device, with_stride=True))
        first, step = self.mask_loss_stride // 2, self.mask_loss_stride
        logits, goals = [], []
        for i, sample in enumerate(samples):
            points = (targets.gt_inds[i] > 0).nonzero().squeeze(1)
            masks = sample.gt_instances.masks[:, first::step, first::step]
            logits.append(self._mask_logits(mask_feats[i], kernels[i, points], priors[points]))
            goals.append(masks[targets.gt_inds[i, points] - 1])
        pred, goal = torch.cat(logits), torch.cat(goals)
        count = mean_over_ranks(mask_feats.new_tensor(float(len(pred)))).clamp(min=1)
        if not len(pred):
            return (mask_feats.sum() + kernels.sum()) * 0
        pred = F.interpolate(pred[None], size=goal.shape[1:], mode="bilinear", align_corners=False)[0]
        return self.loss_mask(pred, goal, weight=None, avg_factor=count)

    def _masks(self, mask_feat: Tensor, kernels: Tensor, priors: Tensor, meta: Options, rescale: bool) -> Tensor:
        """Bool masks [K, H, W] of an image's detections."""
        size = meta["ori_shape" if rescale else "img_shape"][:2]
        if not len(priors):
            return torch.zeros((0, *size), dtype=torch.bool, device=priors.device)
        stride = self.prior_generator.strides[0][0]
        logits = F.interpolate(
            self._mask_logits(mask_feat, kernels, priors)[None], scale_factor=stride, mode="bilinear"
        )
        if rescale:
            shrink_w, shrink_h = (1 / factor for factor in meta["scale_factor"])
            whole = (math.ceil(logits.shape[2] * shrink_h), math.ceil(logits.shape[3] * shrink_w))
            logits = F.interpolate(logits, size=whole, mode="bilinear", align_corners=False)
        masks = logits[0, :, : size[0], : size[1]].sigmoid()
        return masks > (self.test_cfg or {}).get("mask_thr_binary", 0.5)


class MaskFeatModule(nn.Module):
    """Mask features of the finest level's size from all levels.

    Keys are mmdet's: ``fusion_conv``, ``stacked_convs.i``, ``projection``.

    Args:
        in_channels: Channels of every map that comes in.
        feat_channels: Channels between.
        stacked_convs: 3x3 convolutions.
        num_levels: Maps that come in.
        num_prototypes: Channels that go out.
        layers: ``norm_cfg`` and ``act_cfg``.

    Shape:
        tuple of [N, in_channels, H_l, W_l] to [N, num_prototypes, H_0, W_0].
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        stacked_convs: int,
        num_levels: int,
        num_prototypes: int,
        layers: Options,
    ) -> None:
        super().__init__()
        self.fusion_conv = nn.Conv2d(num_levels * in_channels, in_channels, 1)
        self.stacked_convs = nn.Sequential(
            *(
                ConvModule(feat_channels if i else in_channels, feat_channels, 3, padding=1, **layers)
                for i in range(stacked_convs)
            )
        )
        self.projection = nn.Conv2d(feat_channels, num_prototypes, 1)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map one [N, in_channels, H_l, W_l] a level to [N, num_prototypes, H_0, W_0]."""
        size = feats[0].shape[-2:]
        enlarged = [F.interpolate(x, size=size, mode="bilinear") for x in feats[1:]]
        return self.projection(self.stacked_convs(self.fusion_conv(torch.cat([feats[0], *enlarged], dim=1))))
