"""Movies as the makers of cameras and microscopes write them, a kind in each file."""

from localization.io.movies.instruments import czi, dax, dcimg, ims, lif, nd2, sif

INSTRUMENTS = (czi.MOVIE, dax.MOVIE, dcimg.MOVIE, ims.MOVIE, lif.MOVIE, nd2.MOVIE, sif.MOVIE)
