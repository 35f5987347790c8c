#!/usr/bin/env bash
# tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py …]: one machine; docs/scaling.md has several.
torchrun --standalone --nproc-per-node "$2" "$(dirname "$0")/train.py" "$1" --launcher pytorch "${@:3}"
