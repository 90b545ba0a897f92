"""The command's manners: help, errors of one line, exit codes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from astrofractal import cli

_NAMES = ("demo", "mass", "segment", "fractals", "pretrain", "project", "benchmark", "info")


def _fake(monkeypatch, action):
    module = SimpleNamespace(
        NAME="fake",
        HELP="fake",
        __doc__="Fake.",
        add_arguments=lambda parser: parser.add_argument("--n", type=int, default=1),
        run=action,
    )
    monkeypatch.setattr(cli, "_commands", lambda: [module])


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as info:
        cli.main(["--help"])
    assert info.value.code == 0
    out = capsys.readouterr().out
    positions = [out.index(f"\n    {name} ") for name in _NAMES]
    assert positions == sorted(positions)


@pytest.mark.parametrize("name", _NAMES)
def test_help_of_each_command(name, capsys):
    with pytest.raises(SystemExit) as info:
        cli.main([name, "--help"])
    assert info.value.code == 0
    assert f"usage: astrofractal {name}" in capsys.readouterr().out


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
def test_wrong_arguments_exit_with_2(argv, monkeypatch, capsys):
    _fake(monkeypatch, lambda args: None)
    with pytest.raises(SystemExit) as info:
        cli.main(argv)
    assert info.value.code == 2
    assert "astrofractal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("distance must be positive,\n  got -1"), "distance must be positive, got -1"),
        (KeyError("no column 'ra'"), "no column 'ra'"),
        (FileNotFoundError(2, "No such file", "a.fits"), "[Errno 2] No such file: 'a.fits'"),
        (ImportError("yt is needed here"), "yt is needed here"),
        (TypeError(), "TypeError"),
    ],
)
def test_errors_are_one_line(error, message, monkeypatch, capsys):
    def fail(args):
        raise error

    _fake(monkeypatch, fail)
    assert cli.main(["fake"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"astrofractal: error: {message}\n"
    assert captured.out == ""
    with pytest.raises(type(error)):
        cli.main(["--traceback", "fake"])


def test_bugs_are_not_hidden(monkeypatch):
    def fail(args):
        raise ZeroDivisionError

    _fake(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake"])


def test_interrupt(monkeypatch, capsys):
    def fail(args):
        raise KeyboardInterrupt

    _fake(monkeypatch, fail)
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == "astrofractal: interrupted\n"


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
