"""DINOv2's losses on prototype logits, made of lightly's pieces, and the others."""

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
    """
    Cross-entropy between the teacher's and the student's assignment to prototypes.

    It serves the class token (DINO, Caron et al. 2021, arXiv:2104.14294) and the masked patch tokens
    (iBOT, Zhou et al. 2022, arXiv:2111.07832).  The teacher's logits are balanced over the prototypes
    by Sinkhorn-Knopp iterations or by a moving mean, so that a constant output is never optimal.

    Parameters
    ----------
    n_prototypes : int
        Prototypes of the projection head.

    centering : {"sinkhorn", "mean"}
        How the teacher's logits are balanced.

    student_temperature : float
        Temperature of the student's softmax.
    """

    def __init__(self, n_prototypes, *, centering, student_temperature):
        super().__init__()
        from lightly.models.modules.center import Center

        self.student_temperature = student_temperature
        self.center = Center((1, n_prototypes), momentum=0.9) if centering == "mean" else None

    @torch.no_grad()
    def targets(self, logits, temperature):
        """
        Return the teacher's balanced assignments.

        Parameters
        ----------
        logits : 2D `torch.Tensor`, shape (n_tokens, n_prototypes)
            The teacher's logits.

        temperature : float
            The teacher's temperature.

        Returns
        -------
        targets : 2D `torch.Tensor`
            Probabilities; each row sums to one.
        """
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
        """
        Return the mean cross-entropy.

        Parameters
        ----------
        targets : 2D `torch.Tensor`, shape (n_tokens, n_prototypes)
            From `targets`.

        logits : 2D `torch.Tensor`, shape (n_tokens, n_prototypes)
            The student's logits.

        Returns
        -------
        loss : 0D `torch.Tensor`
            In nats.
        """
        log_probabilities = (logits.float() / self.student_temperature).log_softmax(-1)
        return -(targets * log_probabilities).sum(-1).mean()


def consistency_loss(found, wanted):
    """
    Return how far features are from those of another view of the same gas.

    Parameters
    ----------
    found : 2D `torch.Tensor`, shape (batch, n_features)
        The student's features.

    wanted : 2D `torch.Tensor`, shape (batch, n_features)
        The teacher's.

    Returns
    -------
    loss : 0D `torch.Tensor`
        The mean square of their difference in units of each feature's standard deviation over the
        batch, which smaller features do not make smaller.
    """
    wanted = wanted.float()
    scale = wanted.std(0).clamp_min(1e-3)
    return ((found.float() - wanted) / scale).square().mean()


def mass_loss(found, log_mass, asked):
    """
    Return the mean negative logarithm of the likelihood of masses, for a normal distribution of log10 M.

    Parameters
    ----------
    found : 2D `torch.Tensor`, shape (batch, 2)
        log10 M and the natural logarithm of its standard deviation.

    log_mass : 1D `torch.Tensor`
        log10 of the true masses.

    asked : 1D bool `torch.Tensor`
        The images that count.

    Returns
    -------
    loss : 0D `torch.Tensor`
        In nats, less half the logarithm of 2 pi.
    """
    mean, log_sigma = found.float().unbind(1)
    log_sigma = log_sigma.clamp(-3.0, 1.0)
    loss = log_sigma + 0.5 * ((log_mass - mean) * torch.exp(-log_sigma)).square()
    return (loss * asked).sum() / asked.sum().clamp_min(1)


@torch.no_grad()
def effective_rank(features):
    """
    Return the effective rank of a feature matrix (Roy & Vetterli 2007).

    Parameters
    ----------
    features : 2D `torch.Tensor`, shape (n_samples, n_features)
        The features; they are centered first.

    Returns
    -------
    rank : float
        The exponential of the entropy of the normalized squared singular values: one for a collapsed
        representation, at most the smaller dimension.
    """
    centered = features.float() - features.float().mean(0)
    power = torch.linalg.svdvals(centered).square()
    power = power / power.sum().clamp_min(1e-12)
    return torch.exp(-(power * power.clamp_min(1e-12).log()).sum()).item()


def projection_head(recipe, embed_dim):
    """
    Create lightly's DINO projection head.

    Parameters
    ----------
    recipe : `~astrofractal.pretraining.Recipe`
        Gives ``head_hidden``, ``head_bottleneck`` and ``n_prototypes``.

    embed_dim : int
        Features of a token.

    Returns
    -------
    head : `torch.nn.Module`
        From token to prototype logits, cosines between -1 and 1.
    """
    from lightly.models.modules.heads import DINOProjectionHead

    with warnings.catch_warnings():
        # lightly still uses the hook-based weight norm that torch deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        return DINOProjectionHead(
            embed_dim, recipe.head_hidden, recipe.head_bottleneck, recipe.n_prototypes
        )


class Predictor(nn.Module):
    """
    A small transformer that fills in the tokens which the student did not see.

    The student encodes visible tokens only, as in a masked autoencoder (He et al. 2022,
    arXiv:2111.06377), which makes a step several times cheaper on a CPU; this module puts mask tokens
    in the empty places and predicts the teacher's tokens and the structure targets there.

    Parameters
    ----------
    embed_dim : int
        Features of an encoder token.

    n_tokens : int
        Patches of an image.

    n_targets : int
        Structure targets of one patch.

    dim, depth : int
        Width and number of blocks.
    """

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
        """
        Predict what is in the hidden patches.

        Parameters
        ----------
        tokens : 3D `torch.Tensor`, shape (batch, n_prefix + n_keep, embed_dim)
            What the student made of the visible tokens.

        n_prefix : int
            The number of class and register tokens.

        order : 2D `torch.Tensor`, shape (batch, n_tokens)
            Visible, then hidden token indices.

        Returns
        -------
        tokens : 3D `torch.Tensor`, shape (batch, n_hidden, embed_dim)
            The predicted tokens, in the order of the hidden patches.

        structure : 3D `torch.Tensor`, shape (batch, n_hidden, n_targets)
            The predicted structure targets.
        """
        entered = self.enter(tokens)
        n_hidden = order.shape[1] - (tokens.shape[1] - n_prefix)
        hidden = self.mask_token.to(entered.dtype).expand(len(tokens), n_hidden, -1)
        # Not position[order]: several threads add up the gradient of an index in any order.
        position = nn.functional.embedding(order, self.position)
        patches = torch.cat([entered[:, n_prefix:], hidden], 1) + position
        out = self.blocks(torch.cat([entered[:, :n_prefix], patches], 1))
        out = self.norm(out[:, -n_hidden:])
        return self.to_token(out), self.to_structure(out)
