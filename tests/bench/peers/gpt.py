#!/usr/bin/python3
"""Yardstick of the gpt rows: one training step of a pre-norm GPT (forward, backward, clip, AdamW)."""
import math

import torch
from torch import nn
from torch.nn import functional as F

import protocol


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads, self.size = s.heads, s.width // s.heads
        self.gain1, self.gain2 = nn.Parameter(torch.empty(s.width)), nn.Parameter(torch.empty(s.width))
        self.shift1 = nn.Parameter(torch.empty(s.width)) if s.bias else None
        self.shift2 = nn.Parameter(torch.empty(s.width)) if s.bias else None
        self.qkv = nn.Linear(s.width, 3 * s.width, bias=s.bias)
        self.out = nn.Linear(s.width, s.width, bias=s.bias)
        self.up = nn.Linear(s.width, 4 * s.width, bias=s.bias)
        self.down = nn.Linear(4 * s.width, s.width, bias=s.bias)

    def load(self, folder, path):
        names = {"attention_norm": (self.gain1, self.shift1), "ffn_norm": (self.gain2, self.shift2)}
        for name, (gain, shift) in names.items():
            folder.load(gain, f"{path}.{name}.gain")
            if shift is not None:
                folder.load(shift, f"{path}.{name}.shift")
        for name, linear in {"qkv": self.qkv, "out": self.out, "ffn.up": self.up, "ffn.down": self.down}.items():
            folder.load(linear.weight, f"{path}.{name}.weight")
            if linear.bias is not None:
                folder.load(linear.bias, f"{path}.{name}.bias")

    def mix(self, x, future):
        """Causal self-attention; `future` is True above the diagonal."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, self.size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1)).mul(1 / math.sqrt(self.size)).masked_fill(future, -math.inf).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, length, width))

    def forward(self, x, future):
        width = x.shape[-1:]
        x = x + self.mix(F.layer_norm(x, width, self.gain1, self.shift1), future)
        return x + self.down(F.gelu(self.up(F.layer_norm(x, width, self.gain2, self.shift2))))


class Gpt(nn.Module):
    def __init__(self, folder):
        super().__init__()
        s = folder
        self.table = nn.Parameter(torch.empty(s.vocab, s.width))
        self.positions = nn.Parameter(torch.empty(s.context, s.width))
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.gain = nn.Parameter(torch.empty(s.width))
        self.shift = nn.Parameter(torch.empty(s.width)) if s.bias else None
        self.register_buffer("future", torch.ones(s.context, s.context, dtype=torch.bool).triu(1))
        folder.load(self.table, "embedding.table")
        folder.load(self.positions, "backbone.positions")
        folder.load(self.gain, "backbone.final_norm.gain")
        if s.bias:
            folder.load(self.shift, "backbone.final_norm.shift")
        for number, block in enumerate(self.blocks):
            block.load(folder, f"backbone.blocks.{number}")

    def forward(self, symbols):
        x = F.embedding(symbols, self.table) + self.positions
        for block in self.blocks:
            x = block(x, self.future)
        return F.linear(F.layer_norm(x, x.shape[-1:], self.gain, self.shift), self.table)


class Training:
    def __init__(self, folder, precision):
        self.precision, self.clip = precision, folder.clip
        self.model = Gpt(folder)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=folder.lr, betas=(folder.beta1, folder.beta2),
                                           eps=folder.eps, weight_decay=folder.weight_decay)
        self.batches = folder.tensor("batches").long()  # [steps, B, context + 1]
        self.done = 0

    def checked_step(self):
        window = self.batches[self.done % len(self.batches)]
        self.done += 1
        with protocol.arithmetic(self.precision):
            logits = self.model(window[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.item()

    def step(self):
        self.checked_step()


if __name__ == "__main__":
    protocol.serve(Training)
