"""Mistakes in configs: found before anything is built, named with file, line, key and the nearest right word."""

import pytest

from foveal.config import load_config
from foveal.errors import ConfigError

BASE = """
norm = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNet', depth=18, norm_cfg=norm),
    decode_head=dict(type='FCNHead', channels=4, num_classes=3),
    test_cfg=dict(mode='whole'),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ImageFolder', data_root='data', pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    ),
)
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=5, convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='EMAHook', momentum=0.01, priority='NORMAL')]
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.py"
    path.write_text(BASE)
    return path


def child(base, text):
    path = base.parent / "child.py"
    path.write_text(f"_base_ = ['base.py']\n{text}\n")
    return path


def test_a_right_config_passes(base):
    config = load_config(base)
    assert config.model.backbone.depth == 18
    assert config.default_scope == "foveal"


def test_what_is_taken_before_the_call_passes(base):
    text = """
norm = dict(type='SyncBN', requires_grad=True)
model = dict(backbone=dict(norm_cfg=norm))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.0))))
"""
    assert load_config(child(base, text)).optim_wrapper.paramwise_cfg.custom_keys.norm.decay_mult == 0.0
    with pytest.raises(ConfigError, match="paramwise_cfg"):
        load_config(child(base, "optim_wrapper = dict(optimizer=dict(paramwise_cfg=dict()))"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = dict(backbone=dict(type='ResNett'))", ["child.py:2", "model.backbone", "'ResNett'", "ResNet"]),
        ("model = dict(backbone=dict(dept=50))", ["child.py:2", "model.backbone.dept", "'depth'"]),
        ("model = dict(bakbone=dict(depth=50))", ["child.py:2", "model.bakbone", "'backbone'"]),
        ("optm_wrapper = dict(clip_grad=None)", ["child.py:2", "optm_wrapper", "'optim_wrapper'"]),
        ("model = dict(test_cfg=dict(modee='slide'))", ["model.test_cfg.modee", "'mode'"]),
        ("train_dataloader = dict(batchsize=4)", ["train_dataloader.batchsize", "'batch_size'"]),
        ("train_cfg = dict(max_epoch=4)", ["train_cfg.max_epoch", "'max_epochs'"]),
        ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage')]))",
         ["child.py:2", "train_dataloader.dataset.pipeline.0", "'LoadImage'", "LoadImageFromFile"]),
        ("custom_hooks = [dict(type='CheckInvalidLossHook', interval_=1)]", ["custom_hooks.0", "'interval_'"]),
        ("optim_wrapper = dict(optimizer=dict(type='SDG'))", ["optim_wrapper.optimizer", "'SDG'", "SGD"]),
        ("optim_wrapper = dict(constructor='LearningRateDecayConstructor')",
         ["child.py:2", "optim_wrapper", "LearningRateDecayOptimizerConstructor"]),
        ("custom_hooks = ['EMAHook']", ["custom_hooks.0", "expected a dict with 'type'", "'EMAHook'"]),
        ("randomness = dict(sed=1)", ["randomness", "'sed'", "'seed'"]),
        ("model = dict(", ["child.py", "never closed"]),
        ("x = undefined_name", ["child.py", "undefined_name"]),
    ],
)  # fmt: skip
def test_mistakes_in_a_child_are_named(base, text, words):
    with pytest.raises(ConfigError) as error:
        load_config(child(base, text))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "model = dict(backbone=dict(frozen_stages=1))",  # an argument the base left at its default
        "lr = 0.3\noptim_wrapper = dict(optimizer=dict(lr=lr))",  # a helper variable
        "model = dict(backbone=dict(_delete_=True, type='ConvNeXt', arch='tiny'))",
        "resume = True",
        "val_dataloader = dict(batch_size=1, dataset=dict(type='ImageFolder'))",
        "model = dict(test_cfg=dict(another=1))",
        "default_hooks = dict(logger=dict(type='LoggerHook', interval=5))",
    ],
)
def test_useful_additions_pass(base, text):
    load_config(child(base, text))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"optm_wrapper.lr": 1}, ["optm_wrapper.lr", "optim_wrapper"]),
        ({"model.backbone.dept": 1}, ["model.backbone.dept", "model.backbone.depth"]),
        ({"model.test_cfg.other": 1}, ["model.test_cfg", "'other'"]),
        ({"custom_hooks.3.momentum": 1}, ["custom_hooks", "1 entries"]),
        ({"train_cfg.max_epochs.x": 1}, ["train_cfg.max_epochs", "'x'"]),
        ({"norm": dict(type="GN")}, ["norm", "no effect", "model.backbone.norm_cfg"]),
        ({"model.backbone.type": "Resnet"}, ["model.backbone", "--cfg-options", "ResNet"]),
    ],
)
def test_options_that_override_nothing(base, option, words):
    with pytest.raises(ConfigError) as error:
        load_config(base, option)
    for word in words:
        assert word in str(error.value)


def test_options_override(base):
    options = {"model.backbone.depth": 50, "model.backbone.style": "caffe", "custom_hooks.0.momentum": 0.5}
    config = load_config(base, options)
    assert (config.model.backbone.depth, config.model.backbone.style) == (50, "caffe")
    assert config.custom_hooks[0].momentum == 0.5


def test_a_config_of_another_toolbox_is_warned_not_refused(base):
    config = load_config(child(base, "default_scope = 'mmdet'\nimg_norm_cfg = dict(mean=1)"))
    assert config.default_scope == "foveal"


def test_missing_config_names_the_nearest(base):
    with pytest.raises(ConfigError, match=r"bas\.py does not exist; nearest names: .*base\.py"):
        load_config(base.parent / "bas.py")
    (base.parent / "orphan.py").write_text("_base_ = ['gone.py']")
    with pytest.raises(ConfigError, match=r"gone\.py"):
        load_config(base.parent / "orphan.py")


def test_an_option_of_another_kind_is_named(tmp_path):
    (tmp_path / "config.py").write_text("optim_wrapper = dict(clip_grad=None)\n")
    with pytest.raises(ConfigError, match=r"--cfg-options: clip_grad=.* of the options cannot inherit .*_delete_=True"):
        load_config(tmp_path / "config.py", {"optim_wrapper.clip_grad": {"max_norm": 1.0}})
