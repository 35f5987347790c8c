"""``python tools/test.py …`` is ``foveal test …``; see ``--help``."""

import sys

from foveal.cli import main

if __name__ == "__main__":
    main(["test", *sys.argv[1:]])
