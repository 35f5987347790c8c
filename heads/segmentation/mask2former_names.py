"""Names in the authors' files of Mask2Former (facebookresearch/Mask2Former, on Detectron2), in mmdet's words."""

from __future__ import annotations

import re

# patterns of the rest of a name, from the beginning
_PIXELS = r"pixel_decoder\."
_ENCODER = rf"{_PIXELS}transformer\.encoder\.layers\.(\d+)\."
_DECODER = r"predictor\.transformer_(?:self_attention|cross_attention|ffn)_layers\.(\d+)\."
_RENAMED = (
    (rf"{_ENCODER}linear1\.", r"pixel_decoder.encoder.layers.\1.ffn.layers.0.0."),
    (rf"{_ENCODER}linear2\.", r"pixel_decoder.encoder.layers.\1.ffn.layers.1."),
    (rf"{_ENCODER}norm1\.", r"pixel_decoder.encoder.layers.\1.norms.0."),
    (rf"{_ENCODER}norm2\.", r"pixel_decoder.encoder.layers.\1.norms.1."),
    (rf"{_ENCODER}self_attn\.", r"pixel_decoder.encoder.layers.\1.self_attn."),
    (rf"{_PIXELS}transformer\.level_embed$", "pixel_decoder.level_encoding.weight"),
    (rf"{_PIXELS}input_proj\.(\d)\.0\.", r"pixel_decoder.input_convs.\1.conv."),
    (rf"{_PIXELS}input_proj\.(\d)\.1\.", r"pixel_decoder.input_convs.\1.gn."),
    (rf"{_PIXELS}mask_features\.", "pixel_decoder.mask_feature."),
    (_DECODER + r"self_attn\.", r"transformer_decoder.layers.\1.self_attn.attn."),
    (_DECODER + r"multihead_attn\.", r"transformer_decoder.layers.\1.cross_attn.attn."),
    (_DECODER + r"linear1\.", r"transformer_decoder.layers.\1.ffn.layers.0.0."),
    (_DECODER + r"linear2\.", r"transformer_decoder.layers.\1.ffn.layers.1."),
    (r"predictor\.decoder_norm\.", "transformer_decoder.post_norm."),
    (r"predictor\.static_query\.", "query_feat."),  # of the first files
    (r"predictor\.class_embed\.", "cls_embed."),
    (r"predictor\.", ""),
)
# a layer's norms are numbered in the order in which they work: across, among the queries, after the two linear layers
_NORMS = {"cross_attention": 0, "self_attention": 1, "ffn": 2}
_FINE = {"adapter": "lateral_convs", "layer": "output_convs"}


def mmdet_name(name: str) -> str:
    """Return mmdet's name of a weight, from what follows ``sem_seg_head.`` in an official file."""
    if norm := re.match(r"predictor\.transformer_(\w+)_layers\.(\d+)\.norm\.(.*)", name):
        return f"transformer_decoder.layers.{norm[2]}.norms.{_NORMS[norm[1]]}.{norm[3]}"
    if fine := re.match(rf"{_PIXELS}(adapter|layer)_(\d)\.(norm\.)?(.*)", name):
        part = "gn" if fine[3] else "conv"
        return f"pixel_decoder.{_FINE[fine[1]]}.{int(fine[2]) - 1}.{part}.{fine[4]}"
    if mlp := re.match(r"predictor\.mask_embed\.layers\.(\d)\.(.*)", name):
        return f"mask_embed.{2 * int(mlp[1])}.{mlp[2]}"  # linear layers with a ReLU between them
    for pattern, new in _RENAMED:
        renamed, count = re.subn(f"^{pattern}", new, name)
        if count:
            return renamed
    return name
