"""A camera from its own frames: dark and flat (`calibration`), a movie (`photometry`), one frame (`frame_noise`)."""
