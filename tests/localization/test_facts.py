"""What a movie says beside what the settings say."""

import numpy as np
import pytest

from experiments.lists.track import TrackConfig, track
from localization import MovieFacts, compare_facts, make_localizations, read, write

MOVIE = MovieFacts(0.108, (64, 80), 100, 0.030, 0.033)


@pytest.mark.parametrize(
    "settings, said",
    [
        (MovieFacts(pixel_um=0.11), "108 nm a pixel, the PSF 110 nm"),
        (MovieFacts(exposure_s=0.05), "30 ms of exposure, the PSF 50 ms"),
        (MovieFacts(interval_s=0.03), "33 ms from frame to frame, the PSF 30 ms"),
        (MovieFacts(frame_px=(80, 64)), "frames of 64 x 80 px, the PSF 80 x 64 px"),
    ],
)
def test_a_difference_is_one_line(settings, said):
    (line,) = compare_facts(MOVIE, settings, of="the PSF")
    assert said in line and line.startswith("the movie says ")


def test_what_is_alike_or_unknown_is_not_said():
    assert compare_facts(MOVIE, MOVIE, of="the PSF") == []
    assert compare_facts(MOVIE, MovieFacts(pixel_um=0.1089), of="the PSF") == []  # within 1 %
    assert compare_facts(MOVIE, MovieFacts(), of="the PSF") == compare_facts(MovieFacts(), MOVIE, of="the PSF") == []


def test_tracks_question_a_frame_time_that_the_list_contradicts(tmp_path):
    locs = make_localizations(
        np.arange(6), np.linspace(1, 1.5, 6), np.full(6, 1.0), np.zeros(6), movie=MovieFacts(interval_s=0.05)
    )
    write(tmp_path / "locs.colocus.h5", locs)
    again = read(tmp_path / "locs.colocus.h5")
    assert again.movie.interval_s == 0.05
    lines = track(again, TrackConfig(frame_s=0.02)).lines()
    assert any("50 ms from frame to frame, you 20 ms" in line for line in lines)
    assert not any("from frame to frame, you" in line for line in track(again, TrackConfig(frame_s=0.05)).lines())
