"""Pretrain an encoder by DINOv2 on fractal flames, continue a run, or export its
weights. Needs: python -m pip install "astrofractal[pretrain]".

examples:
  astrofractal pretrain --recipe compact --output runs/mine
  astrofractal pretrain --resume runs/mine
  astrofractal pretrain --export runs/mine --output mine.safetensors
  astrofractal pretrain --recipe adapt --maps DIR --start-from bundled

On several GPUs or machines start it with torchrun and --trainer strategy=ddp.
"""

import json
import logging

from astrofractal._utils.validation import refuse
from astrofractal.cli.options import (
    add_output,
    check_files,
    check_folder,
    check_inputs,
    given,
    setting,
)

HELP = "pretrain an encoder on fractal flames"

_TRAINER = ("devices", "strategy", "n_nodes", "precision", "n_workers", "max_steps")


def add_arguments(parser):
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--resume", metavar="RUN", help="continue the run in this folder")
    action.add_argument("--export", metavar="RUN", help="write the weights of this run and stop")
    action.add_argument(
        "--start-from", metavar="RUN",
        help="start with the networks of this run, of a .safetensors file, or 'bundled'",
    )  # fmt: skip
    add = parser.add_argument
    add(
        "--recipe", default="compact",
        help="compact, compact_zoom, compact_invariant, adapt, paper or a file (default: compact)",
    )  # fmt: skip
    add_output(
        parser, "RUN|FILE",
        "the run's folder (default: runs/RECIPE); with --export the .safetensors file",
    )  # fmt: skip
    add(
        "--set", action="append", default=[], metavar="NAME=VALUE", type=setting(json_or_text),
        help="replace a value of the recipe, such as n_images=1000000; may be repeated",
    )  # fmt: skip
    add("--shards", metavar="DIR", help="flames of 'astrofractal fractals'")
    add(
        "--maps", metavar="DIR",
        help="with --recipe adapt: map sets, or FITS maps of gas with WCS and DISTANCE",
    )  # fmt: skip
    add(
        "--trainer", action="append", default=[], metavar="NAME=VALUE",
        type=setting(json_or_text, _TRAINER),
        help="devices, strategy (ddp, fsdp), n_nodes, precision (32-true, bf16-mixed; default: the "
        "faster), n_workers (that render, per process) or max_steps (then stop; --resume continues)",
    )  # fmt: skip


def json_or_text(text):
    """Return the number, list or boolean that a text stands for, or the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def run(args):
    refuse({"--export needs --output FILE": args.export and args.output is None})
    if args.export:
        check_files(args, "output")
    else:
        check_folder(args)
    check_inputs(args.resume, args.export, args.shards, args.maps)
    from astrofractal.pretraining import export_run, pretrain

    if args.export:
        card = export_run(args.export, args.output)
        if not args.quiet:
            print(f"{args.output}: {card['architecture']}, {card['images_seen']} images seen")
        return
    if not args.quiet:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = pretrain(
        args.recipe,
        **given(args, ("output", "resume", "start_from", "shards", "maps")),
        progress_bar=not args.quiet,
        **dict(args.trainer),
        **dict(args.set),
    )
    if not args.quiet:
        print(f"run: {folder}")
