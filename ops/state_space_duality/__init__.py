"""State-space duality without an order of positions: the form of Mamba-2's layer that EfficientViM mixes in."""

from foveal.ops.state_space_duality.functional import ssd_hidden_state
from foveal.ops.state_space_duality.module import HSMSSD
from foveal.ops.state_space_duality.reference import ssd_hidden_state_reference

__all__ = ["HSMSSD", "ssd_hidden_state", "ssd_hidden_state_reference"]
