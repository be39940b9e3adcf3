"""Pictures that the page shows, made on demand: frames of movies, and tiles of a picture drawn from a list."""
