"""Mistakes of a user that one sentence explains; the command line prints that sentence and exits with code 2."""


class FovealError(Exception):
    """Something outside the program is wrong: a config, a file, a checkpoint. The message says what and where."""


class ConfigError(FovealError, ValueError):
    """A config names something that does not exist, or gives a component an argument it does not take."""


class DataError(FovealError, ValueError):
    """A data file is missing, unreadable or contradicts its annotations."""


class CheckpointError(FovealError, ValueError):
    """A checkpoint cannot be read, is unsafe, or does not fit the model."""


class NonFiniteLossError(FovealError, FloatingPointError):
    """A loss became NaN or infinite."""


class ExportError(FovealError, RuntimeError):
    """A model cannot be written in a format, or what was written cannot be run."""


class SystemFault(FovealError, RuntimeError):
    """The system refused something or ended a process of ours."""
