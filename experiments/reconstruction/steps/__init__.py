"""The steps of a reconstruction, a file each: what it finds, how, and the picture of it."""
