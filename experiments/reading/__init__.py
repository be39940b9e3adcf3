"""Movies read into lists: networks, fits, tiles, chunks that survive an interruption."""

# the functions last: `localize` is also the name of its file
from experiments.reading.chunks import Parts as Parts
from experiments.reading.chunks import Share as Share
from experiments.reading.classical_config import ClassicalConfig as ClassicalConfig
from experiments.reading.localize import localize as localize
from experiments.reading.localize import read_frames as read_frames
from experiments.reading.localize_config import LocalizeConfig as LocalizeConfig
from experiments.reading.methods import make_reader as make_reader
from experiments.reading.pieces.movie_job import LocalizeResult as LocalizeResult
from experiments.reading.readers import Reader as Reader
from experiments.reading.readers import Reading as Reading
from experiments.reading.readers import load_reader as load_reader
