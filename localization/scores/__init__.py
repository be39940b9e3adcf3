"""How good a list is: matching, scores, precision curves, calibrated uncertainties."""
