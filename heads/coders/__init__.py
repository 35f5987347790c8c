"""Coders."""
