#!/usr/bin/python3
"""Yardstick of the s4 rows: forward and backward of a diagonal plus low-rank (DPLR) layer, GELU, and a gated mix.

The kernel is made of four Cauchy products [H, J] over M modes at J = L/2 + 1 frequencies. PyTorch has no op for
them, so they are written in the ways known to be good on a CPU and the quickest here is taken:
  broadcast   v / (z - a) over all modes and frequencies, summed (the slow path of state-spaces/s4)
  product     1 / (z - a) once for the four, then batched complex products [4, M] x [M, J]
  pairs       a mode and its conjugate on one real reciprocal, then batched real products
each over all channels at once, or in groups of channels that fit into the cache. The rows named `published` take
the first, over all channels at once, as that code does. The formula is the one without
the pole at z = -1 (autodiff/ops/dplr_kernel.h of kindred): the textbook form differs by 1e-3 in f32.
"""
import math
import time

import torch
from torch.nn import functional as F

import protocol
import s4d


def broadcast(v, a, s, c):
    """v [4, G, M], a [G, M] complex; s, c [J] -> q [4, G, J]."""
    z = 2j * s
    terms = v[..., None] / (z - a[..., None] * c) + v.conj()[..., None] / (z - a.conj()[..., None] * c)
    return terms.sum(-2)


def product(v, a, s, c):
    z = 2j * s
    v = v.transpose(0, 1)  # [G, 4, M]
    q = v @ (z - a[..., None] * c).reciprocal() + v.conj() @ (z - a.conj()[..., None] * c).reciprocal()
    return q.transpose(0, 1)


def pairs(v, a, s, c):
    size = a.abs()[..., None] * c
    real = (size - 2 * s) * (size + 2 * s)
    imag = a.real[..., None] * (-4 * s * c)
    scale = (real * real + imag * imag).reciprocal()
    terms = torch.cat([v.real, (v * a.conj()).real]).transpose(0, 1)  # [G, 8, M]
    by_real, by_imag = terms @ (real * scale), terms @ (-imag * scale)
    q_real = -2 * c * by_real[:, 4:] - 4 * s * by_imag[:, :4]
    q_imag = 4 * s * by_real[:, :4] - 2 * c * by_imag[:, 4:]
    return torch.complex(q_real, q_imag).transpose(0, 1)


class Layer(s4d.Layer):
    def __init__(self, folder, length):
        super().__init__(folder)
        for name in ("P", "B"):
            self.register_parameter(
                name, torch.nn.Parameter(folder.tensor("layer." + name).permute(1, 2, 0).contiguous()))
        angle = math.pi * torch.arange(length // 2 + 1, dtype=torch.float64) / length
        self.s, self.c = angle.sin().float(), angle.cos().float()
        if length % 2 == 0:
            self.c[-1] = 0
        published = broadcast, len(self.D)
        self.sums, self.group = published if folder.published_form else self.quickest(length)

    def kernel(self, length):
        dt = self.log_dt.exp()[:, None]
        a = torch.complex(-self.log_neg_re.exp(), self.im) * dt
        P, B, C = (torch.view_as_complex(x) for x in (self.P, self.B, self.C))
        v = torch.stack([C * B, C * P, P.conj() * B, P.conj() * P]) * dt
        groups = [self.sums(part, poles, self.s, self.c)
                  for part, poles in zip(v.split(self.group, 1), a.split(self.group))]
        q = groups[0] if len(groups) == 1 else torch.cat(groups, 1)
        spectrum = torch.complex(self.c, self.s) * (q[0] - self.c * q[1] * q[2] / (1 + self.c * q[3]))
        return torch.fft.irfft(spectrum, n=length)

    def quickest(self, length):
        best = None
        for self.sums in (pairs, product, broadcast):
            for self.group in (4, len(self.D)):
                times = []
                for _ in range(2):
                    start = time.perf_counter()
                    self.kernel(length).sum().backward()
                    times.append(time.perf_counter() - start)
                    self.zero_grad(set_to_none=True)
                if best is None or min(times) < best[0]:
                    best = min(times), self.sums, self.group
        return best[1:]


class Training(s4d.Training):
    def make_layer(self, folder):
        return Layer(folder, folder.tensor("input").shape[1])


if __name__ == "__main__":
    protocol.serve(Training)
