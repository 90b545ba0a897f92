"""Write labeled maps as a folder that is ready for Zenodo or the Hugging Face Hub.

Run it with the map sets of all clouds, one file per cloud::

    python docs/scripts/make_data_set.py MAPS OUTPUT --title "Maps around protostars" --license cc-by-4.0

OUTPUT then holds ``train/``, ``validation/`` and ``test/`` with one FITS file per cloud (whole clouds
are held out: maps of one protostar are near-copies), ``clouds.csv``, a card (``README.md``, with the
metadata of the Hub), ``.zenodo.json`` and ``SHA256SUMS``.  ``sha256sum --check SHA256SUMS`` checks a
download; ``MapSet.read("OUTPUT/train").to_torch()`` reads a part of it.
"""

import argparse
import hashlib
import json
from pathlib import Path

from astropy.table import Table

from astrofractal.mapset import MapSet

PARTS = ("train", "validation", "test")

CARD = """\
---
pretty_name: {title}
license: {license}
tags: [astronomy, star-formation, protostars, regression, fits]
configs:
- config_name: default
  data_files:
{data_files}
---

# {title}

{n_maps} maps of gas around {n_protostars} protostars of known mass, from {n_clouds} simulated clouds.
Each map is {width:.3g} pc wide on {nx} x {ny} pixels and centered on a protostar.

## Files

One FITS file per cloud. `LOG_NH2`, `V_LOS` and `SIGMA_V` are (n_maps, ny, nx) 16-bit integers; the
physical value is the stored one times `QSCALE` of the header, in `BUNIT` (dex(cm-2) of N(H2) with 2.8
hydrogen masses per H2, km/s, km/s); `QBLANK` is not a number. `SINKS` has one row per map: the protostar
(`sink`), time, axis, mass in solar masses, position.

    from astrofractal.mapset import MapSet
    maps = MapSet.read("train")
    dataset = maps.to_torch()  # image (3, ny, nx), mass, protostar, cloud

## Splits

Whole clouds are held out, because maps of one protostar at neighboring times are near-copies: a random
split of the maps makes any method look better than it is. A protostar has between one and over a hundred
maps: quote scores per protostar.

{table}

## Source

{about}

`SHA256SUMS` lists the checksums of all files.
"""


def split(clouds, validation, test):
    """Return the part of each cloud; by default one cloud of five is for the test."""
    clouds = sorted(clouds)
    test = clouds[4::5] or clouds[-1:] if test is None else test
    left = [cloud for cloud in clouds if cloud not in test]
    validation = left[4::5] or left[-1:] if validation is None else validation
    unknown = {*validation, *test} - set(clouds)
    if unknown or set(validation) & set(test) or len({*validation, *test}) == len(clouds):
        msg = (
            "--validation and --test must name different clouds of the maps and leave some for "
            f"training, got {validation} and {test} of {clouds}"
        )
        raise SystemExit(msg)
    return {
        c: "test" if c in test else "validation" if c in validation else "train" for c in clouds
    }


def main():
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", type=Path, help="a map set, or a folder of them")
    parser.add_argument("output", type=Path, help="the folder to make")
    parser.add_argument("--title", default="Maps around protostars of simulated clouds")
    parser.add_argument("--license", default="cc-by-4.0", help="SPDX identifier, in lower case")
    parser.add_argument(
        "--creator", action="append", default=[], help="'Family, Given'; repeatable"
    )
    parser.add_argument("--about", default="Not stated.", help="how the maps were made; references")
    parser.add_argument("--validation", nargs="*", metavar="CLOUD")
    parser.add_argument("--test", nargs="*", metavar="CLOUD")
    args = parser.parse_args()
    if args.output.exists() and any(args.output.iterdir()):
        parser.error(f"{args.output} is not empty")
    maps = MapSet.read(args.maps)
    parts = split(set(maps.clouds.tolist()), args.validation, args.test)
    rows = []
    for cloud, part in parts.items():
        own = maps[maps.clouds == cloud]
        (args.output / part).mkdir(parents=True, exist_ok=True)
        own.write(args.output / part / f"{cloud}.fits")
        rows.append(
            (cloud, part, len(own), len(set(own.protostars.tolist())), f"{part}/{cloud}.fits")
        )
    table = Table(rows=rows, names=["cloud", "split", "n_maps", "n_protostars", "file"])
    table.write(args.output / "clouds.csv")
    lines = [f"| {' | '.join(table.colnames)} |", "| --- " * len(table.colnames) + "|"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in table]
    ny, nx = maps.images.shape[2:]
    card = CARD.format(
        title=args.title,
        license=args.license,
        data_files="\n".join(f"  - split: {p}\n    path: {p}/*.fits" for p in PARTS),
        n_maps=len(maps),
        n_protostars=len(set(maps.protostars.tolist())),
        n_clouds=len(parts),
        width=(maps.pixel_scale * nx).to_value("pc"),
        nx=nx,
        ny=ny,
        table="\n".join(lines),
        about=args.about,
    )
    (args.output / "README.md").write_text(card, encoding="utf-8")
    zenodo = {
        "title": args.title,
        "upload_type": "dataset",
        "license": args.license,
        "creators": [{"name": name} for name in args.creator],
        "description": f"{len(maps)} labeled maps. {args.about} See README.md.",
        "keywords": ["star formation", "protostars", "simulations"],
    }
    (args.output / ".zenodo.json").write_text(json.dumps(zenodo, indent=2) + "\n", encoding="utf-8")
    files = sorted(path for path in args.output.rglob("*") if path.is_file())
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(args.output).as_posix()}"
        for path in files
    ]
    (args.output / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")
    print(f"{args.output}: {len(files) + 1} files, {maps!r}")


if __name__ == "__main__":
    main()
