"""The command line in a forked process: imported once by the server that the processes are forked from."""

import os
import sys

import torch

from foveal.cli import main
from foveal.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

for registry in (DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS):
    registry.import_from_location()


def run(words, out, err, environment):
    """Be ``foveal WORDS``, with its output in two files."""
    os.environ.update(environment)
    for file, stream in ((out, sys.stdout), (err, sys.stderr)):
        stream.flush()
        with open(file, "wb") as target:
            os.dup2(target.fileno(), stream.fileno())
    torch.set_num_threads(1)
    sys.argv = ["foveal", *words]
    main()
