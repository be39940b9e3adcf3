"""Colour: species of emitters behind one mask, how well images tell them apart, and masks for that."""
