"""--amp on a machine without a GPU trains in bfloat16 and keeps float32 weights."""

import torch
from torch import nn

from foveal.engine.cpu_amp import CpuAmpOptimWrapper


def test_forward_is_bfloat16_and_weights_stay_float32():
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    wrapper = CpuAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), clip_grad={"max_norm": 1.0})
    with wrapper.optim_context(model):
        out = model(torch.ones(3, 4))
        assert out.dtype == torch.bfloat16
        loss = out.float().square().sum()
    wrapper.update_params(loss)
    assert model.weight.dtype == torch.float32 and not torch.equal(model.weight, before)


def test_the_flag_chooses_it(foveal_command, toy_config, tmp_path):
    words = ["train", toy_config, "--amp", "--work-dir", tmp_path, "--cfg-options", "train_cfg.max_epochs=1"]
    foveal_command(*words)
    assert "CpuAmpOptimWrapper" in next(tmp_path.glob("*/vis_data/config.py")).read_text()
    assert (tmp_path / "last_checkpoint").is_file()
