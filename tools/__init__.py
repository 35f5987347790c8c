"""Scripts; each is a few lines over `foveal.cli`."""
