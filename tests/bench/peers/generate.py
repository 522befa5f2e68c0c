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
        self.precision, self.length, self.prompt = precision, folder.symbols, folder.prompt
        self.model = Gpt(folder)
        heads, size = folder.heads, folder.width // folder.heads
        self.keys = torch.empty(folder.layers, heads, folder.context, size)
        self.values = torch.empty(folder.layers, heads, folder.context, size)
        # Queries come out scaled.
        with torch.no_grad():
            for block in self.model.blocks:
                block.qkv.weight[:folder.width].mul_(1 / math.sqrt(size))
                if block.qkv.bias is not None:
                    block.qkv.bias[:folder.width].mul_(1 / math.sqrt(size))
        self.given = folder.tensor("uniform").to(torch.float64)
        self.drawn = None
        self.done = 0

    def logits(self, symbol, at):
        model, shape = self.model, (self.model.gain.numel(),)
        x = model.table[symbol] + model.positions[at]
        for number, block in enumerate(model.blocks):
            q, k, v = block.qkv(F.layer_norm(x, shape, block.gain1, block.shift1)).view(3, block.heads, 1, block.size)
            self.keys[number, :, at:at + 1] = k
            self.values[number, :, at:at + 1] = v
            seen = slice(0, at + 1)
            weights = torch.bmm(q, self.keys[number, :, seen].transpose(1, 2)).softmax(-1)
            x = x + block.out(torch.bmm(weights, self.values[number, :, seen]).view(shape))
            x = x + block.down(F.gelu(block.up(F.layer_norm(x, shape, block.gain2, block.shift2))))
        return F.linear(F.layer_norm(x, shape, model.gain, model.shift), model.table)

    def draw(self, uniform):
        """The sequence that follows the prompt: the first symbol whose cumulative probability exceeds the number."""
        symbols, symbol = [], self.prompt
        with torch.inference_mode(), protocol.arithmetic(self.precision):
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
