"""Every config: its words are known, and its model computes."""

from pathlib import Path

import pytest
import torch

from foveal.config import load_config
from foveal.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent.parent
# tests/test_demo.py runs those of the demo
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.py")
    if not {"_base_", "demo"} & set(path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("path", CONFIGS)
def test_model_is_built_and_runs(path):
    config = load_config(str(ROOT / path))
    config.model.pop("pretrained", None)
    with torch.device("meta"):
        model = MODELS.build(config.model).eval()
        outputs = model(torch.zeros(1, 3, 64, 64), mode="tensor")
    assert all(x.device.type == "meta" for x in (outputs if isinstance(outputs, tuple | list) else [outputs]))
