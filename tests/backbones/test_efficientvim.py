"""What is special to EfficientViM."""

import pytest
import timm
import torch

from foveal.zoo import create_backbone, create_classifier


@pytest.mark.parametrize("name", ["efficientvim_m1", "efficientvim_m1_dist"])
def test_reads_timms_file(name, tmp_path):
    theirs = timm.create_model(name, num_classes=5).eval()
    for value in theirs.parameters():
        torch.nn.init.normal_(value, std=0.2)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    ours = create_classifier(name, tmp_path / "timm.pth", num_classes=5).eval()
    backbone = create_backbone("efficientvim_m1", tmp_path / "timm.pth", out_indices=(0, 2)).eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
        maps = theirs.forward_intermediates(x, indices=[0, 2], intermediates_only=True)
        for got, want in zip(backbone(x), maps, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_a_distilled_file_needs_the_distilled_name(tmp_path):
    model = create_classifier("efficientvim_m1", distillation=True)
    keys = {
        key.removeprefix("backbone.").removeprefix("head.tail."): value for key, value in model.state_dict().items()
    }
    torch.save({"model": keys}, tmp_path / "dist.pth")
    assert create_classifier("efficientvim_m1_dist", tmp_path / "dist.pth").head.tail.distillation
    with pytest.raises(ValueError, match=r"(?s)unexpected .*heads_dist.*its shapes are those of efficientvim_m1_dist"):
        create_classifier("efficientvim_m1", tmp_path / "dist.pth")


def test_every_parameter_of_the_classifier_learns():
    model = create_classifier("efficientvim_m1_dist", num_classes=3).train()
    model(torch.randn(2, 3, 128, 128)).square().sum().backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []


def test_the_classifier_needs_all_stages():
    with pytest.raises(ValueError, match=r"out_indices must be \(0, 1, 2\)"):
        create_classifier("efficientvim_m1", out_indices=(2,))
