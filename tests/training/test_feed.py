"""The order of examples: epochs without repetition, a function of seed and step alone."""

import numpy as np
import pytest

from genjax_models.training.feed import batch_indices


def epoch(seed, number, num_examples, batch_size):
    num = num_examples // batch_size
    steps = range(number * num, (number + 1) * num)
    return np.concatenate([batch_indices(seed, t, num_examples, batch_size) for t in steps])


@pytest.mark.parametrize(("num_examples", "batch_size"), [(12, 4), (13, 4), (5, 5), (7, 1)])
def test_an_epoch_visits_no_example_twice(num_examples, batch_size):
    for number in range(3):
        seen = epoch(0, number, num_examples, batch_size)
        assert len(seen) == num_examples // batch_size * batch_size
        assert len(set(seen.tolist())) == len(seen)
        assert 0 <= seen.min() and seen.max() < num_examples
        assert seen.dtype == np.int32


def test_a_batch_is_a_function_of_seed_and_step():
    steps = [40, 3, 17, 3, 0, 41]  # whatever was asked before
    first = {t: batch_indices(7, t, 100, 10).copy() for t in steps}
    for t in reversed(steps):
        np.testing.assert_array_equal(batch_indices(7, t, 100, 10), first[t])


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(epoch(seed, number, 50, 10)) for seed in (0, 1, 2**32 - 1) for number in (0, 1)]
    assert len(set(orders)) == len(orders)


def test_every_place_is_as_likely():
    counts = np.zeros((6, 6))
    for number in range(600):
        counts[np.arange(6), epoch(3, number, 6, 2)] += 1
    # Each cell is binomial(600, 1/6), of standard deviation 9.1.
    assert np.abs(counts - 100).max() < 4.5 * 9.1


def test_a_batch_cannot_be_written_to():
    with pytest.raises(ValueError):
        batch_indices(0, 0, 10, 5)[0] = 1  # the cache hands out the same array
