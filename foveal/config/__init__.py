"""Configs: reading, checking, showing."""

from foveal.config.load import load_config
from foveal.config.show import diff_configs, show_config

__all__ = ["diff_configs", "load_config", "show_config"]
