"""Cameras from their own frames: gain, offset, noise."""
