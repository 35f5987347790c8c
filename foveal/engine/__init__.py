"""Running a config: mmengine's Runner, our checkpoints, loops and hooks."""

from foveal.engine.checkpoint_hook import CheckpointHook
from foveal.engine.cpu_amp import CpuAmpOptimWrapper
from foveal.engine.exp_momentum_ema import ExpMomentumEMA
from foveal.engine.image_scores_hook import ImageScoresHook
from foveal.engine.iter_timer_hook import IterTimerHook
from foveal.engine.late_augmentation_hooks import PipelineSwitchHook, YOLOXModeSwitchHook
from foveal.engine.layer_decay import LearningRateDecayOptimizerConstructor
from foveal.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from foveal.engine.loss_check_hook import CheckInvalidLossHook
from foveal.engine.num_class_check_hook import NumClassCheckHook
from foveal.engine.prediction_writer import PredictionWriterHook
from foveal.engine.progress_hook import ProgressHook
from foveal.engine.progressive_patch_hook import ProgressivePatchHook
from foveal.engine.quadratic_warmup import QuadraticWarmupLR
from foveal.engine.run_record_hook import RunRecordHook
from foveal.engine.runner import Runner
from foveal.engine.sync_norm_hook import SyncNormHook

__all__ = [
    "CheckInvalidLossHook",
    "CheckpointHook",
    "CpuAmpOptimWrapper",
    "EpochBasedTrainLoop",
    "ExpMomentumEMA",
    "ImageScoresHook",
    "IterBasedTrainLoop",
    "IterTimerHook",
    "LearningRateDecayOptimizerConstructor",
    "NumClassCheckHook",
    "PipelineSwitchHook",
    "PredictionWriterHook",
    "ProgressHook",
    "ProgressivePatchHook",
    "QuadraticWarmupLR",
    "RunRecordHook",
    "Runner",
    "SyncNormHook",
    "YOLOXModeSwitchHook",
]
