"""What ``import astrofractal`` costs and offers."""

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import pytest
from astropy.io import fits

import astrofractal
from tests.factories import make_column, make_header


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_light():
    """Only the standard library is imported, and of ours the package alone."""
    code = (
        "import sys; before = set(sys.modules); import astrofractal;"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    found = set(ast.literal_eval(_python(code)))
    assert {name for name in found if name not in sys.stdlib_module_names} == {"astrofractal"}


@pytest.mark.parametrize(
    "name", ["FeatureSegmenter", "FractalEncoder", "GasMap", "StellarMassEstimator"]
)
def test_flagship_classes_come_from_the_top(name):
    assert name in dir(astrofractal)
    assert name in astrofractal.__all__
    assert getattr(astrofractal, name).__name__ == name


@pytest.mark.parametrize("package", ["astrofractal", "astrofractal.mass"])
def test_names_on_first_use_are_no_modules(package):
    """A module of the same name would take the place of a function once it is imported."""
    home = import_module(package)
    modules = [module.name for module in iter_modules(home.__path__)]
    for module in modules:
        import_module(f"{package}.{module}") if module != "__main__" else None
    for name in home.__all__:
        assert name in dir(home)
        assert not isinstance(getattr(home, name), ModuleType)


def run_refused(tmp_path, *argv):
    """Return the error of a command, after checking that it was refused without torch."""
    code = (
        "import sys; from astrofractal.cli import main; code = main(sys.argv[1:]);"
        "assert code == 1; assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, *map(str, argv)]
    environment = {**os.environ, "PYTHONPATH": str(Path(astrofractal.__file__).parents[1])}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["mass", "segment"])
@pytest.mark.parametrize("options", [[], ["--distance", "300"]])
def test_input_is_checked_before_torch_is_imported(tmp_path, command, options):
    """A map without distance or unit is refused in a second, not after the import of a network."""
    path = tmp_path / "cloud.fits"
    header = make_header((20, 20), BUNIT=None if options else "cm-2", CTYPE1="VRAD")
    fits.PrimaryHDU(make_column((20, 20)), header).writeto(path)
    assert "cloud.fits" in run_refused(tmp_path, command, path, *options)


def test_positions_are_checked_before_torch_is_imported(tmp_path):
    fits.PrimaryHDU(make_column((20, 20)), make_header((20, 20))).writeto(tmp_path / "cloud.fits")
    (tmp_path / "protostars.csv").write_text("name,flux\na,1\n")
    options = ["--distance", "300", "--positions", "protostars.csv"]
    assert "protostars.csv" in run_refused(tmp_path, "mass", "cloud.fits", *options)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = astrofractal.Nothing


def test_version():
    assert isinstance(astrofractal.__version__, str)
    assert astrofractal.__version__[0].isdigit()
