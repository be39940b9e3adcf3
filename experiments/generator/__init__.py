"""The learned generator of scenes: fit, sample, report."""
