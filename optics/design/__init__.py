"""Design of masks: what a mask is designed for, the search, robustness of the result."""
