"""``python tools/export.py …`` is ``foveal export …``; see ``--help``."""

import sys

from foveal.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
