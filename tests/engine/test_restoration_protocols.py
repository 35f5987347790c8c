"""What tests of denoising and of JPEG artifacts begin with: the input's own score, which the protocols fix."""

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate

from foveal.config import load_config
from foveal.registry import DATASETS, METRICS

# a picture with noise of sigma 25 has 10 log10(255² / 25²) = 20.17 dB where nothing is clipped; it is, when scored
PROTOCOLS = {
    "configs/swinir/swinir_color_dn_noise25_mcmaster.py": (18, 20.17, 0.75),
    "configs/swinir/swinir_gray_dn_noise25_set12.py": (12, 20.17, 0.75),
    "configs/swinir/swinir_jpeg_car_q10_classic5.py": (5, 27.82, 0.02),  # the table of DnCNN and of all since
}


@pytest.mark.parametrize("path", PROTOCOLS)
def test_scores_of_the_input(path, shared):
    config = load_config(path, {"test_dataloader.dataset.data_root": str(shared / "data/sr")})
    dataset = DATASETS.build(config.test_dataloader.dataset)
    count, expected, tolerance = PROTOCOLS[path]
    assert len(dataset) == count
    metric = METRICS.build(config.test_evaluator[0])
    for i in range(min(count, 5)):
        item = dataset[i]
        image = item["inputs"].float() / 255
        item["data_samples"].pred_img = image.flip(0) if len(image) == 3 else image
        metric.process(None, [item["data_samples"].to_dict()])
    assert metric.evaluate(min(count, 5))["PSNR"] == pytest.approx(expected, abs=tolerance)
    again = DATASETS.build(config.test_dataloader.dataset)[0]["inputs"]
    assert np.array_equal(again, pseudo_collate([dataset[0]])["inputs"][0])
