"""``python tools/predict.py …`` is ``foveal predict …``; see ``--help``."""

import sys

from foveal.cli import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
