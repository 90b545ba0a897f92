import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_array_equal
from sklearn.metrics import r2_score

from astrofractal._utils.random import keyed_generator
from astrofractal.benchmark import Scorer, make_protocol
from astrofractal.benchmark.scorer import PROTOCOLS
from astrofractal.mapset import MapSet
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


@pytest.fixture(scope="module")
def near_copies():
    """Sixty protostars with 4 to 60 maps, whose masses are all that is known of them."""
    random = np.random.default_rng(5)
    masses = 10 ** random.normal(size=60)
    index = np.repeat(np.arange(60), np.geomspace(4, 60, 60).astype(int))
    return MapSet(
        np.full((len(index), 3, 8, 8), 22.0), masses[index] * u.solMass,
        clouds=np.char.add("cloud", (index % 6).astype(str)), protostars=index.astype(str),
    )  # fmt: skip


@pytest.mark.parametrize("random_state", range(4))
@pytest.mark.parametrize("n_per_protostar", [None, 3])
def test_the_random_split_and_what_calibrates_are_independent(
    near_copies, random_state, n_per_protostar
):
    """Both were drawn by one seed: what might calibrate was what was tested."""
    maps, seen = near_copies, []
    scorer = Scorer(maps, None, n_per_protostar=n_per_protostar)

    def calibrate(method, train, groups, represents):
        seen.append((train, represents))
        return lambda X: np.full(len(X), np.average(maps.log_masses[train], weights=represents))

    scorer.features = lambda method: (np.zeros((len(maps), 1)), None)
    scorer.calibrate = calibrate
    protocol = make_protocol("random", maps, random_state=random_state)
    log_mass = scorer.evaluate(None, protocol).log_mass
    (train, represents), (allowed, tested) = seen[0], protocol.splits[0]
    assert abs(r2_score(maps.log_masses[tested], log_mass[tested])) < 0.02
    assert set(train) <= set(allowed)
    names, counts = np.unique(maps.protostars, return_counts=True)
    assert set(names[counts >= 12]) <= set(maps.protostars[train])
    assert represents.sum() == pytest.approx(len(allowed))


def test_draws_of_one_seed_are_independent():
    first, again, other, late = (
        keyed_generator(seed, key).permutation(1000)
        for seed, key in ((0, "split"), (0, "split"), (0, "maps"), (1, "split"))
    )
    assert_array_equal(first, again)
    for one in (other, late):
        assert abs(np.corrcoef(first, one)[0, 1]) < 0.1


def test_refused(maps):
    with pytest.raises(ValueError, match="at least two clouds"):
        make_protocol("leave-cloud-out", maps[maps.clouds == "cloud0"])
    with pytest.raises(ValueError, match="protocol must be one of"):
        make_protocol("leave-one-out", maps)
