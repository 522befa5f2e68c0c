#!/usr/bin/python3
"""Yardstick of the unet row: one denoising score matching step of a small U-Net on 28x28 images, with Adam.

The comparison uses the noise that kindred drew; timed steps draw their own.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

import protocol

CONV = (0, 3, 1, 2)  # kindred's [out, kh, kw, in] as PyTorch's [out, in, kh, kw]


def load_affine(folder, module, path, permute=None):
    folder.load(module.weight, path + ".weight", permute)
    folder.load(module.bias, path + ".bias")


def load_norm(folder, module, path):
    folder.load(module.weight, path + ".gain")
    folder.load(module.bias, path + ".shift")


def normed(norm, x):
    """silu(norm(x)); in f32 even under autocast, as PyTorch 1.13 has no mixed group normalisation."""
    return F.silu(norm(x.float()))


class Residual(nn.Module):
    def __init__(self, folder, path, inputs, outputs):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(folder.groups, inputs), nn.GroupNorm(folder.groups, outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(folder.time_width, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        load_norm(folder, self.norm1, path + ".norm1")
        load_norm(folder, self.norm2, path + ".norm2")
        load_affine(folder, self.conv1, path + ".conv1", CONV)
        load_affine(folder, self.conv2, path + ".conv2", CONV)
        load_affine(folder, self.time, path + ".time")
        if self.skip is not None:
            load_affine(folder, self.skip, path + ".skip", CONV)

    def forward(self, x, e):
        h = self.conv1(normed(self.norm1, x)) + self.time(e)[:, :, None, None]
        h = self.conv2(normed(self.norm2, h))
        return h + (x if self.skip is None else self.skip(x))


class Unet(nn.Module):
    """Three levels of width, 2 width and 4 width channels."""

    def __init__(self, folder):
        super().__init__()
        c, path = folder.width, "backbone."
        self.register_buffer("frequencies", folder.tensor(path + "time.frequencies"))
        self.first, self.second = (nn.Linear(folder.time_width, folder.time_width) for _ in range(2))
        self.input, self.output = nn.Conv2d(1, c, 3, padding=1), nn.Conv2d(c, 1, 3, padding=1)
        self.output_norm = nn.GroupNorm(folder.groups, c)
        self.halve = nn.ModuleList(nn.Conv2d(n, n, 3, 2, 1) for n in (c, 2 * c))
        sizes = ((c, c, 3 * c, c), (c, 2 * c, 4 * c, 2 * c), (2 * c, 4 * c, 4 * c, 2 * c))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (a, b, from_below, out) in enumerate(sizes):
            self.down.append(Residual(folder, f"{path}levels.{level}.down.0", a, b))
            self.up.append(Residual(folder, f"{path}levels.{level}.up.0", from_below, out))
        load_affine(folder, self.first, path + "time.first")
        load_affine(folder, self.second, path + "time.second")
        load_affine(folder, self.input, path + "input", CONV)
        load_affine(folder, self.output, path + "output", CONV)
        load_norm(folder, self.output_norm, path + "output_norm")
        for level, conv in enumerate(self.halve):
            load_affine(folder, conv, f"{path}levels.{level}.halve", CONV)

    def forward(self, x, feature):
        phase = 2 * math.pi * feature[:, None] * self.frequencies
        e = self.second(F.silu(self.first(torch.cat([phase.sin(), phase.cos()], 1))))
        e = F.silu(e)
        kept, h = [], self.input(x)
        for down, halve in zip(self.down, self.halve):
            h = down(h, e)
            kept.append(h)
            h = halve(h)
        h = self.up[2](self.down[2](h, e), e)
        for up, own in zip((self.up[1], self.up[0]), reversed(kept)):
            h = up(torch.cat([F.interpolate(h, size=own.shape[2:]), own], 1), e)
        return self.output(normed(self.output_norm, h))


class Training:
    def __init__(self, folder, precision):
        self.precision = precision
        self.low, self.high = math.log(folder.sigma_min), math.log(folder.sigma_max)
        self.model = Unet(folder)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=folder.lr, betas=(folder.beta1, folder.beta2),
                                          eps=folder.eps)
        side = folder.side
        self.images = folder.tensor("images").view(-1, folder.batch, 1, side, side)
        self.noise = folder.tensor("noise").view_as(self.images)
        self.sigma = folder.tensor("sigma")  # [steps, B]
        self.done = 0

    def train(self, images, noise, sigma):
        """The network predicts -noise: the score times sigma."""
        with protocol.arithmetic(self.precision):
            guess = self.model(images + sigma[:, None, None, None] * noise, sigma.log() / 4)
            loss = (guess + noise).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def checked_step(self):
        k = self.done % len(self.images)
        self.done += 1
        return self.train(self.images[k], self.noise[k], self.sigma[k])

    def step(self):
        images = self.images[self.done % len(self.images)]
        self.done += 1
        sigma = (self.low + (self.high - self.low) * torch.rand(len(images))).exp()
        self.train(images, torch.randn_like(images), sigma)


if __name__ == "__main__":
    protocol.serve(Training)
