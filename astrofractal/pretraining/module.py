"""DINOv2 as a LightningModule: student, EMA teacher and the terms of the loss."""

import random

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import distributed, nn

from astrofractal.encoder.backbone import create_backbone, full_precision, suit_attention
from astrofractal.encoder.pooling import center_features, center_patches, mean_and_scatter
from astrofractal.encoder.structure import (
    N_CENTER_TARGETS,
    N_STRUCTURE_TARGETS,
    at_center,
    structure_targets,
)
from astrofractal.pretraining.images import recipe_normalization
from astrofractal.pretraining.terms import (
    Predictor,
    PrototypeLoss,
    consistency_loss,
    effective_rank,
    mass_loss,
    projection_head,
)
from astrofractal.pretraining.views import MASS_ZOOM, ViewSampler

__all__ = ["DINOv2"]

#: Steps between two measurements of the terms' gradients, and of the features' health.
_MEASURE_EVERY = 50

_STRUCTURE = ("structure", "class_structure")


class DINOv2(pl.LightningModule):
    """Self-distillation of a student by its moving average (Oquab et al. 2023, arXiv:2304.07193)."""

    def __init__(self, recipe):
        super().__init__()
        from lightly.loss import KoLeoLoss

        self.recipe, self.views, self.terms = recipe, recipe.views, recipe.terms
        self.symmetric = recipe.views.pairing == "symmetric"
        #: The number of views that each network encodes whole.
        self.n_pairs = 1 if self.symmetric else recipe.views.n_global
        self.normalization = recipe_normalization(recipe)
        self.student = _network(recipe, drop_path=recipe.optimizer.drop_path)
        self.teacher = _network(recipe, drop_path=0.0)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        backbone = self.student["backbone"]
        embed_dim = backbone.num_features
        self.patch_size = backbone.patch_embed.patch_size[0]
        self.grid = recipe.views.image_size // self.patch_size
        recipe.check_patches(self.patch_size)
        self.n_prefix = backbone.num_prefix_tokens
        if recipe.views.mask_mode == "drop":
            size = {"dim": recipe.terms.predictor_dim, "depth": recipe.terms.predictor_depth}
            self.predictor = Predictor(embed_dim, self.grid**2, N_STRUCTURE_TARGETS, **size)
            self.to_structure = nn.Linear(embed_dim, N_STRUCTURE_TARGETS)
            if recipe.terms.class_structure_weight:
                self.class_to_structure = nn.Linear(embed_dim, N_CENTER_TARGETS)
        else:
            self.mask_token = nn.Parameter(torch.zeros(embed_dim))
        prototypes = recipe.terms.n_prototypes, recipe.terms.centering
        self.class_loss = PrototypeLoss(*prototypes)
        self.patch_loss = PrototypeLoss(*prototypes)
        self.koleo_loss = KoLeoLoss()
        if recipe.terms.center_weight:
            self.center_loss = PrototypeLoss(*prototypes)
        if recipe.terms.protostar_mass_weight:
            self.to_mass = nn.Linear(3 * embed_dim, 2)
        self.register_buffer("structure_factor", torch.ones(()))

    def configure_model(self):
        """Shard all networks over the devices if the strategy asks for it (``"fsdp"``)."""
        mesh = self._device_mesh
        if mesh is None or hasattr(self, "set_requires_gradient_sync"):
            return
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        for network in (self.student, self.teacher):
            for block in network["backbone"].blocks:
                fully_shard(block, mesh=mesh)
        fully_shard(self, mesh=mesh)
        register_fsdp_forward_method(self, "training_step")

    def _encode(self, backbone, images, *, kept=None, masked=None):
        """Tokens after the last norm; of the ``kept`` patches alone, or with some ``masked``."""
        # A contrast of one per cent, as a protostar leaves it, is below what half precision resolves.
        with full_precision(images.device):
            patches = backbone.patch_embed(images)
        if masked is not None:
            masked = masked.reshape(*patches.shape[:-1], 1).to(patches.device)
            patches = torch.where(masked, self.mask_token.to(patches.dtype), patches)
        tokens = backbone._pos_embed(patches)
        if kept is not None:
            visible = _take(tokens[:, self.n_prefix :], kept)
            tokens = torch.cat([tokens[:, : self.n_prefix], visible], 1)
        return backbone.norm(backbone.blocks(tokens))

    def training_step(self, batch, _batch_index):
        """Return the loss of one batch of normalized flames."""
        # Whatever else draws random numbers in this step (stochastic depth) must not depend on what
        # was drawn before an interruption.
        torch.manual_seed((self.recipe.seed * 7919 + self.global_step) * 64 + self.global_rank)
        images, log_mass = batch
        teachers, students = (
            [self._sampler(2 * i + k) for i in range(self.n_pairs)] for k in (0, 1)
        )
        places = [sampler.geometry(images.shape[-1]) for sampler in students]
        taught = self._teach(images, places, teachers)
        losses, seen, logits = self._global_losses(images, log_mass, places, taught, students)
        structure = [losses.pop("structure")] if self.terms.structure_weight else []
        for number in range(self.views.n_local):
            sampler = self._sampler(2 * self.n_pairs + number)
            tokens, found = self._local_crop(images, places[0], sampler)
            structure += found
            logits.append(self.student["class_head"](tokens[:, 0]))
            seen.append(tokens)
        losses["dino"] = self._class_loss(taught["class"], logits)
        if structure:
            losses["structure"] = sum(structure) / len(structure)
        weights = {name: getattr(self.terms, f"{name}_weight", 1.0) for name in losses}
        weighted = {name: weights[name] * value for name, value in losses.items()}
        self._measure_gradients(weighted, seen)
        total = sum(
            self.structure_factor * value if name in _STRUCTURE else value
            for name, value in weighted.items()
        )
        several = self.trainer.world_size > 1
        self.log("loss", total.detach(), prog_bar=True, sync_dist=several)
        logged = {f"loss_{name}": value.detach() for name, value in losses.items()}
        self.log_dict(logged, sync_dist=several)
        return total

    def _sampler(self, view):
        """The sampler of the views of this number, for this process's share of the step's images."""
        share = slice(self.global_rank, None, self.trainer.world_size)
        return ViewSampler(self.recipe, self.global_step, share, view=view, device=self.device)

    @torch.no_grad()
    def _teach(self, images, places, samplers):
        """The teacher's targets of the class and of the center of its views, and its tokens."""
        if self.symmetric:
            places = [s.symmetric(place) for s, place in zip(samplers, places, strict=True)]
        views = [
            s.cut(s.degraded(images) if self.views.degraded_teacher else images, place)
            for s, place in zip(samplers, places, strict=True)
        ]
        tokens = self._encode(self.teacher["backbone"], torch.cat(views))
        self._log_features(tokens)
        temperature = self._teacher_temperature()
        logits = self.teacher["class_head"](tokens[:, 0])
        taught = {
            "places": places,
            "tokens": tokens,
            "class": [self.class_loss.targets(x, temperature) for x in logits.chunk(len(places))],
        }
        if self.symmetric:
            taught["center"] = center_features(tokens, (self.grid, self.grid), self.n_prefix)
            if self.terms.center_weight:
                logits = self.teacher["center_head"](taught["center"])
                taught["center_targets"] = self.center_loss.targets(logits, temperature)
        return taught

    def _global_losses(self, images, log_mass, places, taught, samplers):
        """Losses of whole views, the student's tokens, and its logits of the class of each view."""
        student, drawn = self.student, list(zip(samplers, places, strict=True))
        views = torch.cat([s.cut(s.degraded(images), place) for s, place in drawn])
        teacher_tokens = taught["tokens"][:, self.n_prefix :]
        losses = {}
        if self.views.mask_mode == "drop":
            orders, n_keep = zip(*map(self._visible, samplers))
            order, n_keep = torch.cat(orders), n_keep[0]
            tokens = self._encode(student["backbone"], views, kept=order[:, :n_keep])
            predicted, structure = self.predictor(tokens, self.n_prefix, order)
            predicted = predicted.flatten(0, 1)
            hidden = order[:, n_keep:]
            if self.symmetric:
                same = taught["places"][0].tokens_in(places[0], self.grid)
                hidden = same.gather(1, hidden)
            target_tokens = _take(teacher_tokens, hidden).flatten(0, 1)
            if self.terms.structure_weight:
                clean = torch.cat([s.cut(images, place) for s, place in drawn])
                # Visible patches are read from the encoder's own tokens by one linear map, so that
                # a linear or nearest-neighbor regressor finds their structure there later.
                visible = self.to_structure(tokens[:, self.n_prefix :])
                found = torch.cat([visible, structure], 1)
                targets = structure_targets(clean, self.patch_size, self.normalization)
                losses["structure"] = _structure_loss(found, targets, order)
                if self.terms.class_structure_weight:
                    found = self.class_to_structure(tokens[:, 0])
                    losses["class_structure"] = F.smooth_l1_loss(found.float(), at_center(targets))
            if self.symmetric:
                asked = places[0].zoom == MASS_ZOOM
                losses |= self._center_losses(tokens, order[:, :n_keep], taught, log_mass, asked)
        else:
            masked = self._block_masks(len(views)).to(self.device)
            tokens = self._encode(student["backbone"], views, masked=masked)
            target_tokens = teacher_tokens[masked]
            predicted = tokens[:, self.n_prefix :][masked]
        head = "class_head" if self.terms.shared_head else "patch_head"
        with torch.no_grad():
            logits = self.teacher[head](target_tokens)
            patch_targets = self.patch_loss.targets(logits, self._teacher_temperature())
        losses["ibot"] = self.patch_loss(patch_targets, student[head](predicted))
        class_tokens = tokens[:, 0].chunk(len(places))
        losses["koleo"] = sum(self.koleo_loss(t.float()) for t in class_tokens) / len(places)
        return losses, [tokens], list(student["class_head"](tokens[:, 0]).chunk(len(places)))

    def _visible(self, sampler):
        """An order of the patches, and how many of the first ones the student is given."""
        views, n_tokens = self.views, self.grid**2
        if self.symmetric:
            n_keep = views.student_tokens
            return sampler.central_tokens(self.grid, views.block_side, n_keep), n_keep
        if self._scattered():
            n_keep = n_tokens - round(views.mask_ratio * n_tokens)
            return sampler.scattered_tokens(self.grid, n_keep), n_keep
        return sampler.block_tokens(self.grid, views.block_side), views.block_side**2

    def _center_losses(self, tokens, kept, taught, log_mass, asked):
        """Losses of the center of a view: against the teacher's, and of the mass where ``asked``."""
        # The central 2 x 2 tokens are among the kept ones.
        where = (kept[:, :, None] == center_patches(self.grid).to(kept)).int().argmax(1)
        central, losses = mean_and_scatter(_take(tokens[:, self.n_prefix :], where)), {}
        if self.terms.center_weight:
            logits = self.student["center_head"](central)
            losses["center"] = self.center_loss(taught["center_targets"], logits)
        if self.terms.consistency_weight:
            losses["consistency"] = consistency_loss(central, taught["center"])
        if self.terms.protostar_mass_weight:
            found = self.to_mass(torch.cat([tokens[:, 0], central], 1))
            losses["protostar_mass"] = mass_loss(found, log_mass, asked)
        return losses

    def _local_crop(self, images, place, sampler):
        """Tokens of a local crop, and the loss of its structure if the recipe has one."""
        backbone = self.student["backbone"]
        if self.views.local_scaled:
            crop, size = sampler.local(place), self.views.local_grid * self.patch_size
            return self._encode(backbone, sampler.cut(sampler.degraded(images), crop, size)), []
        place = sampler.geometry(images.shape[-1])
        view = sampler.cut(sampler.degraded(images), place)
        kept = sampler.window_tokens(self.grid, self.views.local_grid)
        tokens = self._encode(backbone, view, kept=kept)
        if not self.terms.structure_weight or self._scattered():
            return tokens, []
        clean = sampler.cut(images, place)
        targets = structure_targets(clean, self.patch_size, self.normalization)
        found = self.to_structure(tokens[:, self.n_prefix :])
        return tokens, [_structure_loss(found, targets, kept)]

    def _measure_gradients(self, weighted, seen):
        """Log each term's gradient at the encoder's tokens; limit that of the structure to its share."""
        if self.global_step % _MEASURE_EVERY:
            return

        def norm(value):
            found = torch.autograd.grad(value, seen, retain_graph=True, allow_unused=True)
            return sum(g.float().square().sum() for g in found if g is not None) ** 0.5

        norms = {name: norm(value) for name, value in weighted.items()}
        self.log_dict({f"gradient_{name}": value for name, value in norms.items()})
        share, own = self.terms.structure_share, [norms[n] for n in _STRUCTURE if n in norms]
        if share == 1 or not own:
            return
        others = norm(sum(value for name, value in weighted.items() if name not in _STRUCTURE))
        factor = (share / (1 - share) * others / sum(own).clamp_min(1e-12)).clamp_max(1.0)
        if distributed.is_initialized():
            distributed.all_reduce(factor)
            factor = factor / distributed.get_world_size()
        first = self.global_step == 0
        self.structure_factor.copy_(factor if first else 0.5 * (self.structure_factor + factor))
        self.log("structure_factor", self.structure_factor.item())

    def _class_loss(self, targets, student_logits):
        """Every teacher view against every student view but, if there are several, its own."""
        found = [
            self.class_loss(target, logits)
            for i, target in enumerate(targets)
            for j, logits in enumerate(student_logits)
            if i != j or len(targets) == 1
        ]
        return sum(found) / len(found)

    def _block_masks(self, n_images):
        from lightly.models.utils import random_block_mask

        state = random.getstate()
        random.seed(self.recipe.seed * 1_000_003 + self.global_step * 64 + self.global_rank)
        masks = random_block_mask(
            (n_images, self.grid, self.grid), max_image_mask_ratio=self.views.mask_ratio
        )
        random.setstate(state)
        return masks.flatten(1)

    def _log_features(self, teacher_tokens):
        if self.global_step % _MEASURE_EVERY:
            return
        center = self.n_prefix + self.grid // 2 * self.grid + self.grid // 2
        for name, token in {"class": 0, "central": center}.items():
            features = teacher_tokens[:, token]
            self.log(f"std_{name}", features.float().std(0).mean())
            self.log(f"rank_{name}", effective_rank(features))

    def _progress(self):
        return min(1.0, self.global_step / self.recipe.n_steps)

    def _scattered(self):
        return self._progress() < self.views.scattered_until

    def _teacher_temperature(self):
        start, end = self.terms.teacher_temperature_warmup, self.terms.teacher_temperature
        return start + min(1.0, self._progress() / 0.3) * (end - start)

    def _cosine(self, start, end):
        from lightly.utils.scheduler import cosine_schedule

        step = min(self.global_step, self.recipe.n_steps)
        # A number of Python: those of NumPy would make the checkpoint depend on its version.
        return float(cosine_schedule(step, self.recipe.n_steps, start, end))

    def configure_optimizers(self):
        """Create AdamW with one group per layer and kind, for layer-wise learning-rate decay."""
        values, depth = self.recipe.optimizer, len(self.student["backbone"].blocks)
        groups = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = depth
            if name.startswith("student.backbone.blocks."):
                layer = int(name.split(".")[3])
            elif name.startswith("student.backbone.") and ".norm." not in name:
                layer = 0
            decayed = parameter.ndim > 1 and "token" not in name and "pos_embed" not in name
            kind = (values.layer_decay ** (depth - layer), decayed, "last_layer" in name)
            groups.setdefault((layer, *kind), []).append(parameter)
        return torch.optim.AdamW(
            [
                {"params": own, "scale": scale, "decayed": decayed, "last_layer": last}
                for (_, scale, decayed, last), own in groups.items()
            ],
            lr=values.learning_rate,
            betas=(0.9, 0.98),
        )

    def on_train_batch_start(self, _batch, _batch_index):
        """Set the learning rates and weight decays of this step."""
        values = self.recipe.optimizer
        warmup = max(1, round(values.warmup * self.recipe.n_steps))
        if self.global_step < warmup:
            rate = values.learning_rate * (self.global_step + 1) / warmup
        else:
            rate = self._cosine(values.learning_rate, values.learning_rate_end)
        decay = self._cosine(values.weight_decay, values.weight_decay_end)
        frozen = self._progress() < self.terms.freeze_last_layer
        for group in self.optimizers().param_groups:
            group["lr"] = 0.0 if frozen and group["last_layer"] else rate * group["scale"]
            group["weight_decay"] = decay if group["decayed"] else 0.0
        self.log("learning_rate", rate)

    def on_train_batch_end(self, _outputs, _batch, _batch_index):
        """Move the teacher toward the student."""
        momentum = self._cosine(self.recipe.optimizer.momentum, 1.0)
        with torch.no_grad():  # in place: sharded parameters must keep their storage
            for own, average in zip(self.student.parameters(), self.teacher.parameters()):
                average.mul_(momentum).add_(own, alpha=1.0 - momentum)


def _network(recipe, *, drop_path):
    backbone = create_backbone(
        recipe.model, img_size=recipe.views.image_size, drop_path_rate=drop_path
    )
    suit_attention(backbone.blocks, backbone.patch_embed.num_patches)
    network = {"backbone": backbone, "class_head": projection_head(recipe, backbone.num_features)}
    if not recipe.terms.shared_head:
        network["patch_head"] = projection_head(recipe, backbone.num_features)
    if recipe.terms.center_weight:
        network["center_head"] = projection_head(recipe, 2 * backbone.num_features)
    return nn.ModuleDict(network)


def _structure_loss(found, targets, index):
    return F.smooth_l1_loss(found.float(), _take(targets, index))


def _take(tokens, index):
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[-1]))
