"""A number where a dict belongs, and the like, is one sentence with file and line."""

import pytest

from foveal.config import load_config
from foveal.errors import ConfigError
from tests.config.test_check import BASE


@pytest.mark.parametrize(
    ("line", "key", "wanted"),
    [
        ("custom_hooks = dict(type='EMAHook')", "custom_hooks", "a list, got {'type': 'EMAHook'}"),
        ("train_cfg = 3", "train_cfg", "a dict, got 3"),
        ("default_hooks = [1]", "default_hooks", "a dict, got [1]"),
        ("default_hooks = dict(checkpoint=5)", "default_hooks.checkpoint", "a dict with 'type', got 5"),
        ("param_scheduler = 'poly'", "param_scheduler", "a dict or a list of dicts, got 'poly'"),
        ("randomness = None", "randomness", "a dict, got None"),
        ("log_level = 'LOUD'", "log_level", "one of DEBUG, INFO, WARNING, ERROR, got 'LOUD'"),
        ("train_cfg = dict(max_iters='9')", "train_cfg.max_iters", "a whole number, at least 1, got '9'"),
        ("train_dataloader = dict(batch_size=0)", "train_dataloader.batch_size", "a whole number, at least 1, got 0"),
        ("train_dataloader = dict(dataset=None)", "train_dataloader.dataset", "a dict with 'type', got None"),
        ("train_dataloader = dict(sampler='x')", "train_dataloader.sampler", "a dict with 'type', got 'x'"),
        ("optim_wrapper = dict(optimizer='SGD')", "optim_wrapper.optimizer", "a dict with 'type', got 'SGD'"),
    ],
)
def test_what_is_not_what_belongs_there(line, key, wanted, tmp_path):
    path = tmp_path / "x.py"
    path.write_text(f"{BASE}\n{line}\n")
    number = BASE.count("\n") + 2
    with pytest.raises(ConfigError) as found:
        load_config(path)
    assert str(found.value) == f"{key} ({path}:{number}) must be {wanted}"


def test_an_evaluator_in_a_list_is_a_dict(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(f"{BASE}\nval_evaluator = [1]\n")
    with pytest.raises(ConfigError, match=r"val_evaluator\.0: expected a dict with 'type', got 1"):
        load_config(path)


def test_a_sampler_of_batches_has_their_size(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(BASE.replace("batch_size=2", "batch_size=None, batch_sampler=dict(type='AspectRatioBatchSampler')"))
    assert load_config(path).train_dataloader.batch_size is None
    path.write_text(BASE.replace("batch_size=2", "batch_size=None"))
    with pytest.raises(ConfigError, match=r"batch_size .* must be a whole number"):
        load_config(path)
