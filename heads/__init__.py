"""Heads: raw outputs, losses and predictions from feature maps; and what several heads share."""
