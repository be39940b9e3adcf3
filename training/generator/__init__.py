"""The learned generator of scenes: fitted to raw frames, drawn from in training."""
