"""Recorded answers and scores of the published pipeline, reproduced."""

import numpy as np
import pandas as pd
import pytest

from localization import (
    make_localizations,
    match,
    open_movie,
    pair_errors_um,
    read,
    score,
    select,
    volume_peaks,
)

HALF_FRAME_UM = 121 * 0.11 / 2  # the recorded coordinates are relative to the centre of the 121 px frame


def recorded_lists(folder, demo):
    """Found and true lists of a set; of demo 2 only emitters above 6000 counts are truth, as published."""
    tables = []
    for name in ("original_network_localizations", "truth"):
        table = pd.read_csv(folder / f"{name}_demo{demo}.csv")
        if demo == 2 and name == "truth":
            table = table[table["counts"] > 6000]
        x_um, y_um = table["x_um"] + HALF_FRAME_UM, table["y_um"] + HALF_FRAME_UM
        tables.append(make_localizations(table["image"], x_um, y_um, table["z_um"]))
    return tables


@pytest.mark.parametrize("demo", [2, 3, 5])
def test_published_scores_are_reproduced(demo, data_folder):
    """Mode "deepstorm3d" gives the recorded Jaccard of every image exactly, RMSEs to the lists' 1 pm."""
    folder = data_folder("ds3d-sim-reference")
    found, truth = recorded_lists(folder, demo)
    for row in pd.read_csv(folder / f"original_network_scores_demo{demo}.csv").itertuples():
        one = score(
            *(select(locs, locs.frame == row.image) for locs in (found, truth)),
            mode="deepstorm3d",
            ball_um=0.1,
        )
        assert (one.n_truth, one.n_found) == (row.true_emitters, row.found)
        assert one.jaccard == pytest.approx(row.jaccard, abs=1e-15)
        assert one.rmse_xy_um == pytest.approx(row.rmse_xy_um, abs=1e-6)
        assert one.rmse_z_um == pytest.approx(row.rmse_z_um, abs=1e-6)
        assert np.hypot(one.rmse_xy_um, one.rmse_z_um) == pytest.approx(row.rmse_xyz_um, abs=1e-6)


@pytest.mark.parametrize(("demo", "bias_um"), [(2, 0.0), (3, 0.055), (5, 0.055)])
def test_the_fixed_shift_shows_as_half_a_pixel_of_bias(demo, bias_um, data_folder):
    """Two fine pixels are right for demo 2 and 55 nm too much for demo 3 and 5, in x and in y."""
    result = score(*recorded_lists(data_folder("ds3d-sim-reference"), demo))
    assert (result.bias_x_um, result.bias_y_um) == pytest.approx((bias_um, bias_um), abs=0.012)


def test_volume_peaks_repeat_the_published_localizations(data_folder):
    """A recorded network output read out by us gives, to 1 pm, the points that the original code wrote."""
    volume = np.load(data_folder("ds3d-networks") / "demo5_learned_loss" / "output_full.npz")["output"][0]
    locs = volume_peaks(volume, pixel_um=0.11, z_min_um=2.0, z_max_um=6.0, threshold=80.0, shift_fine_px=2.0)
    table = pd.read_csv(data_folder("ds3d-learned-telomeres") / "original_network_localizations_telomeres1.csv")
    # The written list comes from the whole frame, the recorded output from columns 86:150 and rows 160:224:
    # they agree where the network does not see the crop's edge.
    x_um, y_um = table["x_nm"] / 1000 - 86 * 0.11, table["y_nm"] / 1000 - 160 * 0.11
    inner = x_um.between(16 * 0.11, 48 * 0.11) & y_um.between(16 * 0.11, 48 * 0.11)
    recorded = make_localizations(
        np.zeros(inner.sum()), x_um[inner], y_um[inner], 2.0 + table["z_nm_above_zmin"][inner] / 1000
    )
    matches = match(locs, recorded, lateral_um=0.05, axial_um=0.05)
    assert matches.truth_index.size == recorded.frame.size == 6
    np.testing.assert_allclose(pair_errors_um(locs, recorded, matches), 0.0, atol=1.1e-6)
    confidence = table["confidence"][inner].to_numpy()[matches.truth_index]
    np.testing.assert_allclose(locs.score[matches.found_index], confidence, atol=2e-3)


def test_reads_a_real_thunderstorm_table_and_a_real_movie(data_folder):
    """A 2D table of another program, its header quoted twice, and a deflate-compressed stack."""
    path = data_folder("locan-dstorm") / "formats" / "Thunderstorm_dstorm_data.csv"
    locs = read(path)
    assert locs.frame[0] == 2000 and locs.x_um[0] == pytest.approx(1.320109670647555)
    assert locs.photons[0] == pytest.approx(296.55843680038157)
    assert locs.sigma_x_um[0] == pytest.approx(0.02293255128689051) and locs.z_um[0] == 0.0
    with open_movie(data_folder("ds3d-tetrapod-storm") / "frames_01-33.tif") as movie:
        assert movie.shape == (33, 332, 492) and movie.dtype == np.uint16
        assert np.median(movie.read(0, 1)) == 49  # the median background that the data set's notes give
