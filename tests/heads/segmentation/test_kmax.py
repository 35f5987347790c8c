"""kMaX-DeepLab's head against the authors' code, its post-processing by hand, and awkward images."""

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from foveal.backbones import ResNet
from foveal.engine.checkpoint import load_state_dict
from foveal.errors import ConfigError, DataError
from foveal.heads.segmentation.kmax_fusion_head import KMaXFusionHead
from foveal.registry import MODELS
from foveal.structures import DataSample

SMALL = {
    "type": "KMaXDeepLabHead",
    "in_channels": (8, 8, 8, 8),
    "num_things_classes": 3,
    "num_stuff_classes": 2,
    "num_queries": 6,
    "pixel_decoder": {"dec_layers": (1, 1, 1, 1), "dec_channels": (8, 8, 8, 8)},
    "dec_layers": (1, 1, 1),
}


@pytest.fixture(scope="module")
def spec(recipe):
    return recipe.load("kmax_head")


@pytest.fixture(scope="module")
def head(spec, recipe):
    model = torch.nn.ModuleDict({"panoptic_head": MODELS.build(spec["config"]["head"])}).double().eval()
    assert load_state_dict(model, recipe.state_dict(spec, torch.float64)) == []
    return model["panoptic_head"]


def features(spec, recipe):
    return [recipe.tensor_input(spec["inputs"][f"feat{i}"], torch.float64) for i in range(4)]


def truths(spec, recipe):
    """Cells of four segments and of nothing; objects as masks, stuff in the label map."""
    samples = []
    height, width = spec["extra"]["size"]
    for i, labels in enumerate(spec["extra"]["labels"]):
        cells = recipe.tensor_input({"name": f"seg{i}", "shape": [17, 21], "kind": "uniform"}, torch.float64)
        cells = (cells * 5).floor().repeat_interleave(8, 0).repeat_interleave(8, 1)[:height, :width]
        seg = torch.full(cells.shape, 255)
        things = InstanceData(labels=torch.tensor(labels[:2]), masks=torch.stack([cells == 0, cells == 1]))
        for j in (2, 3):
            seg[cells == j] = labels[j]
        samples.append(DataSample(gt_instances=things, gt_sem_seg=PixelData(data=seg[None])))
    return samples


def test_outputs(spec, recipe, head):
    feats = features(spec, recipe)
    with torch.no_grad():
        said = head(feats)
        outputs = {f"class_logits_{i}": prediction.class_logits for i, prediction in enumerate(said)}
        outputs |= {"mask_logits": said[-1].mask_logits, "pixel_feature": said[-1].pixel_feature}
        outputs["semantic"] = head.predictor.semantic(feats)
    report = recipe.compare(outputs, spec)
    assert max(report.values()) <= 1e-6, report


def test_losses_and_gradients(spec, recipe, head):
    head.zero_grad()
    torch.manual_seed(spec["extra"]["loss_seed"])  # of random pixels
    losses = head.loss(features(spec, recipe), truths(spec, recipe))
    total = sum(losses.values())
    got = {key: value.item() for key, value in losses.items()} | {"total": total.item()}
    assert got == pytest.approx(spec["losses"], rel=1e-5)
    total.backward()
    norm = sum(float(p.grad.square().sum()) for p in head.parameters()) ** 0.5
    assert norm == pytest.approx(spec["grad_norm"], rel=1e-4)


def small_features(size=(64, 96)):
    return [torch.randn(2, 8, -(-size[0] // s), -(-size[1] // s)) for s in (4, 8, 16, 32)]


def sample(masks, labels, seg=None):
    things = InstanceData(labels=torch.tensor(labels, dtype=torch.long), masks=masks)
    return DataSample(
        gt_instances=things, gt_sem_seg=PixelData(data=torch.full((1, 64, 96), 255) if seg is None else seg)
    )


def test_an_image_without_segments_and_one_of_one_pixel():
    head = MODELS.build(SMALL).train()
    none = sample(torch.zeros(0, 64, 96, dtype=torch.bool), [])
    dot = torch.zeros(2, 64, 96, dtype=torch.bool)
    dot[0, 32, 32] = dot[1, 33, 33] = True  # the second is between the cells of the masks
    losses = head.loss(small_features(), [none, sample(dot, [0, 2])])
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_missing_masks_and_wrong_stages_are_named():
    head = MODELS.build(SMALL)
    with pytest.raises(DataError, match=r"a.jpg has no masks, and KMaXDeepLabHead needs them"):
        head.loss(small_features(), [DataSample(gt_instances=InstanceData(), metainfo={"img_path": "a.jpg"})] * 2)
    with pytest.raises(ConfigError, match="needs one of dec_layers, dec_channels and layer_types for each of the 3"):
        MODELS.build({**SMALL, "in_channels": (8, 8, 8)})
    with pytest.raises(ConfigError, match="layer_types are axial and bottleneck"):
        MODELS.build({**SMALL, "pixel_decoder": {"dec_channels": (8,) * 4, "layer_types": ("axial",) * 3 + ("conv",)}})


def test_axes_that_are_too_long_are_named():
    head = MODELS.build(SMALL).eval()
    with pytest.raises(DataError, match="axial attention reaches 255 cells, got an axis of 300"):
        head(
            [
                torch.zeros(1, 8, 2, 2400),
                torch.zeros(1, 8, 1, 1200),
                torch.zeros(1, 8, 1, 600),
                torch.zeros(1, 8, 1, 300),
            ]
        )


def test_panoptic_map_by_hand():
    fusion = KMaXFusionHead(2, 2)
    # columns 0 to 5; query 1 is the better thing, 0 loses most of its mask to it, 2 and 3 are one stuff, 4 is unsure
    masks = torch.tensor(
        [
            [0.45, 0.45, 0.00, 0.0, 0.0, 0.0],
            [0.55, 0.55, 0.90, 0.0, 0.0, 0.0],
            [0.00, 0.00, 0.10, 0.9, 0.0, 0.0],
            [0.00, 0.00, 0.00, 0.1, 0.8, 0.0],
            [0.00, 0.00, 0.00, 0.0, 0.2, 1.0],
        ]
    )[:, None]
    classes = torch.tensor(
        [[0.8, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0.6, 0], [0, 0, 0.55, 0], [0.69, 0, 0, 0]], dtype=torch.float32
    )
    assert fusion.panoptic(classes, masks).tolist() == [[1001, 1001, 1001, 2, 2, 4]]


def test_objects_by_hand():
    fusion = KMaXFusionHead(2, 1, {"panoptic_on": False, "instance_on": True, "max_per_image": 3})
    # two queries share three columns; the third class is stuff, which takes one of the three places
    shares = torch.tensor([[0.75, 0.5, 0.1], [0.25, 0.5, 0.9]])[:, None]
    classes = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.05, 0.2, 0.6, 0.15]])
    found = DataSample(metainfo={"img_shape": (1, 3), "ori_shape": (1, 3)})
    fusion.predict(classes.log()[None], shares.log()[None], [found])
    objects = found.pred_instances
    assert objects.labels.tolist() == [0, 1] and "pred_panoptic_seg" not in found
    assert objects.masks.tolist() == [[[True, True, False]]] * 2
    assert objects.bboxes.tolist() == [[0, 0, 2, 1]] * 2
    torch.testing.assert_close(objects.scores, torch.tensor([0.5, 0.3]) * 0.625)


def test_two_objects_of_one_class_have_two_numbers():
    fusion = KMaXFusionHead(1, 0, {"semantic_on": True})
    scores = torch.tensor([[[9.0, 0.0], [8.0, 0.0]]])
    masks = torch.tensor([[[[9.0, 9, -9, -9]], [[-9.0, -9, 9, 9]]]])
    found = DataSample(metainfo={"img_shape": (1, 4), "ori_shape": (2, 8)})
    fusion.predict(scores, masks, [found])
    assert found.pred_panoptic_seg.sem_seg.unique().tolist() == [1000, 2000]
    assert found.pred_panoptic_seg.sem_seg.shape == (1, 2, 8) and not found.pred_sem_seg.data.any()


def test_detectron2s_names_of_a_resnet():
    network = ResNet(50)
    official = {}
    for key, value in network.state_dict().items():
        stage = key.split(".")[0]
        name = key.replace(stage, f"res{int(stage[5:]) + 1}", 1) if stage.startswith("layer") else f"stem.{key}"
        for i in (1, 2, 3):
            name = name.replace(f"bn{i}.", f"conv{i}.norm.")
        official[
            f"backbone.{name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')}"
        ] = value
    assert "backbone.res2.0.shortcut.norm.weight" in official and "backbone.stem.conv1.norm.bias" in official
    assert load_state_dict(torch.nn.ModuleDict({"backbone": ResNet(50)}), official) == []
