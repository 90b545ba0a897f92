"""Measure how much of its frame a flame should cover: how many candidates pass, and weights to compare.

    python docs/scripts/measure_coverage.py --output runs/coverage
    python docs/scripts/measure_weights.py random runs/coverage/*.safetensors

writes docs/research/tables/coverage.rst and pretrains the compact recipe on a few flames at each
threshold, all else equal. A run that was interrupted continues with the same command.
"""

import argparse
from pathlib import Path

from make_benchmark_pages import list_table

from astrofractal.fractals import frame_system, random_system
from astrofractal.pretraining import export_run, pretrain

TABLE = Path(__file__).parents[1] / "research" / "tables" / "coverage.rst"
N_CANDIDATES = 1000


def accepted_share(coverage):
    """Return the share of candidate systems above a threshold."""
    blurs = {"noise", "blur", "gaussian"}
    passed = tried = 0
    for index in range(N_CANDIDATES):
        system = random_system(1, index)
        if blurs.isdisjoint(name for names in system.variations for name in names):
            tried += 1
            passed += frame_system(system, coverage=coverage, center="peak")[1] == "accepted"
    return passed / tried


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.0, 0.5, 0.8])
    parser.add_argument("--n-images", type=int, default=12_800, help="0: write the table alone")
    parser.add_argument("--output", type=Path, default=Path("runs/coverage"))
    parser.add_argument("--n-workers", type=int, default=1)
    args = parser.parse_args()
    rows = [(f"{c:g}", f"{100 * accepted_share(c):.0f} %") for c in args.coverage]
    text = list_table(("coverage", "candidates accepted"), rows)
    TABLE.write_text(text, encoding="utf-8")
    for coverage in args.coverage if args.n_images else ():
        run = args.output / f"coverage-{coverage:g}"
        options = {"n_workers": args.n_workers, "devices": 1, "progress_bar": True}
        if (run / "recipe.json").exists():
            pretrain(resume=run, **options)
        else:
            values = {"n_images": args.n_images, "coverage": coverage}
            pretrain("compact", output=run, **values, **options)
        export_run(run, run.with_name(run.name + ".safetensors"))


if __name__ == "__main__":
    main()
