"""Pictures from lists: rendering, resolution, line profiles."""
