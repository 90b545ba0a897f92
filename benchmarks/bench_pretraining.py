"""Speed of the pretraining step, as ratios that depend little on the machine.

    python benchmarks/bench_pretraining.py
    python benchmarks/bench_pretraining.py --steps 40 --set batch_size=128
    python benchmarks/bench_pretraining.py --device cuda --recipe compact_invariant --steps 200

Real steps (data, views, heads, losses, optimizer, moving average, logging) and raw passes take turns
in one run.  A raw pass is the teacher's forward pass, and the student's forward and backward passes,
of as many images of the same size through the same timm model in the same precision, from random
numbers in memory: either of whole crops, or ("same tokens") of those tokens alone that the student of
the recipe sees.  On the CPU ratios are of the CPU time of the main process, which neither a busy
machine nor the worker that renders the flames enters; the worker's own speed is printed too.  On a
GPU they are of the time on the clock with the GPU waited for, as many workers as the cores allow, and
passes of random numbers that lie there already: a step that waits for its images shows.
"""

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from astrofractal.cli.options import setting
from astrofractal.cli.pretrain import json_or_text
from astrofractal.encoder.backbone import create_backbone, suit_attention
from astrofractal.pretraining import Recipe, pretrain
from astrofractal.pretraining.images import Flames
from astrofractal.pretraining.run import fastest_precision


class Raw:
    """The bare timm model, twice: as teacher and as student."""

    def __init__(self, recipe, precision, device):
        self.recipe, self.half, self.device = recipe, precision != "32-true", device
        networks = [
            create_backbone(recipe.model, img_size=recipe.views.image_size).to(device)
            for _ in range(2)
        ]
        self.teacher, self.student = networks
        self.patch = self.student.patch_embed.patch_size[0]
        self.grid = recipe.views.image_size // self.patch
        for network in networks:
            suit_attention(network.blocks, self.grid**2)
        n_pairs = 1 if recipe.views.pairing == "symmetric" else recipe.views.n_global
        shape = (recipe.batch_size * n_pairs, 3, recipe.views.image_size, recipe.views.image_size)
        self.views = torch.randn(shape, device=device)
        side = recipe.views.local_grid * self.patch
        self.local = torch.randn(recipe.batch_size, 3, side, side, device=device)

    def _student(self, images, n_keep=None):
        tokens = self.student._pos_embed(self.student.patch_embed(images))
        if n_keep is not None:
            tokens = tokens[:, : self.student.num_prefix_tokens + n_keep]
        return self.student.norm(self.student.blocks(tokens)).float().mean()

    def run(self, n_keep=None):
        """Pass the views, of which the student sees the first tokens, or all of them."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            with torch.no_grad():
                self.teacher.forward_features(self.views)
            loss = self._student(self.views, n_keep)
            for _ in range(self.recipe.views.n_local):
                loss = loss + self._student(self.local)
        loss.backward()
        self.student.zero_grad()


class TakeTurns(pl.Callback):
    """Times steps, from the start of one to the start of the next, and raw passes in between."""

    def __init__(self, raw, n_keep):
        self.raw, self.n_keep = raw, n_keep
        self.seconds = {"step": [], "same tokens": [], "whole crops": []}
        self.began = None

    def _now(self):
        if self.raw.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def _time(self, name, *args):
        began = self._now()
        self.raw.run(*args)
        self.seconds[name].append(self._now() - began)

    def on_train_batch_start(self, *_):
        if self.began is not None:
            self.seconds["step"].append(self._now() - self.began)
        self._time("same tokens", self.n_keep)
        self._time("whole crops")
        self.began = self._now()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--recipe", default="compact")
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed"), help="default: the faster"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", type=setting(json_or_text)
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("argument --device: this machine has no GPU that PyTorch can use")
    torch.set_num_threads(args.threads)
    # The second, longer part of the compact recipe's run: blocks of tokens.
    values = {"scattered_until": 0.0, "steps_per_checkpoint": 1000, **dict(args.set)}
    recipe = Recipe.load(args.recipe, **values)
    precision = args.precision or fastest_precision(recipe)
    n_keep = recipe.views.student_tokens or recipe.views.block_side**2
    turns = TakeTurns(Raw(recipe, precision, args.device), n_keep)
    with tempfile.TemporaryDirectory() as folder:
        pretrain(
            recipe,
            output=Path(folder) / "run",
            precision=precision,
            n_workers=1 if args.device == "cpu" else None,
            devices=1,
            max_steps=args.steps + 2,
            callbacks=[turns],
        )
    # The first step warms up.
    seconds = {name: np.array(values[1 : args.steps + 1]) for name, values in turns.seconds.items()}
    step = seconds.pop("step")
    batch = recipe.batch_size
    where = f"{args.threads} thread(s)" if args.device == "cpu" else torch.cuda.get_device_name()
    print(f"{recipe.name}, batch {batch}, {precision}, {where}, {len(step)} steps")
    rate = batch / np.median(step)
    clock = "of CPU" if args.device == "cpu" else "on the clock"
    print(f"training step       {np.median(step):6.3f} s {clock}: {rate:.0f} images a second")
    for name, raw in seconds.items():
        ratios = raw / step
        print(
            f"raw, {name:14s} {np.median(raw):6.3f} s: ratio {np.median(ratios):5.2f} "
            f"(quarter to three quarters: {np.quantile(ratios, 0.25):.2f} to "
            f"{np.quantile(ratios, 0.75):.2f}; wanted: at least 0.85)"
        )
    flames = Flames(recipe)
    began = time.process_time()
    for index in range(200):
        flames[index]
    rendered = 200 / (time.process_time() - began)
    print(
        f"rendering worker    {rendered:.0f} images a second and core: "
        f"{rendered / rate:.1f} times what the training takes"
    )


if __name__ == "__main__":
    main()
