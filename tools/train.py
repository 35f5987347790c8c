"""``python tools/train.py …`` is ``foveal train …``; see ``--help``."""

import sys

from foveal.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
