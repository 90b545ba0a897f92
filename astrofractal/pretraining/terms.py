"""The terms of the loss, a class each: DINOv2's, with lightly's parts, and those of gas maps."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, distributed, nn

from astrofractal.encoder.backbone import suit_attention
from astrofractal.encoder.pooling import mean_and_scatter
from astrofractal.encoder.structure import at_center


def take(tokens, index):
    """Return the tokens of the given numbers of each image."""
    # tokens (batch, n_tokens, n_features); index (batch, n_taken)
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[-1]))


@dataclass
class Step:
    """What student and teacher have made of the images of one step."""

    n_views: int  # whole views per image
    temperature: float  # of the teacher's softmax
    log_mass: Tensor  # (batch,)
    teacher: Tensor  # tokens (n_views * batch, n_prefix + n_patches, embed_dim)
    student: Tensor | None = None  # the same of visible patches
    hidden: Tensor | None = None  # (n_hidden, embed_dim), the teacher's tokens of hidden patches
    predicted: Tensor | None = None  # (n_hidden, embed_dim), those that the student expects
    asked: Tensor | None = None  # (batch,), whether a view is magnified for masses
    central: Tensor | None = None  # (batch, 4), numbers of the student's central tokens
    teacher_center: Tensor | None = None  # (batch, 2 * embed_dim)
    structure: list = field(default_factory=list)  # found; true of all patches; found patches
    crops: list = field(default_factory=list)  # the student's tokens of each local crop

    @cached_property
    def center(self):
        """Mean and scatter of the student's central tokens."""
        return mean_and_scatter(take(self.student, self.central))


class PrototypeLoss(nn.Module):
    """Cross-entropy between the teacher's and the student's assignment to prototypes."""

    def __init__(self, n_prototypes, centering, student_temperature=0.1):
        super().__init__()
        from lightly.models.modules.center import Center

        self.student_temperature = student_temperature
        self.center = Center((1, n_prototypes), momentum=0.9) if centering == "mean" else None

    @torch.no_grad()
    def targets(self, logits, temperature):
        """Return the teacher's balanced assignments."""
        # logits (n_tokens, n_prototypes)
        logits = logits.float()
        if self.center is None:
            from lightly.loss.swav_loss import sinkhorn

            # Subtracting the maximum, the same one on all processes, changes no assignment and
            # keeps exp() in range.
            largest = logits.max()
            if distributed.is_initialized():
                distributed.all_reduce(largest, distributed.ReduceOp.MAX)
            return sinkhorn(logits - largest, epsilon=temperature, gather_distributed=True)
        targets = ((logits - self.center.value) / temperature).softmax(-1)
        self.center.update(logits)
        return targets

    def forward(self, targets, logits):
        """Return the mean cross-entropy."""
        log_probabilities = (logits.float() / self.student_temperature).log_softmax(-1)
        return -(targets * log_probabilities).sum(-1).mean()


def consistency_loss(found, wanted):
    """Return the squared distance of features from those of another view of the same gas."""
    # found (batch, n_features); wanted (batch, n_features)
    wanted = wanted.float()
    scale = wanted.std(0).clamp_min(1e-3)
    return ((found.float() - wanted) / scale).square().mean()


def mass_loss(found, log_mass, asked):
    """Return the mean negative log likelihood of masses, for normal distributions of log10 M."""
    # found (batch, 2) in log10 M; log_mass 1D; asked 1D
    mean, log_sigma = found.float().unbind(1)
    log_sigma = log_sigma.clamp(-3.0, 1.0)
    loss = log_sigma + 0.5 * ((log_mass - mean) * torch.exp(-log_sigma)).square()
    return (loss * asked).sum() / asked.sum().clamp_min(1)


class Predictor(nn.Module):
    """A small transformer that predicts the tokens of hidden patches."""

    def __init__(self, embed_dim, n_tokens, n_targets, *, dim, depth):
        super().__init__()
        self.enter = nn.Linear(embed_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.position = nn.Parameter(0.02 * torch.randn(n_tokens, dim))
        self.blocks = nn.Sequential(
            *(Block(dim, num_heads=max(1, dim // 32)) for _ in range(depth))
        )
        suit_attention(self.blocks, n_tokens)
        self.norm = nn.LayerNorm(dim)
        self.to_token = nn.Linear(dim, embed_dim)
        self.to_structure = nn.Linear(dim, n_targets)

    def forward(self, tokens, n_prefix, order):
        """Predict the tokens of the hidden patches, and their structure."""
        # tokens (batch, n_prefix + n_keep, embed_dim); order (batch, n_tokens)
        entered = self.enter(tokens)
        n_hidden = order.shape[1] - (tokens.shape[1] - n_prefix)
        hidden = self.mask_token.to(entered.dtype).expand(len(tokens), n_hidden, -1)
        # Not position[order]: several threads add up the gradient of an index in any order.
        position = nn.functional.embedding(order, self.position)
        patches = torch.cat([entered[:, n_prefix:], hidden], 1) + position
        out = self.blocks(torch.cat([entered[:, :n_prefix], patches], 1))
        out = self.norm(out[:, -n_hidden:])
        return self.to_token(out), self.to_structure(out)


class Term:
    """A term of the loss, computed with the networks of a module."""

    def __init_subclass__(cls, *, name, limited=False):
        #: Name in recipe and log, and whether ``structure_share`` limits its part of the gradient.
        cls.name, cls.limited = name, limited

    def __init__(self, networks):
        self.networks = networks
        self.weight = getattr(networks.recipe.terms, f"{self.name}_weight", 1.0)


class ClassStructure(Term, name="class_structure", limited=True):
    """The structure at the center of a view, by its class token."""

    def loss(self, step):
        found = self.networks.class_to_structure(step.student[:, 0])
        return F.smooth_l1_loss(found.float(), at_center(step.structure[0][1]))


class Center(Term, name="center"):
    """The prototypes of the central tokens of a symmetric pair."""

    def loss(self, step):
        own = self.networks
        logits = own.teacher["center_head"](step.teacher_center)
        targets = own.center_loss.targets(logits, step.temperature)
        return own.center_loss(targets, own.student["center_head"](step.center))


class Consistency(Term, name="consistency"):
    """The central tokens of a symmetric pair themselves."""

    def loss(self, step):
        return consistency_loss(step.center, step.teacher_center)


class Mass(Term, name="protostar_mass"):
    """The mass of the protostar, where a view is magnified for it."""

    def loss(self, step):
        center = step.center
        found = self.networks.to_mass(torch.cat([step.student[:, 0], center], 1))
        return mass_loss(found, step.log_mass, step.asked)


class PatchTokens(Term, name="ibot"):
    """iBOT: the prototypes of hidden patches."""

    def loss(self, step):
        own = self.networks
        head = "class_head" if own.recipe.terms.shared_head else "patch_head"
        targets = own.patch_loss.targets(own.teacher[head](step.hidden), step.temperature)
        return own.patch_loss(targets, own.student[head](step.predicted))


class KoLeo(Term, name="koleo"):
    """The entropy of class tokens."""

    def loss(self, step):
        tokens = step.student[:, 0].chunk(step.n_views)
        return sum(self.networks.koleo_loss(own.float()) for own in tokens) / step.n_views


class ClassTokens(Term, name="dino"):
    """DINO: each teacher view by each student view but, if there are several, its own."""

    def loss(self, step):
        student, loss = self.networks.student["class_head"], self.networks.class_loss
        logits = self.networks.teacher["class_head"](step.teacher[:, 0]).chunk(step.n_views)
        targets = [loss.targets(own, step.temperature) for own in logits]
        found = [*student(step.student[:, 0]).chunk(step.n_views)]
        found += [student(tokens[:, 0]) for tokens in step.crops]
        losses = [
            loss(target, own)
            for i, target in enumerate(targets)
            for j, own in enumerate(found)
            if i != j or len(targets) == 1
        ]
        return sum(losses) / len(losses)


class Structure(Term, name="structure", limited=True):
    """The structure of the gas in the patches of whole views and in those visible of crops."""

    def loss(self, step):
        losses = [
            F.smooth_l1_loss(found.float(), take(targets, index))
            for found, targets, index in step.structure
        ]
        return sum(losses) / len(losses)


#: In the order of their evaluation and of their sum, which is part of a run's numbers.
TERMS = ClassStructure, Center, Consistency, Mass, PatchTokens, KoLeo, ClassTokens, Structure
