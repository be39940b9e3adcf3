"""The law of a movie's emitters from what is believed: an inference whose faults are known gives it back."""

import numpy as np
import pytest
from scipy import stats

from made.made_generator import SMALL, made_posterior
from training.generator.draw import Law
from training.generator.statistics import Believed, believed, solve_law

NUMBER, LOG_LIGHT, SPREAD = 6.0, 6.7, 0.75  # the movie's emitters


def dim_eye(number, log_light, spread):
    """An inference that sees an emitter of log photons x with probability Phi((x - 6.4) / 0.5) and adds 0.3 false ones
    a frame of log photons 6.2: in closed form over a grid."""
    x = np.linspace(log_light - 6 * spread, log_light + 6 * spread, 4001)
    weight = stats.norm(log_light, spread).pdf(x) * stats.norm.cdf((x - 6.4) / 0.5)
    seen = number * weight.sum() * (x[1] - x[0])
    share = 0.3 / (seen + 0.3)
    mean = (1 - share) * np.average(x, weights=weight) + share * 6.2
    square = (1 - share) * np.average((x - mean) ** 2, weights=weight) + share * (6.2 - mean) ** 2
    return Believed(seen + 0.3, float(mean), float(np.sqrt(square)))


def test_the_law_comes_back_through_an_inference_that_misses_the_dim():
    """It believes in 4.5 a frame, 40 % too bright and too alike; two rounds halve each fault at least, twelve leave
    2 %."""
    asked = dim_eye(NUMBER, LOG_LIGHT, SPREAD)
    assert asked.number < 4.6 and asked.log_light > LOG_LIGHT + 0.25 and asked.spread < 0.9 * SPREAD

    def ask(law):
        return dim_eye(law.number * asked.number, asked.log_light + np.log(law.light), law.spread * asked.spread)

    def drawn(law):
        return np.array([law.number * asked.number, asked.log_light + np.log(law.light), law.spread * asked.spread])

    true = np.array([NUMBER, LOG_LIGHT, SPREAD])
    before = np.abs(drawn(Law()) - true)
    assert np.all(np.abs(drawn(solve_law(asked, ask)) - true) < 0.5 * before)
    assert drawn(solve_law(asked, ask, rounds=12)) == pytest.approx(true, rel=0.02)


def test_an_inference_without_faults_changes_nothing():
    asked = Believed(5.0, 7.0, 0.5)
    assert solve_law(asked, lambda law: asked) == Law()
    assert solve_law(asked, lambda law: None) == Law()


def test_no_number_runs_away():
    """Where drawn frames show almost nothing, each factor stops at 3."""
    law = solve_law(Believed(5.0, 7.0, 0.5), lambda law: Believed(0.1, 2.0, 0.05))
    assert (law.number, law.light, law.spread) == (3.0, 3.0, 3.0)


def test_what_is_believed_is_read_off_posteriors():
    """Two sure emitters a frame of 1000 and 2000 photons; too few have no spread."""
    found = believed(made_posterior(6, SMALL))
    assert found is not None and found.number == 2.0
    assert found.log_light == pytest.approx(np.log(1000 * 2000) / 2)
    assert found.spread == pytest.approx(np.log(2) / 2)
    few = made_posterior(2, SMALL)
    assert believed(few) is None


def test_the_law_moves_the_median_and_spreads_around_it():
    pool = np.log([500.0, 1000.0, 2000.0])
    moved = np.exp(Law(number=2.0, light=0.5, spread=2.0).of_movie(pool))
    assert moved == pytest.approx([125.0, 500.0, 2000.0])
