"""Drift of the sample, from the list itself: `correct`, with the methods `rcc` and `aim` on `segments` of the movie."""
