import numpy as np
import pytest
from numpy.testing import assert_array_equal

from astrofractal.benchmark import PROTOCOLS, make_protocol
from tests.factories import make_mapset


@pytest.fixture(scope="module")
def maps():
    """Thirteen clouds: more than folds of a calibration."""
    return make_mapset(26, n_maps=3, n_clouds=13, size=8)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_map_is_tested_by_others(maps, name):
    protocol = make_protocol(name, maps)
    for train, test in protocol.splits:
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(maps)))
    tested = np.concatenate([test for _, test in protocol.splits])
    assert len(tested) == len(set(tested.tolist())) == (19 if name == "random" else len(maps))


def test_each_cloud_is_left_out_alone(maps):
    splits = make_protocol("leave-cloud-out", maps).splits
    assert [len(set(maps.clouds[test].tolist())) for _, test in splits] == [1] * 13
    assert not any(set(maps.clouds[train]) & set(maps.clouds[test]) for train, test in splits)


def test_same_seed_same_split(maps):
    first, again, other = (make_protocol("random", maps, random_state=s) for s in (3, 3, 4))
    assert_array_equal(first.splits[0][1], again.splits[0][1])
    assert not np.array_equal(first.splits[0][1], other.splits[0][1])


def test_refused(maps):
    with pytest.raises(ValueError, match="at least two clouds"):
        make_protocol("leave-cloud-out", maps[maps.clouds == "cloud0"])
    with pytest.raises(ValueError, match="protocol must be one of"):
        make_protocol("leave-one-out", maps)
