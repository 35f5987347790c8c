"""Parameters of every official classification network, against the published counts."""

import pytest
import torch

from foveal.models.classifier import ImageClassifier
from foveal.zoo.create import classifier_nodes, find_variant

# exact where the official code gives a number, which rounds to what the paper or the README prints
PUBLISHED = {
    "convnext_isotropic_base": 87_083_752,
    "convnext_isotropic_small": 22_308_712,
    "cvt_13": 19_997_480,
    "cvt_13_384": 19_997_480,
    "cvt_w24_384": 277_196_392,
    "cvt_21": 31_622_696,
    "cvt_w24": 277_196_392,
    "dinat_mini": 19_984_174,
    "dinat_tiny": 27_901_582,
    "dinat_small": 50_719_681,
    "dinat_base": 89_769_652,
    "dinat_large": 200_943_514,
    "dinat_large_384": 200_943_514,
    "dinat_s_tiny": 28_288_354,
    "dinat_s_small": 49_606_258,
    "dinat_s_base": 87_768_224,
    "dinat_s_large": 196_532_476,
    "dinat_s_large_384": 196_532_476,
    "efficientvim_m1": 6_679_458,
    "efficientvim_m2": 13_903_842,
    "efficientvim_m3": 16_604_174,
    "efficientvim_m4": 19_606_505,
    "efficientvim_m1_dist": 7_643_462,
    "hornet_tiny_7x7": 22_409_512,
    "hornet_tiny_gf": 22_991_848,
    "hornet_small_7x7": 49_528_264,
    "hornet_small_gf": 50_401_768,
    "hornet_base_7x7": 87_256_680,
    "hornet_base_gf": 88_421_352,
    "hornet_base_gf_img384": 92_099_560,
    "hornet_large_7x7": 194_542_504,
    "hornet_large_gf": 196_289_512,
    "hornet_large_gf_img384": 201_806_824,
    "inceptionnext_atto": 4_156_520,
    "inceptionnext_tiny": 28_055_680,
    "inceptionnext_small": 49_374_016,
    "inceptionnext_base": 86_672_136,
    "mit_b0": 3_576_392,
    "mit_b1": 13_664_424,
    "mit_b2": 24_709_288,
    "mit_b3": 44_585_128,
    "mit_b4": 61_355_688,
    "mit_b5": 81_956_008,
    "mobilenet_v2": 3_504_872,
    "nat_mini": 19_984_174,
    "nat_tiny": 27_901_582,
    "nat_small": 50_743_297,
    "nat_base": 89_769_652,
    "shvit_s1": 6_330_808,
    "shvit_s2": 11_483_072,
    "shvit_s3": 14_245_273,
    "shvit_s4": 16_588_484,
    "swin_tiny": 28_288_354,
    "swin_small": 49_606_258,
    "swin_base": 87_768_224,
    "swin_base_window12": 87_903_584,
    "swin_large": 196_532_476,
    "swin_large_window12": 196_735_516,
    "transnext_micro": 12_809_304,
    "transnext_micro_AAAA": 13_114_008,
    "transnext_tiny": 28_258_960,
    "transnext_small": 49_741_564,
    "transnext_base": 89_721_496,
    "unireplknet_a": 4_649_060,
    "unireplknet_f": 6_489_328,
    "unireplknet_p": 11_080_520,
    "unireplknet_n": 18_818_880,
    "unireplknet_t": 31_693_420,
    "unireplknet_s": 56_456_704,
    "unireplknet_b": 99_089_416,
    "unireplknet_l": 220_076_056,
    "unireplknet_xl": 388_690_984,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_as_published(name):
    with torch.device("meta"):
        model = ImageClassifier(**classifier_nodes(find_variant(name), {}))
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
