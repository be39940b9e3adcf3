"""What needs the optics: one kept process that has JAX loaded, asked through a pipe, and what it computes."""
