"""A movie read by many workers: Dask hands out shares of frames, every worker keeps its reader."""
