"""The two-way transformer of the mask decoder: tokens attend to the image, the image to the tokens.

The image side may have batch 1 while the tokens have batch N: what does not depend on the prompt is
then computed once and broadcast. That is the same arithmetic, only not repeated.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.blocks import MLP
from vis.hqsam.network.sizes import DECODER_WIDTH

__all__ = ["HEADS", "Attention", "Layer", "TwoWayTransformer"]

HEADS = 8
"""Of every attention here."""


class Attention(nn.Module):
    """Multi-head attention between two sequences, with an inner width of its own."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(DECODER_WIDTH, inner)
        self.k_proj = nn.Linear(DECODER_WIDTH, inner)
        self.v_proj = nn.Linear(DECODER_WIDTH, inner)
        self.out_proj = nn.Linear(inner, DECODER_WIDTH)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (N or 1, n, 256), k and v (N or 1, m, 256) to (N, n, 256)."""
        query, key, value = _split(self.q_proj(q)), _split(self.k_proj(k)), _split(self.v_proj(v))
        if query.shape[0] < key.shape[0]:
            query = query.expand(key.shape[0], -1, -1, -1)
        elif key.shape[0] < query.shape[0]:
            key, value = (x.expand(query.shape[0], -1, -1, -1) for x in (key, value))
        out = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return y


def _split(x: Tensor) -> Tensor:
    """(N, n, c) to (N, heads, n, c / heads)."""
    return x.view(x.shape[0], x.shape[1], HEADS, -1).transpose(1, 2)


class Layer(nn.Module):
    """One round: tokens among themselves, tokens to image, feed-forward, image to tokens."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(DECODER_WIDTH)
        self.norm1 = nn.LayerNorm(DECODER_WIDTH)
        self.cross_attn_token_to_image = Attention(DECODER_WIDTH // 2)
        self.norm2 = nn.LayerNorm(DECODER_WIDTH)
        self.mlp = MLP(DECODER_WIDTH, 2048, nn.ReLU())
        self.norm3 = nn.LayerNorm(DECODER_WIDTH)
        self.norm4 = nn.LayerNorm(DECODER_WIDTH)
        self.cross_attn_image_to_token = Attention(DECODER_WIDTH // 2)

    def forward(
        self, tokens: Tensor, image: Tensor, origin: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (N, t, 256), image (N or 1, g*g, 256); ``origin`` are the tokens as they came in."""
        tokens = self.among_tokens(tokens, origin)
        placed_image = image + position
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + origin, placed_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed_image, tokens + origin, tokens))
        return tokens, image

    def among_tokens(self, tokens: Tensor, origin: Tensor) -> Tensor:
        """Self-attention of the tokens (N, t, 256), normalised."""
        if self.first:  # neither position nor residual: the tokens are their own position
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + origin
            tokens = tokens + self.self_attn(placed, placed, tokens)
        out: Tensor = self.norm1(tokens)
        return out


class TwoWayTransformer(nn.Module):
    """Two layers, and the tokens attend to the image once more."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(first=True), Layer(first=False)])
        self.final_attn_token_to_image = Attention(DECODER_WIDTH // 2)
        self.norm_final_attn = nn.LayerNorm(DECODER_WIDTH)

    def forward(self, image: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Image (N or 1, g*g, 256), position (1, g*g, 256), tokens (N, t, 256): tokens, image after."""
        origin = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, origin, position)
        seen = self.final_attn_token_to_image(tokens + origin, image + position, image)
        return self.norm_final_attn(tokens + seen), image
