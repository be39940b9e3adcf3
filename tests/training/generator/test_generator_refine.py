"""Work on a few frames at a time: results in order, progress after each chunk, an end in between."""

import jax.numpy as jnp
import numpy as np
import pytest

from training.generator.refine import map_chunks


def test_chunks_are_joined_in_order():
    """Eleven frames, eight at a time: the last chunk is filled up and cut off again, None stays None, and progress is
    reported after each chunk."""
    progress: list[tuple[int, int]] = []
    frames, sizes = jnp.arange(11.0), set()

    def twice(frames, nothing):
        sizes.add(len(frames))
        assert nothing is None
        return {"a": 2 * frames}

    whole = map_chunks(twice, (frames, None), 11, lambda event: progress.append((event.done, event.total)))
    np.testing.assert_array_equal(whole["a"], 2 * frames)
    assert sizes == {8} and progress == [(8, 11), (11, 11)]


def test_a_fit_can_be_stopped_between_chunks():
    """An error of `report` ends the loop: no further chunk is begun."""
    begun: list[int] = []

    def stop(event) -> None:
        raise TimeoutError

    def chunk(frames):
        begun.append(len(frames))
        return frames

    with pytest.raises(TimeoutError):
        map_chunks(chunk, (jnp.arange(20.0),), 20, stop)
    assert begun == [8]
