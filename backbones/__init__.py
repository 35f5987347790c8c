"""Backbones: one file a family. Importing this folder registers them."""
