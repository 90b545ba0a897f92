"""Pretrain an encoder by DINOv2 on fractal flames, continue a run, or export its
weights.

  astrofractal pretrain --recipe compact --output runs/mine       start
  astrofractal pretrain --resume runs/mine                        continue after an interruption
  astrofractal pretrain --export runs/mine --output mine.safetensors
  astrofractal pretrain --recipe adapt --maps DIR --start-from bundled
                                                                  adapt to maps of your own

Any value of a recipe can be replaced: --set batch_size=128 --set
n_images=1000000.  On several GPUs or machines start it with torchrun and add
--trainer strategy=ddp or fsdp.  Needs: python -m pip install "astrofractal[pretrain]".
"""

import json

from astrofractal.cli.options import add_output, check_folder, check_output

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
        "--recipe",
        default="compact",
        help="compact, compact_zoom, compact_invariant, adapt, paper or a file (default: %(default)s)",
    )
    add_output(
        parser, metavar="RUN|FILE",
        help="the run's folder (default: runs/RECIPE); with --export the .safetensors file",
    )  # fmt: skip
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
        "--n-workers",
        type=int,
        metavar="N",
        help="processes that render for each that trains (default: as many as cores allow)",
    )
    parser.add_argument(
        "--trainer", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of Lightning: devices, strategy (ddp, fsdp), n_nodes or precision "
        "(32-true, bf16-mixed; default: the faster, measured at start)",
    )  # fmt: skip
    parser.add_argument("--max-steps", type=int, help="stop after this step; --resume continues")


_TRAINER = ("devices", "strategy", "n_nodes", "precision")


def overrides_of(settings, option="--set"):
    """Return values that were given as ``NAME=VALUE``."""
    overrides = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            msg = f"{option} must be NAME=VALUE, got {setting!r}"
            raise ValueError(msg)
        try:
            overrides[name] = json.loads(text)
        except json.JSONDecodeError:
            overrides[name] = text
    return overrides


def run(args):
    """Run ``astrofractal pretrain``."""
    import logging

    if args.export and args.output is None:
        msg = "--export needs --output FILE"
        raise ValueError(msg)
    if args.export:
        check_output("--output", args.output, overwrite=args.overwrite)
    else:
        check_folder("--output", args.output)
    trainer = overrides_of(args.trainer, "--trainer")
    wrong = sorted(set(trainer) - set(_TRAINER))
    if wrong:
        msg = f"--trainer must be among {', '.join(_TRAINER)}, got {wrong[0]!r}"
        raise ValueError(msg)
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
        output=args.output,
        resume=args.resume,
        start_from=args.start_from,
        shards=args.shards,
        maps=args.maps,
        n_workers=args.n_workers,
        max_steps=args.max_steps,
        progress_bar=not args.quiet,
        **trainer,
        **overrides_of(args.set),
    )
    if not args.quiet:
        print(f"run: {folder}")
