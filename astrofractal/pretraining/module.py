"""DINOv2 as a LightningModule: student, EMA teacher, three losses and an optional fourth."""

import random

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

from astrofractal.encoder import create_backbone
from astrofractal.encoder.structure import (
    at_center,
    n_center_targets,
    n_structure_targets,
    structure_targets,
)
from astrofractal.pretraining.augmentations import ViewSampler
from astrofractal.pretraining.data import recipe_normalization
from astrofractal.pretraining.heads import Predictor, projection_head, suit_attention
from astrofractal.pretraining.losses import PrototypeLoss, effective_rank
from astrofractal.pretraining.recipe import Recipe

__all__ = ["DINOv2"]


class DINOv2(pl.LightningModule):
    """
    Self-distillation of a student by its moving average (Oquab et al. 2023, arXiv:2304.07193).

    The teacher encodes whole global views.  The student encodes a part of the tokens of the same
    views, and local crops: windows of tokens of other views, at their true place and scale.  Its class
    tokens match the teacher's (DINO), its hidden patch tokens match the teacher's patch tokens (iBOT),
    the class tokens of a batch are spread (KoLeo), and where the recipe asks for it the structure of all
    patches, hidden and visible, is predicted as well.

    Parameters
    ----------
    recipe : `~astrofractal.pretraining.Recipe`
        All numbers of the run.
    """

    def __init__(self, recipe):
        super().__init__()
        from lightly.loss import KoLeoLoss

        if isinstance(recipe, dict):
            recipe = Recipe(**recipe)
        self.recipe = recipe
        self.normalization = recipe_normalization(recipe)
        self.student = _network(recipe, drop_path=recipe.drop_path)
        self.teacher = _network(recipe, drop_path=0.0)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        backbone = self.student["backbone"]
        embed_dim = backbone.num_features
        self.patch_size = backbone.patch_embed.patch_size[0]
        self.grid = recipe.image_size // self.patch_size
        self.n_prefix = backbone.num_prefix_tokens
        if recipe.mask_mode == "drop":
            self.predictor = Predictor(
                embed_dim,
                self.grid**2,
                n_structure_targets(),
                dim=recipe.predictor_dim,
                depth=recipe.predictor_depth,
            )
            self.to_structure = nn.Linear(embed_dim, n_structure_targets())
            if recipe.class_structure_weight:
                self.class_to_structure = nn.Linear(embed_dim, n_center_targets())
        else:
            self.mask_token = nn.Parameter(torch.zeros(embed_dim))
        loss_options = {
            "centering": recipe.centering,
            "student_temperature": recipe.student_temperature,
        }
        self.class_loss = PrototypeLoss(recipe.n_prototypes, **loss_options)
        self.patch_loss = PrototypeLoss(recipe.n_prototypes, **loss_options)
        self.koleo_loss = KoLeoLoss()

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

    # ---------------------------------------------------------------- tokens

    def _encode(self, backbone, images, *, kept=None, masked=None):
        """Tokens after the last norm; of the ``kept`` patches alone, or with some ``masked``."""
        # A contrast of one per cent, as a protostar leaves it, is below what half precision resolves.
        with torch.autocast(images.device.type, enabled=False):
            patches = backbone.patch_embed(images)
        if masked is not None:
            masked = masked.reshape(*patches.shape[:-1], 1).to(patches.device)
            patches = torch.where(masked, self.mask_token.to(patches.dtype), patches)
        tokens = backbone._pos_embed(patches)
        if kept is not None:
            index = kept[:, :, None].expand(-1, -1, tokens.shape[-1])
            visible = tokens[:, self.n_prefix :].gather(1, index)
            tokens = torch.cat([tokens[:, : self.n_prefix], visible], 1)
        return backbone.norm(backbone.blocks(tokens))

    def _patch_head(self, network):
        return network["class_head" if self.recipe.shared_head else "patch_head"]

    # ---------------------------------------------------------------- one step

    def training_step(self, batch, _batch_index):
        """
        Return the loss of one batch of normalized flames.

        Parameters
        ----------
        batch : 4D `torch.Tensor`, shape (batch, n_channels, source_size, source_size)
            This process's share of the global batch.
        """
        recipe = self.recipe
        share = slice(self.global_rank, None, self.trainer.world_size)
        sampler = ViewSampler(recipe, self.global_step, share)
        # Whatever else draws random numbers in this step (stochastic depth) must not depend on what
        # was drawn before an interruption.
        torch.manual_seed((recipe.seed * 7919 + self.global_step) * 64 + self.global_rank)
        # Views are made on the CPU, where their random numbers are the same on every machine.
        images = batch.cpu()
        clean = [sampler.geometric(images) for _ in range(recipe.n_global)]
        losses, class_tokens = self._global_losses(clean, sampler)
        student_logits = [losses.pop("_student_logits")]
        structure = [losses.pop("structure")] if recipe.structure_weight else []
        for _ in range(recipe.n_local):
            local = sampler.geometric(images)
            view = sampler.degraded(local).to(self.device)
            kept = sampler.window_tokens(self.grid, recipe.local_grid).to(self.device)
            tokens = self._encode(self.student["backbone"], view, kept=kept)
            if recipe.structure_weight and not self._scattered():
                found = self.to_structure(tokens[:, self.n_prefix :])
                structure.append(_structure_loss(found, self._structure(local), kept))
            student_logits.append(self.student["class_head"](tokens[:, 0]))
        losses["dino"] = self._class_loss(losses.pop("_targets"), student_logits)
        losses["koleo"] = sum(self.koleo_loss(t.float()) for t in class_tokens) / recipe.n_global
        if structure:
            losses["structure"] = sum(structure) / len(structure)
        weights = {
            "dino": recipe.dino_weight,
            "ibot": recipe.ibot_weight,
            "koleo": recipe.koleo_weight,
            "structure": recipe.structure_weight,
            "class_structure": recipe.class_structure_weight,
        }
        total = sum(weights[name] * value for name, value in losses.items())
        several = self.trainer.world_size > 1
        self.log("loss", total.detach(), prog_bar=True, sync_dist=several)
        logged = {f"loss_{name}": value.detach() for name, value in losses.items()}
        self.log_dict(logged, sync_dist=several)
        return total

    def _global_losses(self, clean, sampler):
        recipe, student = self.recipe, self.student
        n_tokens = self.grid**2
        views = torch.cat([sampler.degraded(view) for view in clean]).to(self.device)
        clean = torch.cat(clean).to(self.device)
        with torch.no_grad():
            teacher_tokens = self._encode(self.teacher["backbone"], clean)
            teacher_logits = self.teacher["class_head"](teacher_tokens[:, 0])
            temperature = self._teacher_temperature()
            targets = [
                self.class_loss.targets(logits, temperature)
                for logits in teacher_logits.chunk(recipe.n_global)
            ]
        losses = {"_targets": targets}
        if recipe.mask_mode == "drop":
            if self._scattered():
                n_keep = n_tokens - round(recipe.mask_ratio * n_tokens)
                orders = [
                    sampler.scattered_tokens(self.grid, n_keep) for _ in range(recipe.n_global)
                ]
            else:
                n_keep = recipe.block_side**2
                orders = [
                    sampler.block_tokens(self.grid, recipe.block_side)
                    for _ in range(recipe.n_global)
                ]
            order = torch.cat(orders).to(self.device)
            tokens = self._encode(student["backbone"], views, kept=order[:, :n_keep])
            predicted, structure = self.predictor(tokens, self.n_prefix, order)
            hidden = order[:, n_keep:]
            target_tokens = _take(teacher_tokens[:, self.n_prefix :], hidden).flatten(0, 1)
            predicted = predicted.flatten(0, 1)
            if recipe.structure_weight:
                # Visible patches are read from the encoder's own tokens by one linear map, so that
                # a linear or nearest-neighbor regressor finds their structure there later.
                visible = self.to_structure(tokens[:, self.n_prefix :])
                found = torch.cat([visible, structure], 1)
                targets = self._structure(clean)
                losses["structure"] = _structure_loss(found, targets, order)
            if recipe.class_structure_weight:
                found = self.class_to_structure(tokens[:, 0])
                losses["class_structure"] = F.smooth_l1_loss(found.float(), at_center(targets))
        else:
            masked = self._block_masks(len(views)).to(self.device)
            tokens = self._encode(student["backbone"], views, masked=masked)
            target_tokens = teacher_tokens[:, self.n_prefix :][masked]
            predicted = tokens[:, self.n_prefix :][masked]
        with torch.no_grad():
            patch_targets = self.patch_loss.targets(
                self._patch_head(self.teacher)(target_tokens), temperature
            )
        losses["ibot"] = self.patch_loss(patch_targets, self._patch_head(student)(predicted))
        losses["_student_logits"] = student["class_head"](tokens[:, 0])
        self._log_features(teacher_tokens)
        return losses, tokens[:, 0].chunk(recipe.n_global)

    def _structure(self, views):
        return structure_targets(views.to(self.device), self.patch_size, self.normalization)

    def _class_loss(self, targets, student_logits):
        """Every teacher view against every student view but, if there are two, its own."""
        own, *local = student_logits
        total, n_terms = 0.0, 0
        students = [*own.chunk(len(targets)), *local]
        for i, target in enumerate(targets):
            for j, logits in enumerate(students):
                if i == j and len(targets) > 1:
                    continue
                total, n_terms = total + self.class_loss(target, logits), n_terms + 1
        return total / n_terms

    def _block_masks(self, n_images):
        from lightly.models.utils import random_block_mask

        state = random.getstate()
        random.seed(self.recipe.seed * 1_000_003 + self.global_step * 64 + self.global_rank)
        masks = random_block_mask(
            (n_images, self.grid, self.grid), max_image_mask_ratio=self.recipe.mask_ratio
        )
        random.setstate(state)
        return masks.flatten(1)

    def _log_features(self, teacher_tokens):
        if self.global_step % 50:
            return
        center = self.grid // 2 * self.grid + self.grid // 2
        for name, features in (
            ("class", teacher_tokens[:, 0]),
            ("central", teacher_tokens[:, self.n_prefix + center]),
        ):
            self.log(f"std_{name}", features.float().std(0).mean())
            self.log(f"rank_{name}", effective_rank(features))

    # ---------------------------------------------------------------- schedules

    def _progress(self):
        return min(1.0, self.global_step / self.recipe.n_steps)

    def _scattered(self):
        return self._progress() < self.recipe.scattered_until

    def _teacher_temperature(self):
        recipe = self.recipe
        ramp = min(1.0, self._progress() / 0.3)
        return recipe.teacher_temperature_warmup + ramp * (
            recipe.teacher_temperature - recipe.teacher_temperature_warmup
        )

    def _cosine(self, start, end):
        from lightly.utils.scheduler import cosine_schedule

        step = min(self.global_step, self.recipe.n_steps)
        # A number of Python: those of NumPy would make the checkpoint depend on its version.
        return float(cosine_schedule(step, self.recipe.n_steps, start, end))

    def configure_optimizers(self):
        """Create AdamW with one group a layer and kind, for layer-wise learning-rate decay."""
        recipe = self.recipe
        depth = len(self.student["backbone"].blocks)
        groups = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = depth
            if name.startswith("student.backbone"):
                layer = (
                    int(name.split(".")[3]) if ".blocks." in name else depth * (".norm." in name)
                )
            decayed = parameter.ndim > 1 and "token" not in name and "pos_embed" not in name
            last = "last_layer" in name
            group = groups.setdefault(
                (layer, decayed, last),
                {
                    "params": [],
                    "scale": recipe.layer_decay ** (depth - layer),
                    "decayed": decayed,
                    "last_layer": last,
                },
            )
            group["params"].append(parameter)
        return torch.optim.AdamW(list(groups.values()), lr=recipe.learning_rate, betas=(0.9, 0.98))

    def on_train_batch_start(self, _batch, _batch_index):
        """Set the learning rates and weight decays of this step."""
        recipe = self.recipe
        warmup = max(1, round(recipe.warmup * recipe.n_steps))
        if self.global_step < warmup:
            rate = recipe.learning_rate * (self.global_step + 1) / warmup
        else:
            rate = self._cosine(recipe.learning_rate, recipe.learning_rate_end)
        decay = self._cosine(recipe.weight_decay, recipe.weight_decay_end)
        frozen = self._progress() < recipe.freeze_last_layer
        for group in self.optimizers().param_groups:
            group["lr"] = 0.0 if frozen and group["last_layer"] else rate * group["scale"]
            group["weight_decay"] = decay if group["decayed"] else 0.0
        self.log("learning_rate", rate)

    def on_train_batch_end(self, _outputs, _batch, _batch_index):
        """Move the teacher toward the student."""
        momentum = self._cosine(self.recipe.momentum, self.recipe.momentum_end)
        if self._device_mesh is None:
            from lightly.models.utils import update_momentum

            update_momentum(self.student, self.teacher, momentum)
            return
        # The same in place: sharded parameters must keep their storage.
        with torch.no_grad():
            for own, average in zip(self.student.parameters(), self.teacher.parameters()):
                average.mul_(momentum).add_(own * (1.0 - momentum))

    def on_save_checkpoint(self, checkpoint):
        """Keep the recipe with the weights."""
        checkpoint["recipe"] = self.recipe.to_dict()


def _network(recipe, *, drop_path):
    backbone = create_backbone(recipe.model, img_size=recipe.image_size, drop_path_rate=drop_path)
    suit_attention(backbone.blocks, (recipe.image_size // backbone.patch_embed.patch_size[0]) ** 2)
    network = {"backbone": backbone, "class_head": projection_head(recipe, backbone.num_features)}
    if not recipe.shared_head:
        network["patch_head"] = projection_head(recipe, backbone.num_features)
    return nn.ModuleDict(network)


def _structure_loss(found, targets, index):
    return F.smooth_l1_loss(found.float(), _take(targets, index))


def _take(tokens, index):
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[-1]))
