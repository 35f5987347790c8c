"""kMaX-DeepLab's transformer decoder: cross-attention as k-means clustering of pixels (arXiv:2207.04044, section 3.2).

Names and order: ``kmax_transformer_decoder.py`` of bytedance/kmax-deeplab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.heads.segmentation.kmax_layers import ConvBN, norm, truncated_normal
from foveal.layers import DropPath

QUERY, HEADS, KEY, VALUE, FFN = 256, 8, 128, 256, 2048
VOID_PRIOR = 0.9


class Prediction(NamedTuple):
    """What queries say of pixels.

    Args:
        class_logits: [N, Q, K + 1], the last one "nothing".
        mask_logits: [N, Q, h, w].
        pixel_feature: [N, 128, h, w], of unit length.
    """

    class_logits: Tensor
    mask_logits: Tensor
    pixel_feature: Tensor


class KMaXPredictor(nn.Module):
    """Classes of queries, and their masks as likeness to pixels.

    Args:
        in_channels: Channels of the pixels.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self._pixel_space_head_conv0bnact = ConvBN(in_channels, in_channels, 5, depthwise=True)
        self._pixel_space_head_conv1bnact = ConvBN(in_channels, 256)
        self._pixel_space_head_last_convbn = ConvBN(256, 128, bias=True, act=None, std=0.01)
        self._transformer_mask_head = ConvBN(QUERY, 128, dims=1, act=None)
        self._transformer_class_head = ConvBN(
            QUERY, num_classes + 1, dims=1, bias=True, normalise=False, act=None, std=0.01
        )
        self._pixel_space_mask_batch_norm = norm(1)
        nn.init.constant_(self._pixel_space_mask_batch_norm.weight, 0.1)
        # at the start most queries find nothing
        self.void_bias = math.log(num_classes * VOID_PRIOR / (1 - VOID_PRIOR))

    def forward(self, mask_embeddings: Tensor, class_embeddings: Tensor, pixels: Tensor) -> Prediction:
        """Predict from queries [N, 256, Q], twice, and pixels [N, in_channels, h, w]."""
        pixels = self._pixel_space_head_conv1bnact(self._pixel_space_head_conv0bnact(pixels))
        pixels = F.normalize(self._pixel_space_head_last_convbn(pixels), dim=1)
        scores = self._transformer_class_head(class_embeddings).transpose(1, 2)
        bias = torch.zeros(scores.shape[-1], dtype=scores.dtype, device=scores.device)
        bias[-1] = self.void_bias
        masks = torch.einsum("bchw,bcn->bnhw", pixels, self._transformer_mask_head(mask_embeddings))
        masks = self._pixel_space_mask_batch_norm(masks.unsqueeze(1)).squeeze(1)
        return Prediction(scores + bias, masks, pixels)


class AttentionOperation(nn.Module):
    """Self-attention of queries, normalised by batch."""

    def __init__(self) -> None:
        super().__init__()
        self._batch_norm_similarity = norm(HEADS)
        self._batch_norm_retrieved_value = norm(VALUE)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries and keys [N, heads, D, L] and values [N, heads, E, L] to [N, heads * E, L]."""
        weights = self._batch_norm_similarity(torch.einsum("bhdl,bhdm->bhlm", q, k)).softmax(-1)
        found = torch.einsum("bhlm,bhdm->bhdl", weights, v).flatten(1, 2)
        return F.gelu(self._batch_norm_retrieved_value(found))


class KMaXTransformerLayer(nn.Module):
    """Assign pixels to queries, move the queries to what is theirs, then self-attention and an MLP.

    Args:
        in_channels: Channels of the pixels.
        num_classes: K.
        drop_path: Probability of dropping a branch.
    """

    def __init__(self, in_channels: int, num_classes: int, drop_path: float) -> None:
        super().__init__()
        std = QUERY**-0.5
        self.drop_path = DropPath(drop_path)
        self._query_conv1_bn_act = ConvBN(QUERY, QUERY, dims=1)
        self._pixel_conv1_bn_act = ConvBN(in_channels, QUERY)
        self._query_qkv_conv_bn = ConvBN(QUERY, 2 * KEY + VALUE, dims=1, act=None, std=std)
        self._pixel_v_conv_bn = ConvBN(QUERY, VALUE, act=None, std=std)
        self._query_self_attention = AttentionOperation()
        self._query_conv3_bn = ConvBN(VALUE, QUERY, dims=1, act=None, norm_init=0.0)
        self._query_ffn_conv1_bn_act = ConvBN(QUERY, FFN, dims=1)
        self._query_ffn_conv2_bn = ConvBN(FFN, QUERY, dims=1, act=None, norm_init=0.0)
        self._predcitor = KMaXPredictor(QUERY, num_classes)  # so spelt in the files
        self._kmeans_query_batch_norm_retrieved_value = norm(VALUE)
        self._kmeans_query_conv3_bn = ConvBN(VALUE, QUERY, dims=1, act=None, norm_init=0.0)

    def forward(self, pixels: Tensor, queries: Tensor) -> tuple[Tensor, Prediction]:
        """Map pixels [N, in_channels, h, w] and queries [N, 256, Q] to new queries and what the old ones say."""
        pixels = self._pixel_conv1_bn_act(F.gelu(pixels))
        space = self._query_conv1_bn_act(queries)
        values = self._pixel_v_conv_bn(pixels).flatten(2)
        said = self._predcitor(space, space, pixels)
        masks = said.mask_logits.detach().flatten(2)
        mine = torch.zeros_like(masks).scatter_(1, masks.argmax(1, keepdim=True), 1.0)
        # a sum over many pixels: in float32 at least
        exactly = nullcontext() if pixels.is_meta else torch.autocast(pixels.device.type, enabled=False)
        with exactly:
            exact = torch.promote_types(values.dtype, torch.float32)
            moved = torch.einsum("blm,bdm->bdl", mine.to(exact), values.to(exact))
        moved = self._kmeans_query_conv3_bn(self._kmeans_query_batch_norm_retrieved_value(moved))
        queries = queries + self.drop_path(moved)
        parts = self._query_qkv_conv_bn(space).split([KEY, KEY, VALUE], 1)
        attended = self._query_self_attention(*(part.unflatten(1, (HEADS, -1)) for part in parts))
        queries = F.gelu(queries + self.drop_path(self._query_conv3_bn(attended)))
        queries = queries + self.drop_path(self._query_ffn_conv2_bn(self._query_ffn_conv1_bn_act(queries)))
        return F.gelu(queries), said


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling as in Panoptic-DeepLab.

    Args:
        in_channels: Channels that come in.
        channels: Channels that go out.
    """

    def __init__(self, in_channels: int, channels: int = 256) -> None:
        super().__init__()
        self._aspp_conv0 = ConvBN(in_channels, channels)
        self._aspp_conv1 = ConvBN(in_channels, channels, 3, dilation=6)
        self._aspp_conv2 = ConvBN(in_channels, channels, 3, dilation=12)
        self._aspp_conv3 = ConvBN(in_channels, channels, 3, dilation=18)
        self._aspp_pool = ConvBN(in_channels, channels)
        self._proj_conv_bn_act = ConvBN(5 * channels, channels)
        self._proj_drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, h, w] to [N, channels, h, w]."""
        pooled = self._aspp_pool(F.adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[2:])
        found = [self._aspp_conv0(x), self._aspp_conv1(x), self._aspp_conv2(x), self._aspp_conv3(x), pooled]
        return self._proj_drop(self._proj_conv_bn_act(torch.cat(found, 1)))


class SemanticPredictor(nn.Module):
    """Panoptic-DeepLab's semantic decoder and head; only the loss uses it.

    Args:
        in_channels: Channels of the backbone's maps of strides 4, 8 and 32.
        num_classes: K.
    """

    def __init__(self, in_channels: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self._aspp = ASPP(in_channels[2])
        self._low_level_projection_os8 = ConvBN(in_channels[1], 64)
        self._low_level_fusion_os8_conv0_bn_act = ConvBN(320, 320, 5, depthwise=True)
        self._low_level_fusion_os8_conv1_bn_act = ConvBN(320, 256)
        self._low_level_projection_os4 = ConvBN(in_channels[0], 32)
        self._low_level_fusion_os4_conv0_bn_act = ConvBN(288, 288, 5, depthwise=True)
        self._low_level_fusion_os4_conv1_bn_act = ConvBN(288, 256)
        self.conv_block_0 = ConvBN(256, 256, 5, depthwise=True)
        self.conv_block_1 = ConvBN(256, 256)
        self.final_conv = ConvBN(256, num_classes + 1, bias=True, normalise=False, act=None, std=0.01)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Map maps of strides 4, 8 and 32 to logits [N, K + 1, h, w] at the first one's size."""
        x = self._aspp(coarse)
        # the coarse map decides for both whether corners are aligned
        align = x.shape[-1] % 2 == 1
        for name, low in (("os8", middle), ("os4", fine)):
            low = getattr(self, f"_low_level_projection_{name}")(low)
            x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=align)
            x = getattr(self, f"_low_level_fusion_{name}_conv0_bn_act")(torch.cat((x, low), 1))
            x = getattr(self, f"_low_level_fusion_{name}_conv1_bn_act")(x)
        return self.final_conv(self.conv_block_1(self.conv_block_0(x)))


class KMaXTransformerDecoder(nn.Module):
    """Layers on maps of strides 32, 16 and 8, then a prediction on that of stride 4.

    Args:
        in_channels: Channels of those four maps, coarsest first.
        backbone_channels: Of the backbone's maps, finest first.
        num_classes: K.
        num_queries: Q.
        dec_layers: Layers on each of the first three maps.
        drop_path_prob: Probability of dropping a branch.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        backbone_channels: Sequence[int],
        num_classes: int,
        num_queries: int,
        dec_layers: Sequence[int],
        drop_path_prob: float,
    ) -> None:
        super().__init__()
        self.dec_layers = tuple(dec_layers)
        self._kmax_transformer_layers = nn.ModuleList(
            KMaXTransformerLayer(channels, num_classes, drop_path_prob)
            for channels, depth in zip(in_channels[:3], dec_layers, strict=True)
            for _ in range(depth)
        )
        self._cluster_centers = nn.Embedding(QUERY, num_queries)
        truncated_normal(self._cluster_centers.weight, 1.0)
        self._class_embedding_projection = ConvBN(QUERY, QUERY, dims=1)
        self._mask_embedding_projection = ConvBN(QUERY, QUERY, dims=1)
        self._predcitor = KMaXPredictor(in_channels[-1], num_classes)
        fine, middle, _, coarse = backbone_channels
        self._auxiliary_semantic_predictor = SemanticPredictor((fine, middle, coarse), num_classes)

    def forward(self, maps: Sequence[Tensor]) -> list[Prediction]:
        """Return what the queries say before each layer and at last.

        Args:
            maps: Four, coarsest first.
        """
        queries = self._cluster_centers.weight.expand(len(maps[0]), -1, -1)
        said = []
        layers = iter(self._kmax_transformer_layers)
        for pixels, depth in zip(maps[:3], self.dec_layers, strict=True):
            for _ in range(depth):
                queries, prediction = next(layers)(pixels, queries)
                said.append(prediction)
        classes, masks = self._class_embedding_projection(queries), self._mask_embedding_projection(queries)
        return [*said, self._predcitor(masks, classes, maps[-1])]

    def semantic(self, feats: Sequence[Tensor]) -> Tensor:
        """Return semantic logits [N, K + 1, h, w] from the backbone's maps, finest first."""
        return self._auxiliary_semantic_predictor(feats[0], feats[1], feats[3])


def at_size(prediction: Prediction, size: Sequence[int]) -> Prediction:
    """Return a prediction with masks and pixels resized to ``size``; corners are aligned where it is odd."""
    align = size[0] % 2 == 1
    masks, pixels = (
        F.interpolate(x, tuple(size), mode="bilinear", align_corners=align)
        for x in (prediction.mask_logits, prediction.pixel_feature)
    )
    return Prediction(prediction.class_logits, masks, pixels)
