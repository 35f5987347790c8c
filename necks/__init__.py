"""Necks: from a backbone's feature maps to those that a head reads."""
