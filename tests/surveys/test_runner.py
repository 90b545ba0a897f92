import pytest
from astropy import units as u

from astrofractal.surveys.survey import run_tasks


def fail(error, _):
    raise error


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), u.UnitsError("no")])
def test_an_unusable_map_does_not_stop_a_survey(error):
    assert run_tasks(fail, error, {"cloud": (1,)}, keep=None) == {
        "cloud": f"{type(error).__name__}: no"
    }


def test_a_fault_of_the_program_does():
    with pytest.raises(ZeroDivisionError):
        run_tasks(fail, ZeroDivisionError(), {"cloud": (1,)}, keep=None)
