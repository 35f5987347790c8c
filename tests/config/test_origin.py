"""Every key of a resolved config knows the file and line that gave it its value."""

from pathlib import Path

from foveal.config import diff_configs, load_config, show_config
from foveal.config.origin import flatten, origin_of, trace

GRANDPARENT = """\
rate = 0.1
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=rate, momentum=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1),
    dict(type='MultiStepLR', milestones=[8, 11]),
]
"""
PARENT = """\
_base_ = 'grandparent.py'
optim_wrapper = dict(optimizer=dict(lr=0.2))
env_cfg = {'cudnn_benchmark': True}
"""
CHILD = """\
_base_ = ['parent.py']
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW',
                   lr=0.3),
)
env_cfg = dict(cudnn_benchmark=False)
"""


def write(folder: Path):
    for name, text in (("grandparent", GRANDPARENT), ("parent", PARENT), ("child", CHILD)):
        (folder / f"{name}.py").write_text(text)


def place(path, *key):
    origin = origin_of(key, trace(path))
    return Path(origin.file).name, origin.line


def test_values_are_traced_through_bases(tmp_path):
    write(tmp_path)
    parent = tmp_path / "parent.py"
    assert place(parent, "optim_wrapper", "optimizer", "lr") == ("parent.py", 2)
    assert place(parent, "optim_wrapper", "optimizer", "momentum") == ("grandparent.py", 2)
    assert place(parent, "param_scheduler", 1, "milestones") == ("grandparent.py", 5)
    assert place(parent, "env_cfg", "cudnn_benchmark") == ("parent.py", 3)


def test_delete_forgets_the_base(tmp_path):
    write(tmp_path)
    child = tmp_path / "child.py"
    assert place(child, "optim_wrapper", "optimizer", "lr") == ("child.py", 4)
    # momentum was in the base's optimizer, which is gone: what is known is the dict that replaced it
    assert place(child, "optim_wrapper", "optimizer", "momentum")[0] == "child.py"
    assert place(child, "optim_wrapper", "type") == ("grandparent.py", 2)


def test_every_shown_line_has_its_place(tmp_path):
    write(tmp_path)
    parent = tmp_path / "parent.py"
    lines = list(show_config(parent, {"optim_wrapper.optimizer.lr": 5}))
    leaves = flatten(load_config(parent)._cfg_dict.to_dict())
    assert len(lines) == len(leaves)
    (rate,) = [line for line in lines if line.startswith("optim_wrapper.optimizer.lr")]
    assert rate.split("#")[0].strip() == "optim_wrapper.optimizer.lr = 5" and rate.endswith("--cfg-options")
    (steps,) = [line for line in lines if "milestones" in line]
    assert "[8, 11]" in steps and steps.endswith("grandparent.py:5")


def test_what_foveal_fills_in_is_called_default(tmp_path):
    write(tmp_path)
    (tmp_path / "hooks.py").write_text("default_hooks = dict(logger=dict(type='LoggerHook', interval=5))")
    places = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in show_config(tmp_path / "hooks.py")}
    assert places["default_hooks.logger.interval"].endswith("hooks.py:1")
    assert places["default_hooks.loss_check.type"] == places["visualizer.type"] == "default"


def test_diff_lists_only_differences(tmp_path):
    write(tmp_path)
    lines = list(diff_configs(tmp_path / "grandparent.py", tmp_path / "parent.py"))
    keys = {line.split(" = ")[0] for line in lines}
    assert keys == {
        "- optim_wrapper.optimizer.lr",
        "+ optim_wrapper.optimizer.lr",
        "+ env_cfg.cudnn_benchmark",
    }
    assert list(diff_configs(tmp_path / "parent.py", tmp_path / "parent.py")) == []
