"""Draw every backbone, head and restorer into docs/images/models/ and list the pictures in docs/models.md.

    python tools/draw_models.py [PATTERN]

Pretrained weights are not read: only shapes and parameters count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import torch

import foveal
from foveal.config import load_config
from foveal.registry import MODELS
from foveal.visualization.diagram import draw_model, model_parts

ROOT = Path(__file__).resolve().parent.parent
FOLDER, PAGE = ROOT / "docs" / "images" / "models", ROOT / "docs" / "models.md"
# of each family the smallest that shows all of it
BACKBONES = (
    "convnext_tiny", "convnext_isotropic_small", "inceptionnext_tiny", "hornet_tiny_7x7", "hornet_tiny_gf",
    "unireplknet_t", "transnext_micro", "shvit_s1", "efficientvim_m1", "cvt_13", "nat_mini", "dinat_mini",
    "dinat_s_tiny", "swin_tiny", "mit_b0", "mobilenet_v2", "resnet50",
)  # fmt: skip
MODELS_OF_CONFIGS = (
    "retinanet/retinanet_r50_fpn_1x_coco",
    "fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
    "atss/atss_r50_fpn_1x_coco",
    "centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco",
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco",
    "yolox/yolox_s_8xb8-300e_coco",
    "rtmdet/rtmdet_s_8xb32-300e_coco",
    "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco",
    "mamba_yolo/mamba_yolo_t_8xb64-300e_coco",
    "femtodet/femtodet_large_coco",
    "relationnet2/retinanet_r50_fpn_relation_1x_coco",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco",
    "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",
    "recursivedet/recursivedet_r50_fpn_100-proposals_ms-480-800-3x_coco",
    "conditional_detr/conditional-detr_r50_8xb2-50e_coco",
    "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco",
    "dino/dino-4scale_r50_8xb2-12e_coco",
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic",
    "kmax_deeplab/kmax-deeplab_r50_8xb8-150k_coco-panoptic",
    "fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512",
    "pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512",
    "deeplabv3/deeplabv3_r50-d8_4xb4-160k_ade20k-512x512",
    "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512",
    "upernet/upernet_r50_4xb4-160k_ade20k-512x512",
    "hornet/hornet-small-7x7_horfpn-upernet_8xb2-160k_ade20k-512x512",
    "sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512",
    "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "pp_mobileseg/pp_mobileseg_tiny_2xb16-80k_ade20k-512x512",
    "ffnet/ffnet46ns_ccc-mobile_8xb2-160k_cityscapes-1024x1024",
    "dcswin/dcswin-small_1xb8-30e_potsdam-512x512",
    "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512",
    "bts/bts_densenet161_4xb4-50e_nyu-416x544",
    "bts/lka-depth_convnext-tiny_4xb4-50e_nyu-416x544",
)
RESTORERS = (
    "espcn_x2", "cfsr_x2", "edsr_baseline_x2", "swinir_lightweight_sr_x2", "mambair_lightsr_x2", "mambair_realdn",
    "nafnet_sidd_width32", "tcsr_b_x2", "serpent_b", "medfe", "event_demosaic",
)  # fmt: skip
INTRODUCTION = """# Pictures of the models

What a model consists of, from top to bottom in the order in which it runs: the names of its parts, as they are in its
state dict, the shape that comes out for one image, without the batch, and the parameters. Small parts are drawn with
the one before. `python tools/draw_models.py` makes this page; for a model of your own:

```python
import torch
import foveal
from foveal.visualization.diagram import draw_model, model_parts

backbone = foveal.create_backbone("shvit_s1")
picture = draw_model("shvit_s1", model_parts(backbone, torch.zeros(1, 3, 224, 224)))
print(picture[:4], len(model_parts(backbone, torch.zeros(1, 3, 224, 224))), "parts")
```
"""


def draw_backbone(name: str) -> str:
    """Return the picture of a backbone."""
    return draw_model(name, model_parts(foveal.create_backbone(name), torch.zeros(1, 3, 224, 224)))


def draw_config(path: str) -> str:
    """Return the picture of a config's model, for 256 x 256 pixels or what its preprocessor asks for."""
    model = MODELS.build(load_config(f"{path}.py").model)
    return draw_model(path.partition("/")[2], model_parts(model, torch.zeros(1, 3, 256, 256), mode="tensor"))


def draw_restorer(name: str) -> str:
    """Return the picture of a restoration network."""
    network = foveal.create_restorer(name).generator
    size = 256 if name == "medfe" else 64
    return draw_model(name, model_parts(network, torch.zeros(1, getattr(network, "in_channels", 3), size, size)))


SECTIONS: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "Backbones": (draw_backbone, BACKBONES),
    "Detection, segmentation, depth": (draw_config, MODELS_OF_CONFIGS),
    "Restoration": (draw_restorer, RESTORERS),
}


def page() -> str:
    """Return the text of docs/models.md."""
    lines = [INTRODUCTION]
    for heading, (_, names) in SECTIONS.items():
        lines.append(f"## {heading}\n")
        for name in names:
            title = name.rpartition("/")[2]
            lines.append(f"### {title}\n\n![The parts of {title}](images/models/{title}.svg)\n")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Draw what matches, and write the page."""
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw, names in SECTIONS.values():
        for name in names:
            title = name.rpartition("/")[2]
            if fnmatchcase(title, pattern):
                print(title)
                (FOLDER / f"{title}.svg").write_text(draw(name))
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
