"""``compile`` of a config: the network is compiled, the step around it is not, and learns the same."""

import pytest
import torch

from foveal.engine.checkpoint import load_checkpoint
from foveal.errors import ConfigError
from tests.config.short_runs import prepared, run

CONFIG = "configs/retinanet/retinanet_r18_fpn_1x_coco.py"


def test_a_compiled_network_learns_the_same(tmp_path):
    file = prepared(CONFIG, tmp_path)
    run(file, "plain")
    runner = run(file, "compiled", compile={"backend": "eager"})
    compiled = {name for name, module in runner.model.named_modules() if module._compiled_call_impl is not None}
    assert compiled == {"backbone", "neck"}
    plain, same = (load_checkpoint(tmp_path / name / "iter_4.pth")["state_dict"] for name in ("plain", "compiled"))
    assert list(plain) == list(same)
    for name, value in plain.items():
        torch.testing.assert_close(same[name], value, msg=name)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("fast", "compile must be True or a dict of arguments of torch.compile, got 'fast'"),
        ({"backend": "nonsense"}, r"compile=\{'backend': 'nonsense'\}: .*nonsense"),
        ({"speed": 1}, r"compile=\{'speed': 1\}: .*speed"),
    ],
)
def test_what_torch_does_not_take_is_a_sentence(options, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        run(prepared(CONFIG, tmp_path), "run", compile=options)
