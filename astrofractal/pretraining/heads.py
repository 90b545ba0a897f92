"""The parts of the student that are thrown away after pretraining."""

import warnings

import torch
from timm.models.vision_transformer import Block
from torch import nn

from astrofractal.encoder.architecture import suit_attention

__all__ = ["Predictor", "projection_head"]


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
