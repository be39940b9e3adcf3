"""The correction of a generator's emitter statistics: an inference whose faults are known gives the truth back."""

import numpy as np
import pytest
from scipy import stats

from made.made_generator import SMALL, made_posterior
from training.generator.draw import EmitterCorrection
from training.generator.statistics import EmitterStatistics, emitter_statistics, solve_correction

NUMBER, LOG_PHOTONS, SPREAD = 6.0, 6.7, 0.75  # the movie's emitters


def biased(number, log_photons, spread):
    """An inference that finds an emitter of log photons x with probability Phi((x - 6.4) / 0.5) and adds 0.3 false ones
    a frame of log photons 6.2: in closed form over a grid."""
    x = np.linspace(log_photons - 6 * spread, log_photons + 6 * spread, 4001)
    weight = stats.norm(log_photons, spread).pdf(x) * stats.norm.cdf((x - 6.4) / 0.5)
    found = number * weight.sum() * (x[1] - x[0])
    share = 0.3 / (found + 0.3)
    mean = (1 - share) * np.average(x, weights=weight) + share * 6.2
    square = (1 - share) * np.average((x - mean) ** 2, weights=weight) + share * (6.2 - mean) ** 2
    return EmitterStatistics(found + 0.3, float(mean), float(np.sqrt(square)))


def test_the_truth_comes_back_through_an_inference_that_misses_the_dim():
    """It finds 4.5 a frame, 40 % too bright and too alike; two rounds halve each fault at least, twelve leave
    2 %."""
    target = biased(NUMBER, LOG_PHOTONS, SPREAD)
    assert target.number < 4.6 and target.log_photons > LOG_PHOTONS + 0.25 and target.spread < 0.9 * SPREAD

    def measure(correction):
        return biased(
            correction.number * target.number,
            target.log_photons + np.log(correction.brightness),
            correction.spread * target.spread,
        )

    def drawn(correction):
        return np.array(
            [
                correction.number * target.number,
                target.log_photons + np.log(correction.brightness),
                correction.spread * target.spread,
            ]
        )

    true = np.array([NUMBER, LOG_PHOTONS, SPREAD])
    before = np.abs(drawn(EmitterCorrection()) - true)
    assert np.all(np.abs(drawn(solve_correction(target, measure)) - true) < 0.5 * before)
    assert drawn(solve_correction(target, measure, rounds=12)) == pytest.approx(true, rel=0.02)


def test_an_inference_without_faults_changes_nothing():
    target = EmitterStatistics(5.0, 7.0, 0.5)
    assert solve_correction(target, lambda correction: target) == EmitterCorrection()
    assert solve_correction(target, lambda correction: None) == EmitterCorrection()


def test_no_number_runs_away():
    """Where drawn frames show almost nothing, each factor stops at 3."""
    correction = solve_correction(
        EmitterStatistics(5.0, 7.0, 0.5), lambda correction: EmitterStatistics(0.1, 2.0, 0.05)
    )
    assert (correction.number, correction.brightness, correction.spread) == (3.0, 3.0, 3.0)


def test_statistics_are_those_of_the_posteriors():
    """Two certain emitters a frame of 1000 and 2000 photons; too few have no spread."""
    found = emitter_statistics(made_posterior(6, SMALL))
    assert found is not None and found.number == 2.0
    assert found.log_photons == pytest.approx(np.log(1000 * 2000) / 2)
    assert found.spread == pytest.approx(np.log(2) / 2)
    few = made_posterior(2, SMALL)
    assert emitter_statistics(few) is None


def test_a_correction_moves_the_median_and_spreads_around_it():
    pool = np.log([500.0, 1000.0, 2000.0])
    moved = np.exp(EmitterCorrection(number=2.0, brightness=0.5, spread=2.0).correct(pool))
    assert moved == pytest.approx([125.0, 500.0, 2000.0])
