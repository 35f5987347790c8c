"""What a training step asks a device for: each such question stops it until all queued work is done.

On the CPU, operations whose result the host must know are counted as they are dispatched; on a GPU, torch does.
"""

import traceback
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import InstanceData, PixelData
from torch.utils._python_dispatch import TorchDispatchMode

import foveal
from foveal.config import load_config
from foveal.registry import MODELS
from foveal.structures import DataSample
from tests.models.small_detectors import small_detector

ROOT = Path(__file__).resolve().parent.parent.parent
ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
# of every detector: labels and boxes of the images are looked at once, before the forward pass
CHECK = "check_labels"
DETECTORS = {
    "retinanet/retinanet_r18_fpn_1x_coco": 1,
    "fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco": 1,
    "atss/atss_r50_fpn_1x_coco": 1,
    "rtmdet/rtmdet_tiny_8xb32-300e_coco": 1,
    "centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco": 1,
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco": 1,
    "dino/dino-4scale_r50_8xb2-12e_coco": 1,
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco": 1,
    "mamba_yolo/mamba_yolo_t_8xb64-300e_coco": 2,  # and the points that are trained
    "yolox/yolox_tiny_8xb8-300e_coco": 4,  # and the same, and one_hot's on a CPU
}
SEGMENTORS = ("upernet/upernet_r50_4xb4-160k_ade20k-512x512", "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512")


class Questions(TorchDispatchMode):
    """Notes the line of ours that asks, for every operation that does."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in ASKING or masked:
            ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(str(ROOT))]
            # an environment may lie in the repository
            ours = [frame for frame in ours if not {"tests", "site-packages"} & set(Path(frame.filename).parts)]
            self.found.append(f"{name} in {Path(ours[-1].filename).name}, {ours[-1].name}: {ours[-1].line}")
        return function(*args, **(kwargs or {}))


def detection_batch(device="cpu"):
    samples = []
    for number in range(2):
        boxes = torch.tensor([[8.0, 10, 90, 84], [20, 21, 60, 72]])[: number + 1]
        masks = torch.zeros(len(boxes), 128, 128, dtype=torch.bool)
        masks[:, 20:60, 20:50] = True
        truth = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long), masks=masks)
        empty = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long), masks=masks[:0])
        meta = {"img_path": "a.jpg", "img_shape": (128, 128), "ori_shape": (128, 128), "scale_factor": (1.0, 1.0)}
        samples.append(DataSample(gt_instances=truth, ignored_instances=empty, metainfo=meta))
    images = [torch.randint(0, 255, (3, 128, 128), dtype=torch.uint8) for _ in samples]
    return {"inputs": images, "data_samples": samples}


def segmentation_batch():
    meta = {"img_shape": (128, 128), "ori_shape": (128, 128)}
    samples = [DataSample(gt_sem_seg=PixelData(data=torch.randint(0, 150, (1, 128, 128))), metainfo=meta) for _ in "ab"]
    return {"inputs": [torch.randint(0, 255, (3, 128, 128), dtype=torch.uint8) for _ in "ab"], "data_samples": samples}


def questions(model, batch):
    data = model.data_preprocessor(batch, training=True)
    with Questions() as asked:
        model.parse_losses(model(**data, mode="loss"))
    return asked.found


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_asks_once(name):
    model = revert_sync_batchnorm(small_detector(name)).train()
    found = questions(model, detection_batch())
    assert len(found) == DETECTORS[name], found
    assert sum(CHECK in line for line in found) == 1


def test_a_two_stage_detector_asks_where_the_number_of_regions_is_its_matter():
    model = revert_sync_batchnorm(small_detector("mask_rcnn/mask-rcnn_r50_fpn_1x_coco")).train()
    found = questions(model, detection_batch())
    files = {line.partition(" in ")[2].partition(",")[0] for line in found}
    assert files == {
        "detector.py", "post_processing.py", "sampling.py", "roi_extractor.py", "roi_align.py", "mask_head.py",
        "bbox_head.py",
    }  # fmt: skip
    elsewhere = [line for line in found if "roi_align.py" not in line]
    assert len(elsewhere) <= 40, elsewhere


@pytest.mark.parametrize("name", SEGMENTORS)
def test_a_segmentor_never_asks(name):
    node = load_config(ROOT / "configs" / f"{name}.py").model
    node.backbone.pop("init_cfg", None)
    model = revert_sync_batchnorm(MODELS.build(node)).train()
    assert questions(model, segmentation_batch()) == []


@pytest.mark.parametrize("name", ["cfsr_x2", "swinir_lightweight_sr_x2", "mambair_lightsr_x2"])
def test_a_restorer_never_asks(name):
    model = foveal.create_restorer(name).train()
    samples = [DataSample(gt_img=torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)) for _ in "ab"]
    batch = {"inputs": [torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8) for _ in "ab"], "data_samples": samples}
    assert questions(model, batch) == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in DETECTORS if name.startswith(("retinanet", "fcos", "rtmdet"))])
def test_on_a_gpu_torch_counts_the_same(name):
    model = small_detector(name).cuda().train()
    for _ in range(2):  # the first run makes what is kept, such as anchors
        data = model.data_preprocessor(detection_batch(), training=True)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model.parse_losses(model(**data, mode="loss"))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    asked = [str(w.message) for w in caught if "synchronizing CUDA operation" in str(w.message)]
    assert len(asked) == DETECTORS[name], asked
