"""The random streams: NumPy's own, by shorter roads, and the views that come of them for good."""

import numpy as np
import pytest

from clsa.pretrain.augment import build_views
from clsa.pretrain.config import get_cfg
from clsa.pretrain.seeding import Purpose, generator, uniform


@pytest.mark.parametrize("numbers", [(0, 0, 0, 0), (7, 3, 1_281_166, 6), (2**32 - 1, 0, 1, 2), (2**32, 0, 1, 2)])
def test_a_stream_is_that_of_its_numbers_as_a_tuple(numbers):
    expected = np.random.default_rng((int(Purpose.VIEW), *numbers))
    assert generator(Purpose.VIEW, *numbers).random(4).tolist() == expected.random(4).tolist()


@pytest.mark.parametrize(("low", "high"), [(0.2, 1.0), (-30, 30), (0.05, 0.95), (-0.1, 0.1), (1.0, 1.0)])
def test_uniform_is_numpys_to_the_bit_and_leaves_the_stream_where_numpys_does(low, high):
    one, other = (generator(Purpose.VIEW, 5) for _ in range(2))
    assert [uniform(one, low, high) for _ in range(2000)] == [other.uniform(low, high) for _ in range(2000)]
    assert one.bit_generator.state == other.bit_generator.state


def test_the_views_of_a_seed_stay_what_they_are():
    """The version of the streams: pretraining's published numbers come from these."""
    _, weak, strong = build_views(get_cfg())
    box, operations = weak.draw((500, 375), generator(Purpose.VIEW, 0, 3, 18, 1))
    assert box == (64, 58, 286, 291)
    assert [(operation.name, pytest.approx(magnitude, abs=1e-12)) for operation, magnitude in operations] == [
        ("Hue", 0.057104162389881113),
        ("Brightness", 0.604647140145803),
        ("Contrast", 0.7846995432850854),
        ("Color", 1.1121001612249102),
        ("Identity", 0.0),
        ("Blur", 1.1727323960928715),
        ("Flip", 0.0),
    ]
    box, operations = strong.draw((500, 375), generator(Purpose.VIEW, 0, 3, 20, 2))
    assert box == (193, 32, 394, 251)
    assert [(operation.name, pytest.approx(magnitude, abs=1e-12)) for operation, magnitude in operations] == [
        ("Identity", 0.0),
        ("Solarize", 227.02129097939422),
        ("Invert", 0.0),
        ("Rotate", 11.266551590298313),
        ("Rotate", 16.632430723847555),
    ]
