import numpy as np
import pytest
from astropy.table import QTable

from astrofractal import StellarMassEstimator
from astrofractal.cli import main
from astrofractal.mass import FeatureSet
from tests.factories import make_mapset

FEATURES = FeatureSet(pooling=None, profiles=True)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_scores_plot_and_table(tmp_path, capsys):
    maps, calibration = tmp_path / "maps.fits", tmp_path / "my.astrofractal"
    known, other = make_mapset(40), make_mapset(12)
    other.write(maps)
    StellarMassEstimator(features=FEATURES, regressor="ridge").fit(known).save(calibration)
    command = ["evaluate", str(maps), "--calibration", str(calibration)]
    table, plot = tmp_path / "masses.ecsv", tmp_path / "masses.png"
    assert main([*command, "--output", str(table), "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    assert "per protostar" in shown
    assert "these scores are too high" in shown
    masses = QTable.read(table)
    np.testing.assert_allclose(masses["mass_true"].value, other.masses.value, rtol=0.05)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--output", str(table)]) == 1
    assert "add --overwrite" in capsys.readouterr().err
