"""The command's manners: help, errors of one line, exit codes."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from astropy.units import UnitsError

from astrofractal import cli


def fake(action):
    """Return a subcommand of its own that does nothing but this."""
    module = SimpleNamespace(
        HELP="fake",
        __doc__="Fake.",
        add_arguments=lambda parser: parser.add_argument("--n", type=int, default=1),
        run=action,
    )
    return {"fake": module}


def failing(error):
    def fail(args):
        raise error

    return fake(fail)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as info:
        cli.main(["--help"])
    assert info.value.code == 0
    out = capsys.readouterr().out
    positions = [out.index(f"\n    {name} ") for name in cli.COMMANDS]
    assert positions == sorted(positions)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_each_command(name, capsys):
    with pytest.raises(SystemExit) as info:
        cli.main([name, "--help"])
    assert info.value.code == 0
    assert f"usage: astrofractal {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_fits_two_screens(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 80


def test_a_missing_file_is_reported_before_torch_is_imported(tmp_path):
    commands = [
        ["mass", "no.fits"], ["mass", "no.fits", "--cutouts"], ["segment", "no.fits"],
        ["info", "no.fits"], ["calibrate", "no/", "-o", "x.astrofractal"], ["evaluate", "no/"],
        ["benchmark", "no/", "-o", "out"], ["project", "no/", "-o", "x.fits"],
        ["pretrain", "--resume", "no/"],
    ]  # fmt: skip
    code = (
        "import sys\nfrom astrofractal.cli import main\n"
        f"for words in {commands}:\n"
        "    assert main(words) == 1, words\n"
        "    assert 'torch' not in sys.modules, words"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no") >= len(commands)
    assert not list(tmp_path.iterdir())


def test_help_does_not_import_torch():
    code = (
        "import sys\nfrom astrofractal.cli import main\n"
        "try:\n    main(['mass', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'timm', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys):
    with pytest.raises(SystemExit) as info:
        cli.main(["--version"])
    assert info.value.code == 0
    assert capsys.readouterr().out.startswith("astrofractal ")


@pytest.mark.parametrize("argv", [[], ["nothing"], ["fake", "--n", "x"]])
def test_wrong_arguments_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as info:
        cli.main(argv, commands=fake(lambda args: None))
    assert info.value.code == 2
    error = capsys.readouterr().err
    assert "astrofractal" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_quiet(name, capsys):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    assert "--quiet, -q" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_options_are_spelled_alike(name, capsys):
    """What two commands share has one spelling."""
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    shown = capsys.readouterr().out
    for other in ("--workers", "--encoder ", "--thin", "--out ", "--force", "--verbose"):
        assert other not in shown
    if "--output" in shown:
        assert "-o " in shown


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("distance must be positive,\n  got -1"), "distance must be positive, got -1"),
        (KeyError("no column 'ra'"), "no column 'ra'"),
        (FileNotFoundError(2, "No such file", "a.fits"), "[Errno 2] No such file: 'a.fits'"),
        (ImportError("yt is needed here"), "yt is needed here"),
        (TypeError(), "TypeError"),
        (UnitsError("the third plane is in m/s"), "the third plane is in m/s"),
    ],
)
def test_errors_are_one_line(error, message, capsys):
    commands = failing(error)
    assert cli.main(["fake"], commands=commands) == 1
    captured = capsys.readouterr()
    assert captured.err == f"astrofractal: error: {message}\n"
    assert captured.out == ""
    with pytest.raises(type(error)):
        cli.main(["--traceback", "fake"], commands=commands)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("data has no unit: give unit=, e.g. 'cm-2'", "data has no unit: give --unit, e.g. 'cm-2'"),
        (
            "counts NH3: give unit='cm-2' and column=Abundance(...)",
            "counts NH3: give --unit 'cm-2' and --abundance",
        ),
        ("give unit={'velocity': 'km/s'}", "give --unit ',km/s'"),
        ("give column=XFactor(...), e.g. 3", "give --x-factor, e.g. 3"),
        ("no WCS: give (data, wcs) or pixel_scale=", "no WCS: give (data, wcs) or --pixel-scale"),
        ("no beam: give beam=, e.g. 18 * u.arcsec", "no beam: give --beam, e.g. '18 arcsec'"),
        ("min_separation must be a length", "--min-separation must be a length"),
        ("beam must be an angle", "--beam must be an angle"),
        ("'b.fits': no beam, unit=3 and min_area", "'b.fits': no beam, --unit 3 and min_area"),
    ],
)
def test_errors_are_in_the_spelling_of_the_command(message, expected, capsys):
    def run(args):
        raise ValueError(message)

    def add_arguments(parser):
        for option in ("unit", "x-factor", "pixel-scale", "beam", "min-separation"):
            parser.add_argument(f"--{option}")

    module = SimpleNamespace(HELP="", __doc__="", add_arguments=add_arguments, run=run)
    assert cli.main(["fake"], commands={"fake": module}) == 1
    assert capsys.readouterr().err == f"astrofractal: error: {expected}\n"


def test_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake"], commands=failing(ZeroDivisionError()))


def test_interrupt(capsys):
    assert cli.main(["fake"], commands=failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "astrofractal: interrupted\n"


def test_ascii_terminal():
    """What the terminal cannot show is replaced."""
    code = (
        "from types import SimpleNamespace as N\nfrom astrofractal.cli import main\n"
        "module = N(HELP='', __doc__='', add_arguments=lambda p: None,\n"
        "           run=lambda args: print('\u03b1 Ori, done'))\n"
        "raise SystemExit(main(['fake'], commands={'fake': module}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert done.stdout == "? Ori, done\n"


def test_python_dash_m():
    done = subprocess.run(
        [sys.executable, "-m", "astrofractal", "mass", "no-such-file.fits", "--distance", "300"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "no-such-file.fits" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_closed_output_does_not_end_a_command_that_is_done():
    command = f"{sys.executable} -m astrofractal info >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
