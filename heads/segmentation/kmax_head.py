"""kMaX-DeepLab's head (Yu et al., "k-means Mask Transformer", ECCV 2022, arXiv:2207.04044)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from foveal.heads.segmentation import kmax_criterion
from foveal.heads.segmentation.kmax_layers import enlarge
from foveal.heads.segmentation.kmax_pixel_decoder import KMaXPixelDecoder
from foveal.heads.segmentation.kmax_transformer import KMaXTransformerDecoder, Prediction
from foveal.heads.segmentation.mask_truth import segments_of
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]

STRIDE = 4  # of the masks, to the image


@MODELS.register_module()
class KMaXDeepLabHead(nn.Module):
    """Pixel decoder, transformer decoder and losses; the ``panoptic_head`` of `Mask2Former`, also named `KMaXDeepLab`.

    The keys are the official ones inside, ``pixel_decoder.`` and ``predictor.``; files with the whole network's names,
    ``sem_seg_head.``, are read too.

    Args:
        in_channels: Channels of the backbone's maps, of strides 4 to 32, finest first.
        num_things_classes: Classes with objects that are told apart; the first ones.
        num_stuff_classes: Classes without.
        num_queries: Q.
        pixel_decoder: Arguments of `KMaXPixelDecoder` but ``in_channels``.
        dec_layers: Transformer layers on the maps of strides 32, 16 and 8.
        drop_path_prob: Probability of dropping a branch of the transformer.
        sample_k: Pixels drawn for the losses on samples.
        train_cfg: None; taken from the detector.
        test_cfg: Taken from the detector; `KMaXFusionHead` reads it.
        init_cfg: None.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (),
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        num_queries: int = 128,
        pixel_decoder: Options | None = None,
        dec_layers: Sequence[int] = (2, 2, 2),
        drop_path_prob: float = 0.0,
        sample_k: int = 4096,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.sample_k = sample_k
        self.pixel_decoder = KMaXPixelDecoder(in_channels, **(pixel_decoder or {}))
        self.predictor = KMaXTransformerDecoder(
            self.pixel_decoder.out_channels, in_channels, self.num_classes, num_queries, dec_layers, drop_path_prob
        )

    def forward(self, feats: Sequence[Tensor]) -> list[Prediction]:
        """Return what the queries say before each transformer layer and at last.

        Args:
            feats: [N, in_channels[i], H_i, W_i] each, finest first.
        """
        return self.predictor(self.pixel_decoder(feats))

    def loss(self, feats: Sequence[Tensor], data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the weighted losses of every prediction, ``loss_cls`` … of the last, ``d0.loss_cls`` … of the others.

        Args:
            feats: As for ``forward``.
            data_samples: N of them with ``gt_instances`` and, where there is stuff to learn, ``gt_sem_seg``.

        Raises:
            DataError: If masks are missing; names the image.
        """
        truths = []
        for sample in data_samples:
            truth = segments_of(sample, self.num_things_classes, self.num_stuff_classes, "KMaXDeepLabHead")
            truth.set_field(truth.pop("masks")[:, ::STRIDE, ::STRIDE], "masks")
            truths.append(truth[truth.masks.flatten(1).any(1)])
        return kmax_criterion.losses(self(feats), self.predictor.semantic(feats), truths, self.sample_k)

    def predict_masks(self, feats: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return class logits [N, Q, K + 1] and mask logits [N, Q, *size].

        Args:
            feats: As for ``forward``.
            size: Height and width of the network's input.
        """
        last = self(feats)[-1]
        return last.class_logits, enlarge(last.mask_logits, size)

    def adapt_state_dict(self, state_dict: Options, prefix: str) -> None:
        """Take the head out of an official network."""
        take_over(state_dict, "sem_seg_head.", prefix)
