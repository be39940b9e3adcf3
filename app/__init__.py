"""Colocus in a browser: look at a movie, draw a box, click once, watch, stop, come back. `colocus app` serves it."""
