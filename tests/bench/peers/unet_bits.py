#!/usr/bin/python3
"""Yardstick of the unet-bits row: bits/dim of images by the probability flow of a score network.

dx/d ln(sigma) = -sigma F(x, ln(sigma)/4) from sigma_min to sigma_max; the log-density gains the divergence of the
flow, estimated with one probe an image, and ends in the prior N(0, sigma_max^2). Dormand and Prince's pair of order
5(4) with one step size for the batch, as published code solves it with scipy.
"""
import math

import torch

import protocol
import unet

# Nodes, weights of the stages, weights of the error (Dormand and Prince 1980).
NODES = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
STAGES = ((), (1 / 5,), (3 / 40, 9 / 40), (44 / 45, -56 / 15, 32 / 9),
          (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
          (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
          (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84))
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def combine(weights, slopes):
    return sum(w * k for w, k in zip(weights, slopes) if w)


def integrate(field, y, t, end, tolerance):
    """y at `end`, y a vector in f64; the root mean square of the scaled errors is held at 1."""
    first, step = field(t, y), (end - t) / 100
    while t < end:
        step = min(step, end - t)
        slopes = [first]
        for node, weights in zip(NODES[1:], STAGES[1:]):
            there = y + step * combine(weights, slopes)
            slopes.append(field(t + node * step, there))
        scale = tolerance + tolerance * torch.maximum(y.abs(), there.abs())
        error = ((step * combine(ERROR, slopes) / scale).square().mean()).sqrt().item()
        factor = 0.9 * max(error, 1e-10) ** -0.2
        if error < 1:
            t, y, first = t + step, there, slopes[-1]
            step *= min(10, factor)
        else:
            step *= max(0.2, factor)
    return y


class Scoring:
    def __init__(self, folder, precision):
        self.folder, self.precision = folder, precision
        self.model = unet.Unet(folder).requires_grad_(False)
        self.images, self.probes = (folder.tensor(n).view(-1, folder.batch, folder.side ** 2)
                                    for n in ("images", "probes"))
        self.done = 0

    def flow(self, x, t, v):
        """dx/d ln(sigma) and v.(its derivative).v of each image; x [B, D] f64."""
        side, sigma = self.folder.side, math.exp(t)
        x = x.float().requires_grad_()
        with protocol.arithmetic(self.precision):
            noise = torch.full((len(x),), t / 4)
            slope = -sigma * self.model(x.view(-1, 1, side, side), noise).float().reshape(x.shape)
        pulled = torch.autograd.grad(slope, x, v)[0]
        return slope.detach().double(), (pulled * v).sum(1).double()

    def bits(self, k):
        x, v = self.images[k], self.probes[k]
        count, dims = x.shape

        def field(t, y):
            slope, divergence = self.flow(y[:count * dims].view(count, dims), t, v)
            return torch.cat([slope.reshape(-1), divergence])

        start = torch.cat([x.reshape(-1), torch.zeros(count, dtype=torch.float64)])
        last = self.folder.sigma_max
        end = integrate(field, start, math.log(self.folder.sigma_min), math.log(last), self.folder.tolerance)
        z = end[:count * dims].view(count, dims) / last
        prior = -0.5 * z.square().sum(1) - dims * math.log(last * math.sqrt(2 * math.pi))
        nats = (prior + end[count * dims:]).mean().item()
        return -nats / (dims * math.log(2)) + math.log2(128)

    def checked_step(self):
        self.done += 1
        return self.bits((self.done - 1) % len(self.images))

    def step(self):
        self.checked_step()


if __name__ == "__main__":
    protocol.serve(Scoring)
