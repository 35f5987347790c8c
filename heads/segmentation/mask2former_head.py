"""Mask2Former's head (Cheng et al., CVPR 2022, arXiv:2112.01527).

Source of keys and order: ``mask2former_head.py`` and ``mask2former_layers.py`` of open-mmlab/mmdetection, and
``mask2former_head.py`` of open-mmlab/mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import caffe2_xavier_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError, DataError
from foveal.heads.segmentation.decode_head import resize
from foveal.heads.segmentation.mask2former_names import mmdet_name
from foveal.heads.segmentation.mask_criterion import MaskCriterion
from foveal.heads.segmentation.mask_truth import name_of, segments_of
from foveal.layers.positional_encoding import SinePositionalEncoding
from foveal.layers.state_dict import take_over
from foveal.layers.transformer import DecoderLayer
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]

_LN = {"type": "LN"}
_POSITIONS = {"num_feats": 128, "normalize": True}
_CLASSES = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 2.0, "class_weight": [1.0] * 133 + [0.1]}
_MASKS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 5.0}
_DICE = {"type": "DiceLoss", "use_sigmoid": True, "activate": True, "naive_dice": True, "eps": 1.0, "loss_weight": 5.0}


class MaskedDecoder(nn.Module):
    """Layers in which queries attend to a part of the image, then to each other; keys ``layers.i``, ``post_norm``.

    Args:
        num_layers: How many.
        layer_cfg: Arguments of `DecoderLayer`.
        return_intermediate: All layers' results are used: must be True.
        post_norm_cfg: Norm of what the predictions are made of, mmcv's config.
        init_cfg: None; taken for mmdet's configs.

    Raises:
        ConfigError: If ``return_intermediate`` is False.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Options,
        return_intermediate: bool = True,
        post_norm_cfg: Options = _LN,
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        if not return_intermediate:
            raise ConfigError("Mask2FormerHead.transformer_decoder has return_intermediate=True only")
        self.layers = nn.ModuleList(DecoderLayer(**layer_cfg, cross_first=True) for _ in range(num_layers))
        first: Any = self.layers[0]
        self.embed_dims: int = first.embed_dims
        self.num_heads: int = first.cross_attn.num_heads
        self.post_norm = build_norm_layer(post_norm_cfg, self.embed_dims)[1]
        for matrix in (p for p in self.parameters() if p.dim() > 1):
            nn.init.xavier_normal_(matrix)


@MODELS.register_module()
class Mask2FormerHead(nn.Module):
    """Queries that each find one mask and its class, with the arguments and keys of mmdet's and mmseg's class.

    In a detector it learns from ``gt_instances`` and, for stuff, ``gt_sem_seg`` (mmdet). With ``num_classes`` it is a
    head of `EncoderDecoder` and learns one mask for each class in ``gt_sem_seg`` (mmseg).

    Args:
        in_channels: Channels of the maps that come in, finest first.
        feat_channels: C, channels of the pixel decoder's maps and of the queries.
        out_channels: M, channels of the mask features.
        num_things_classes: Classes with objects that are told apart; the first ones.
        num_stuff_classes: Classes without.
        num_classes: K, in place of the two.
        num_queries: Q.
        num_transformer_feat_level: Maps that the transformer decoder reads in turns.
        pixel_decoder: Config of `MSDeformAttnPixelDecoder`; gets the three channel numbers from here.
        enforce_decoder_input_project: Convolutions before the transformer decoder even where channels fit.
        transformer_decoder: Arguments of `MaskedDecoder`.
        positional_encoding: Arguments of `SinePositionalEncoding`.
        loss_cls: As in `MaskCriterion`.
        loss_mask: As there.
        loss_dice: As there.
        train_cfg: As there.
        test_cfg: Taken for mmdet's configs; `MaskFormerFusionHead` reads it.
        strides: Taken for mmdet's and mmseg's configs.
        align_corners: Of the logits' enlargement to the original image; masks are enlarged without.
        ignore_index: Label in ``gt_sem_seg`` that is no class; used with ``num_classes``.
        init_cfg: None, likewise.

    Raises:
        ConfigError: If numbers of levels, channels or class weights contradict each other.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        num_classes: int | None = None,
        num_queries: int = 100,
        num_transformer_feat_level: int = 3,
        *,
        pixel_decoder: Options,
        enforce_decoder_input_project: bool = False,
        transformer_decoder: Options,
        positional_encoding: Options = _POSITIONS,
        loss_cls: Options = _CLASSES,
        loss_mask: Options = _MASKS,
        loss_dice: Options = _DICE,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        strides: Sequence[int] | None = None,
        align_corners: bool = False,
        ignore_index: int = 255,
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        self.semantic = num_classes is not None
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes if num_classes is None else num_classes
        self.out_channels = self.num_classes  # of `predict`
        self.align_corners = align_corners
        self.ignore_index = ignore_index
        channels = {"in_channels": in_channels, "feat_channels": feat_channels, "out_channels": out_channels}
        self.pixel_decoder: Any = MODELS.build({**pixel_decoder, **channels})
        self.transformer_decoder = MaskedDecoder(**transformer_decoder)
        self.num_levels = num_transformer_feat_level
        width = self.transformer_decoder.embed_dims
        self._check(width, feat_channels, loss_cls)
        self.decoder_input_projs = nn.ModuleList(
            nn.Conv2d(feat_channels, width, 1) if enforce_decoder_input_project else nn.Identity()
            for _ in range(self.num_levels)
        )
        for conv in self.decoder_input_projs if enforce_decoder_input_project else ():
            caffe2_xavier_init(conv)
        self.decoder_positional_encoding = SinePositionalEncoding(**positional_encoding)
        self.query_embed = nn.Embedding(num_queries, feat_channels)
        self.query_feat = nn.Embedding(num_queries, feat_channels)
        self.level_embed = nn.Embedding(self.num_levels, feat_channels)
        self.cls_embed = nn.Linear(feat_channels, self.num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(inplace=True),
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(inplace=True),
            nn.Linear(feat_channels, out_channels),
        )
        self.criterion = MaskCriterion(loss_cls, loss_mask, loss_dice, train_cfg)

    def _check(self, width: int, feat_channels: int, loss_cls: Options) -> None:
        if width != feat_channels:
            raise ConfigError(
                f"Mask2FormerHead.transformer_decoder has embed_dims {width}: must be feat_channels {feat_channels}"
            )
        given = self.pixel_decoder.num_outs
        if given < self.num_levels:
            raise ConfigError(
                f"Mask2FormerHead.num_transformer_feat_level is {self.num_levels}, "
                f"but pixel_decoder.num_outs is {given}"
            )
        weights = loss_cls.get("class_weight")
        if weights is not None and len(weights) != self.num_classes + 1:
            raise ConfigError(
                f"Mask2FormerHead.loss_cls.class_weight must have {self.num_classes + 1} entries, the classes and "
                f"'no object', got {len(weights)}"
            )

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the class logits [N, Q, K + 1] and mask logits [N, Q, H_0, W_0] before and after each decoder layer.

        Args:
            feats: [N, in_channels[i], H_i, W_i] each, finest first.
        """
        mask_features, maps = self.pixel_decoder(feats)
        maps = maps[: self.num_levels]
        pixels, places = [], []
        for x, project, level in zip(maps, self.decoder_input_projs, self.level_embed.weight, strict=True):
            pixels.append(project(x).flatten(2).mT + level)
            nowhere = torch.zeros(x.shape[0], *x.shape[-2:], dtype=torch.bool, device=x.device)
            places.append(self.decoder_positional_encoding(nowhere, x.dtype).flatten(2).mT)
        batch = mask_features.shape[0]
        query = self.query_feat.weight.expand(batch, -1, -1)
        query_pos = self.query_embed.weight.expand(batch, -1, -1)
        scores, masks = [], []
        layers = self.transformer_decoder.layers
        for i in range(len(layers) + 1):
            score, mask = self._predictions(query, mask_features)
            scores.append(score)
            masks.append(mask)
            if i < len(layers):
                turn = i % self.num_levels
                hidden = self._hidden(mask, maps[turn].shape[-2:])
                image = {"key": pixels[turn], "key_pos": places[turn], "attn_mask": hidden}
                query = layers[i](query, query_pos, **image)
        return scores, masks

    def _predictions(self, query: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [N, Q, K + 1] and mask logits [N, Q, h, w] of queries [N, Q, C]."""
        query = self.transformer_decoder.post_norm(query)
        return self.cls_embed(query), torch.einsum("bqc,bchw->bqhw", self.mask_embed(query), mask_features)

    @torch.no_grad()
    def _hidden(self, masks: Tensor, size: Sequence[int]) -> Tensor:
        """Where the queries must not look: outside their masks, but anywhere for an empty one; [N * heads, Q, K]."""
        small = F.interpolate(masks, tuple(size), mode="bilinear", align_corners=False).flatten(2)
        outside = small.sigmoid() < 0.5
        outside = outside & ~outside.all(-1, keepdim=True)
        return outside.repeat_interleave(self.transformer_decoder.num_heads, dim=0)

    def adapt_state_dict(self, state_dict: Options, prefix: str) -> None:
        """Take the head out of one of the authors' files."""
        take_over(state_dict, "sem_seg_head.", prefix, mmdet_name)
        state_dict.pop("criterion.empty_weight", None)  # what the config says of the loss

    def loss(self, feats: Sequence[Tensor], data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of every prediction, ``loss_cls`` … of the last one, ``d0.loss_cls`` … of the others.

        Args:
            feats: As for ``forward``.
            data_samples: N of them with ``gt_sem_seg``; in a detector with ``gt_instances``, and ``gt_sem_seg`` where
                there is stuff to learn.

        Raises:
            DataError: If a label is no class, or masks are missing; names the image.
        """
        truth_of = self._truth_of_classes if self.semantic else self._truth_of_segments
        truths = [truth_of(sample) for sample in data_samples]
        scores, masks = self(feats)
        return self.criterion.layers(scores, masks, truths, [sample.metainfo for sample in data_samples])

    def _truth_of_classes(self, sample: DataSample) -> InstanceData:
        """One mask for each class of the label map."""
        seg = sample.gt_sem_seg.data.squeeze(0)
        labels = seg.unique().long()
        labels = labels[labels != self.ignore_index]
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if len(wrong):
            source = sample.get("seg_map_path") or name_of(sample)
            raise DataError(
                f"{source}: label {int(wrong[0])} is neither a class (0 to {self.num_classes - 1}) "
                f"nor ignore_index ({self.ignore_index})"
            )
        return InstanceData(labels=labels, masks=seg == labels[:, None, None])

    def _truth_of_segments(self, sample: DataSample) -> InstanceData:
        """The objects' masks, and one for each class of stuff in the label map."""
        return segments_of(sample, self.num_things_classes, self.num_stuff_classes, "Mask2FormerHead")

    def predict_masks(self, feats: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the last layer's class logits [N, Q, K + 1] and mask logits [N, Q, *size].

        Args:
            feats: As for ``forward``.
            size: Height and width of the network's input.
        """
        scores, masks = self(feats)
        return scores[-1], resize(masks[-1], size)

    def predict(self, feats: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return, for each pixel and class, the sum of what the queries say: [N, K, *size], not negative.

        Args:
            feats: As for ``forward``.
            size: Height and width of the network's input.
        """
        scores, masks = self.predict_masks(feats, size)
        return torch.einsum("bqk,bqhw->bkhw", scores.softmax(-1)[..., :-1], masks.sigmoid())
