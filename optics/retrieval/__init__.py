"""Calibration: a PSF retrieved from bead stacks."""
