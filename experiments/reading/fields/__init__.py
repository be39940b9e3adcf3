"""Aberrations that change over the camera's field: each window of a frame is read with the PSF of its place."""
