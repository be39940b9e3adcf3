"""Drift of the sample: estimated from a list and taken off."""
