#!/usr/bin/python3
"""Yardstick of the scores rows: one step of score matching in the plane by an MLP, with Adam.

Scores s(x) = F(x) - x, or those of the energy x.F(x) - |x|^2/2. The comparison uses the probes or the noise that
kindred drew; timed steps draw their own.
"""
import torch
from torch.nn import functional as F

import protocol


def gradient(y, x, weights=None):
    return torch.autograd.grad(y, x, weights, create_graph=True)[0]


class Network(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        w = folder.width
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in ((2, w), (w, w), (w, 2)))
        for layer, name in zip(self.layers, ("hidden.0", "hidden.1", "output")):
            folder.load(layer.bias, f"backbone.{name}.bias")
            folder.load(layer.weight, f"backbone.{name}.weight")

    def forward(self, x):
        return self.layers[2](F.silu(self.layers[1](F.silu(self.layers[0](x)))))


class Training:
    def __init__(self, folder, precision):
        self.precision, self.folder = precision, folder
        self.network = Network(folder)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=folder.lr, betas=(folder.beta1, folder.beta2),
                                          eps=folder.eps)
        self.points, self.drawn = folder.tensor("points"), folder.tensor("drawn")
        self.done = 0

    def score(self, x):
        if self.folder.network == "energy":
            return gradient(((self.network(x) * x).sum(1) - x.square().sum(1) / 2).sum(), x)
        return self.network(x) - x

    def implicit(self, x, unused):
        s = self.score(x)
        trace = sum(gradient(s[:, d].sum(), x)[:, d] for d in range(x.shape[1]))
        return (trace + s.square().sum(1) / 2).mean()

    def sliced_vr(self, x, v):
        s = self.score(x)
        return ((gradient(s, x, v) * v).sum(1) + s.square().sum(1) / 2).mean()

    def denoising(self, x, z):
        sigma = self.folder.sigma
        return (self.score(x + sigma * z) + z / sigma).square().sum(1).mean() / 2

    def train(self, x, drawn):
        with protocol.arithmetic(self.precision):
            loss = getattr(self, self.folder.loss)(x.clone().requires_grad_(), drawn)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def checked_step(self):
        k = self.done % len(self.points)
        self.done += 1
        return self.train(self.points[k], self.drawn[k])

    def step(self):
        x = self.points[self.done % len(self.points)]
        self.done += 1
        noise = torch.randn_like(x)
        self.train(x, noise if self.folder.loss == "denoising" else noise.sign())


if __name__ == "__main__":
    protocol.serve(Training)
