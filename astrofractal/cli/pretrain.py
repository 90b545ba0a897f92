"""Pretrain an encoder by DINOv2 on fractal flames, continue a run, or export its
weights.

  astrofractal pretrain --recipe compact --output runs/mine       start
  astrofractal pretrain --resume runs/mine                        continue after an interruption
  astrofractal pretrain --export runs/mine --to mine.safetensors  write the teacher's weights
  astrofractal pretrain --recipe adapt --maps DIR --start-from bundled
                                                                  adapt to maps of your own

Any value of a recipe can be replaced: --set batch_size=128 --set
n_images=1000000.  On several GPUs or machines start it with torchrun and add
--strategy ddp or fsdp.  Needs: python -m pip install "astrofractal[pretrain]".
"""

import json

from astrofractal.cli.options import check_folder, check_output

HELP = "pretrain an encoder on fractal flames"


def add_arguments(parser):
    """Declare the arguments of ``astrofractal pretrain``."""
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--resume", metavar="RUN", help="continue the run in this folder")
    action.add_argument("--export", metavar="RUN", help="write the weights of this run and stop")
    action.add_argument(
        "--start-from",
        metavar="RUN",
        help="start a new run with the networks of this one, of a .safetensors file, or 'bundled'",
    )
    parser.add_argument(
        "--to", metavar="FILE", help="with --export: the .safetensors file to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --to")
    parser.add_argument(
        "--recipe",
        default="compact",
        help="compact, compact_zoom, compact_invariant, adapt, paper or a file (default: %(default)s)",
    )
    parser.add_argument(
        "--output", "-o", metavar="RUN", help="the run's folder (default: runs/RECIPE)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="replace a value of the recipe; may be given several times",
    )
    parser.add_argument("--shards", metavar="DIR", help="flames of 'astrofractal fractals'")
    parser.add_argument(
        "--maps",
        metavar="DIR",
        help="with --recipe adapt: FITS files of gas to adapt to, map sets or maps with WCS and "
        "DISTANCE; masses are not read",
    )
    parser.add_argument(
        "--precision", help="32-true, bf16-mixed, ... (default: the faster, measured at start)"
    )
    parser.add_argument(
        "--n-workers",
        type=int,
        metavar="N",
        help="processes that render for each that trains (default: as many as cores allow)",
    )
    parser.add_argument("--devices", default="auto", help="as in Lightning (default: %(default)s)")
    parser.add_argument("--strategy", default="auto", help="ddp, fsdp, ... (default: %(default)s)")
    parser.add_argument("--n-nodes", type=int, default=1, help="machines (default: %(default)s)")
    parser.add_argument("--max-steps", type=int, help="stop after this step; --resume continues")


def overrides_of(settings):
    """Return values of a recipe that were given as ``NAME=VALUE``."""
    overrides = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            msg = f"--set must be NAME=VALUE, got {setting!r}"
            raise ValueError(msg)
        try:
            overrides[name] = json.loads(text)
        except json.JSONDecodeError:
            overrides[name] = text
    return overrides


def run(args):
    """Run ``astrofractal pretrain``."""
    import logging

    if bool(args.export) != bool(args.to):
        msg = "--export RUN and --to FILE go together"
        raise ValueError(msg)
    check_output("--to", args.to, overwrite=args.overwrite)
    check_folder("--output", args.output)
    from astrofractal.pretraining import export_run, pretrain

    if args.export:
        card = export_run(args.export, args.to)
        if not args.quiet:
            print(f"{args.to}: {card['architecture']}, {card['images_seen']} images seen")
        return
    if not args.quiet:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    devices = int(args.devices) if args.devices.isdigit() else args.devices
    folder = pretrain(
        args.recipe,
        output=args.output,
        resume=args.resume,
        start_from=args.start_from,
        shards=args.shards,
        maps=args.maps,
        precision=args.precision,
        n_workers=args.n_workers,
        devices=devices,
        strategy=args.strategy,
        n_nodes=args.n_nodes,
        max_steps=args.max_steps,
        progress_bar=not args.quiet,
        **overrides_of(args.set),
    )
    if not args.quiet:
        print(f"run: {folder}")
