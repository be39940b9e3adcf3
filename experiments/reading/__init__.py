"""Movies read into lists: networks, classical fits, tiles, chunks that survive an interruption."""
