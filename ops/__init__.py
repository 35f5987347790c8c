"""Operators; they need torch alone."""
