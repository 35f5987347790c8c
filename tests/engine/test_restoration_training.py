"""Trained from scratch by the shipped configs, in at most ten minutes of one core, networks beat bicubic on Set5."""

import time

import pytest

from foveal.engine.launch import train

# on the 8-bit files of Set5, x2, luma: tests/evaluation/test_psnr_ssim.py
BICUBIC = 33.67
# one core, measured: ESPCN 35.30 dB, 1.63 above bicubic, in 2.1 minutes; CFSR 36.37 dB, 2.70
# above, in 2.5 to 2.9 minutes
WANTED = [("configs/espcn/espcn_x2_coco128.py", 1.5), ("configs/cfsr/cfsr_c16_x2_coco128.py", 2.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "wanted"), WANTED)
def test_beats_bicubic(path, wanted, shared, tmp_path, record_property):
    options = {
        "train_dataloader.dataset.data_root": str(shared / "data/coco128"),
        "val_dataloader.dataset.data_root": str(shared / "data/sr/Set5"),
        "test_dataloader.dataset.data_root": str(shared / "data/sr/Set5"),
    }
    start = time.process_time()
    runner = train(path, work_dir=str(tmp_path), options=options)
    minutes = (time.process_time() - start) / 60
    reached = float(runner.message_hub.get_scalar("val/PSNR_Y").current())
    record_property("psnr_y", reached)
    print(f"{path}: {reached:.2f} dB, {reached - BICUBIC:+.2f} dB to bicubic, in {minutes:.1f} CPU minutes")
    assert reached >= BICUBIC + wanted
    assert minutes <= 10
