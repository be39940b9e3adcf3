"""How good a list is: gate, matching, metrics with intervals, precision curve, uncertainty."""
