#!/usr/bin/python3
"""Yardstick of the dispatch rows: a chain of products on few numbers, without a graph or with backward through it."""
import torch

import protocol


class Chain:
    def __init__(self, folder, precision):
        self.input, self.factor = folder.tensor("input"), folder.tensor("factor")
        self.calls, self.backward = folder.calls, folder.backward
        self.done = 0

    def chain(self, batch):
        x, factor = self.input[batch], self.factor
        if not self.backward:
            with torch.inference_mode():
                for _ in range(self.calls):
                    x = x * factor
            return x
        x = x.detach().requires_grad_()
        y = x
        for _ in range(self.calls):
            y = y * factor
        return torch.autograd.grad(y, x, x.detach())[0]

    def checked_step(self):
        self.done += 1
        return self.chain((self.done - 1) % len(self.input)).sum().item()

    def step(self):
        self.chain(0)


if __name__ == "__main__":
    protocol.serve(Chain)
