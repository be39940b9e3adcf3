"""Wings: the light around the stamps, from a table by depth, of emitters in a frame and beyond it."""
