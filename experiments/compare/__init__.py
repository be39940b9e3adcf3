"""Masks compared, one decoder for each: run, score, report."""
