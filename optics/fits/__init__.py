"""Fits: emitters located by maximum likelihood, and where to begin."""
