"""AutoDS: patches of a movie read by Deep-STORM networks, each by the one made for its density and signal to noise."""
