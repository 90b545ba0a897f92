"""The terms of the loss: DINOv2's on prototype logits, with lightly's parts, and the others."""

import warnings

import torch
from timm.models.vision_transformer import Block
from torch import distributed, nn

from astrofractal.encoder.backbone import suit_attention

__all__ = [
    "Predictor",
    "PrototypeLoss",
    "consistency_loss",
    "effective_rank",
    "mass_loss",
    "projection_head",
]


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


@torch.no_grad()
def effective_rank(features):
    """Return the effective rank of a feature matrix (Roy & Vetterli 2007)."""
    # features (n_samples, n_features)
    centered = features.float() - features.float().mean(0)
    power = torch.linalg.svdvals(centered).square()
    power = power / power.sum().clamp_min(1e-12)
    return torch.exp(-(power * power.clamp_min(1e-12).log()).sum()).item()


def projection_head(recipe, embed_dim):
    """Create lightly's DINO projection head."""
    from lightly.models.modules.heads import DINOProjectionHead

    with warnings.catch_warnings():
        # lightly still uses the hook-based weight norm that torch deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        terms = recipe.terms
        sizes = terms.head_hidden, terms.head_bottleneck, terms.n_prototypes
        return DINOProjectionHead(embed_dim, *sizes)


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
