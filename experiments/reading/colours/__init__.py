"""Species of emitters told apart by their images: a movie read with one PSF for each."""
