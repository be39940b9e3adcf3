"""Frames in pieces: which pixels count, windows that overlap, and one list of what was found in them."""
