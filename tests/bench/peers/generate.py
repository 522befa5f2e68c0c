#!/usr/bin/python3
"""Yardstick of the generate row: one sequence drawn symbol by symbol from a GPT with cached keys and values.

The cache is allocated once. A step of one symbol is a chain of small products on vectors of the width, without
copies but the two that store the new key and value.
"""
import math

import torch
from torch.nn import functional as F

import protocol
from gpt import Gpt


class Generator:
    def __init__(self, folder, precision):
        self.length, self.prompt = folder.symbols, folder.prompt
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32  # quicker than autocast's casts
        self.model = Gpt(folder).to(dtype)
        heads, size = folder.heads, folder.width // folder.heads
        # Queries come out scaled.
        with torch.no_grad():
            for block in self.model.blocks:
                block.qkv.weight[:folder.width].mul_(1 / math.sqrt(size))
        keys = torch.empty(folder.layers, heads, folder.context, size, dtype=dtype)
        values = torch.empty(folder.layers, heads, folder.context, size, dtype=dtype)
        # For each position and layer: where its key and value go, and what its query sees. Views made once.
        self.views = [[(keys[layer, :, at:at + 1], values[layer, :, at:at + 1],
                        keys[layer, :, :at + 1].transpose(1, 2), values[layer, :, :at + 1])
                       for layer in range(folder.layers)] for at in range(folder.symbols)]
        self.given = folder.tensor("uniform").to(torch.float64)
        self.drawn = None
        self.done = 0

    def logits(self, symbol, at):
        """Logits after one more symbol; maps have no bias, so a residual sum is part of its product."""
        model, shape = self.model, (self.model.gain.numel(),)
        x = model.table[symbol] + model.positions[at]
        for block, (new_key, new_value, keys, values) in zip(model.blocks, self.views[at]):
            qkv = torch.mv(block.qkv.weight, F.layer_norm(x, shape, block.gain1))
            q, k, v = qkv.view(3, block.heads, 1, block.size).unbind()
            new_key.copy_(k)
            new_value.copy_(v)
            mixed = torch.bmm(torch.bmm(q, keys).softmax(-1), values)
            x = torch.addmv(x, block.out.weight, mixed.view(shape))
            x = torch.addmv(x, block.down.weight, F.gelu(torch.mv(block.up.weight, F.layer_norm(x, shape, block.gain2))))
        return torch.mv(model.table, F.layer_norm(x, shape, model.gain))

    def draw(self, uniform):
        """The sequence that follows the prompt: the first symbol whose cumulative probability exceeds the number."""
        symbols, symbol = [], self.prompt
        with torch.inference_mode():
            for at in range(self.length):
                below = self.logits(symbol, at).softmax(-1, dtype=torch.float32).cumsum(-1) <= uniform[at]
                symbol = min(int(below.sum()), below.numel() - 1)
                symbols.append(symbol)
        return symbols

    def checked_step(self):
        """Symbol number `done` of the sequence, as a number that kindred must reproduce."""
        if self.drawn is None:
            self.drawn = self.draw(self.given.tolist())
        self.done += 1
        return float(self.drawn[self.done - 1])

    def step(self):
        self.draw(torch.rand(self.length).tolist())


if __name__ == "__main__":
    protocol.serve(Generator)
