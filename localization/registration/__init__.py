"""Two colours on one another: `register` finds the map from one list to another, by structures or by beads."""
