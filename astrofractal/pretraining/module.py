"""DINOv2 as a LightningModule: student, EMA teacher and the terms of the loss."""

import random
import warnings

import pytorch_lightning as pl
import torch
from torch import nn

from astrofractal.encoder.backbone import create_backbone, full_precision, suit_attention
from astrofractal.encoder.pooling import center_patches, effective_rank, mean_and_scatter
from astrofractal.encoder.structure import N_CENTER_TARGETS, N_STRUCTURE_TARGETS, structure_targets
from astrofractal.pretraining.images import recipe_normalization
from astrofractal.pretraining.terms import TERMS, Predictor, PrototypeLoss, Step, take
from astrofractal.pretraining.views import MASS_ZOOM, ViewSampler

#: Steps between two measurements of the terms' gradients, and of the features' health.
_MEASURE_EVERY = 50


class DINOv2(pl.LightningModule):
    """Self-distillation of a student by its moving average (Oquab et al. 2023, arXiv:2304.07193)."""

    def __init__(self, recipe):
        super().__init__()
        from lightly.loss import KoLeoLoss

        self.recipe, self.views = recipe, recipe.views
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
        self.terms = [term for term in (cls(self) for cls in TERMS) if term.weight]
        self.limited = [term.name for term in self.terms if term.limited]

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
            visible = take(tokens[:, self.n_prefix :], kept)
            tokens = torch.cat([tokens[:, : self.n_prefix], visible], 1)
        return backbone.norm(backbone.blocks(tokens))

    def training_step(self, batch, _batch_index):
        """Return the loss of one batch of normalized flames."""
        # Whatever else draws random numbers in this step (stochastic depth) must not depend on what
        # was drawn before an interruption.
        torch.manual_seed((self.recipe.seed * 7919 + self.global_step) * 64 + self.global_rank)
        step = self._encoded(*batch)
        losses = {term.name: term.loss(step) for term in self.terms}
        weighted = {term.name: term.weight * losses[term.name] for term in self.terms}
        self._measure_gradients(weighted, [step.student, *step.crops])
        total = sum(
            self.structure_factor * value if name in self.limited else value
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

    def _encoded(self, images, log_mass):
        """Views of the images as both networks encode them."""
        teachers, students = (
            [self._sampler(2 * i + k) for i in range(self.n_pairs)] for k in (0, 1)
        )
        places = taught = [sampler.geometry(images.shape[-1]) for sampler in students]
        if self.symmetric:
            taught = [s.symmetric(place) for s, place in zip(teachers, places, strict=True)]
        views = _cut(images, teachers, taught, degraded=self.views.degraded_teacher)
        with torch.no_grad():
            teacher = self._encode(self.teacher["backbone"], views)
        self._log_features(teacher)
        step = Step(self.n_pairs, self._teacher_temperature(), log_mass, teacher)
        views = _cut(images, students, places, degraded=True)
        if self.views.mask_mode == "drop":
            self._predict(step, images, views, students, places, taught[0])
        else:
            masked = self._block_masks(len(views)).to(self.device)
            step.student = self._encode(self.student["backbone"], views, masked=masked)
            step.predicted = step.student[:, self.n_prefix :][masked]
            step.hidden = teacher[:, self.n_prefix :][masked]
        for number in range(self.views.n_local):
            sampler = self._sampler(2 * self.n_pairs + number)
            self._add_crop(step, images, places[0], sampler)
        return step

    def _predict(self, step, images, views, samplers, places, taught):
        """Encode the visible patches of whole views, and predict the hidden ones."""
        order, n_keep = self._visible(samplers)
        kept, hidden = order[:, :n_keep], order[:, n_keep:]
        step.student = self._encode(self.student["backbone"], views, kept=kept)
        predicted, structure = self.predictor(step.student, self.n_prefix, order)
        step.predicted = predicted.flatten(0, 1)
        if self.symmetric:
            hidden = taught.tokens_in(places[0], self.grid).gather(1, hidden)
            step.asked = places[0].zoom == MASS_ZOOM
            middle = center_patches(self.grid).to(kept)
            step.teacher_center = mean_and_scatter(step.teacher[:, self.n_prefix + middle])
            # The central 2 x 2 tokens are among the kept ones.
            step.central = self.n_prefix + (kept[:, :, None] == middle).int().argmax(1)
        step.hidden = take(step.teacher, self.n_prefix + hidden).flatten(0, 1)
        if self.recipe.terms.structure_weight:
            # Visible patches are read from the encoder's own tokens by one linear map, so that
            # a linear or nearest-neighbor regressor finds their structure there later.
            visible = self.to_structure(step.student[:, self.n_prefix :])
            targets = self._targets(_cut(images, samplers, places))
            step.structure.append((torch.cat([visible, structure], 1), targets, order))

    def _visible(self, samplers):
        """An order of the patches, and how many of the first ones the student is given."""
        views = self.views
        if self.symmetric:
            n_keep = views.student_tokens
            orders = [s.central_tokens(self.grid, views.block_side, n_keep) for s in samplers]
        elif self._scattered():
            n_keep = self.grid**2 - round(views.mask_ratio * self.grid**2)
            orders = [s.scattered_tokens(self.grid, n_keep) for s in samplers]
        else:
            n_keep = views.block_side**2
            orders = [s.block_tokens(self.grid, views.block_side) for s in samplers]
        return torch.cat(orders), n_keep

    def _add_crop(self, step, images, place, sampler):
        """Encode a local crop, and find its structure if the recipe wants it."""
        views, size = self.views, None
        if views.local_scaled:
            place, size = sampler.local(place), views.local_grid * self.patch_size
        else:
            place = sampler.geometry(images.shape[-1])
        view = sampler.cut(sampler.degraded(images), place, size)
        kept = None if size else sampler.window_tokens(self.grid, views.local_grid)
        tokens = self._encode(self.student["backbone"], view, kept=kept)
        step.crops.append(tokens)
        if self.recipe.terms.structure_weight and not (size or self._scattered()):
            found = self.to_structure(tokens[:, self.n_prefix :])
            step.structure.append((found, self._targets(sampler.cut(images, place)), kept))

    def _targets(self, clean):
        return structure_targets(clean, self.patch_size, self.normalization)

    def _measure_gradients(self, weighted, seen):
        """Log each term's gradient at the encoder's tokens; limit that of the structure to its share."""
        if self.global_step % _MEASURE_EVERY:
            return

        def norm(value):
            found = torch.autograd.grad(value, seen, retain_graph=True, allow_unused=True)
            return sum(g.float().square().sum() for g in found if g is not None) ** 0.5

        norms = {name: norm(value) for name, value in weighted.items()}
        self.log_dict({f"gradient_{name}": value for name, value in norms.items()})
        share, own = self.recipe.terms.structure_share, [norms[name] for name in self.limited]
        if share == 1 or not own:
            return
        others = norm(sum(value for name, value in weighted.items() if name not in self.limited))
        factor = (share / (1 - share) * others / sum(own).clamp_min(1e-12)).clamp_max(1.0)
        factor = self.trainer.strategy.reduce(factor, reduce_op="mean")
        first = self.global_step == 0
        self.structure_factor.copy_(factor if first else 0.5 * (self.structure_factor + factor))
        self.log("structure_factor", self.structure_factor.item())

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
        terms = self.recipe.terms
        start, end = terms.teacher_temperature_warmup, terms.teacher_temperature
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
        frozen = self._progress() < self.recipe.terms.freeze_last_layer
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
    from lightly.models.modules.heads import DINOProjectionHead

    size, terms = recipe.views.image_size, recipe.terms
    backbone = create_backbone(recipe.model, img_size=size, drop_path_rate=drop_path)
    suit_attention(backbone.blocks, backbone.patch_embed.num_patches)
    widths = {"class_head": backbone.num_features}
    if not terms.shared_head:
        widths["patch_head"] = backbone.num_features
    if terms.center_weight:
        widths["center_head"] = 2 * backbone.num_features
    sizes = terms.head_hidden, terms.head_bottleneck, terms.n_prototypes
    with warnings.catch_warnings():
        # lightly still uses the hook-based weight norm that torch deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        heads = {name: DINOProjectionHead(width, *sizes) for name, width in widths.items()}
    return nn.ModuleDict({"backbone": backbone, **heads})


def _cut(images, samplers, places, *, degraded=False):
    """Whole views of the images, those of the first sampler first."""
    drawn = zip(samplers, places, strict=True)
    return torch.cat([s.cut(s.degraded(images) if degraded else images, p) for s, p in drawn])
