#!/usr/bin/python3
"""Yardstick of the s4d rows: forward and backward of a diagonal state-space layer, GELU, and a gated mix.

The kernel is the Vandermonde product over all modes and positions, the convolution goes through rfft/irfft of
twice the length; u [B, H, L] as the FFT wants it, so no data is moved but for the mix.
"""
import torch
from torch import nn
from torch.nn import functional as F

import protocol


class Layer(nn.Module):
    def __init__(self, folder):
        super().__init__()
        for name in ("log_dt", "log_neg_re", "im", "D"):
            self.register_parameter(name, nn.Parameter(folder.tensor("layer." + name)))
        self.C = nn.Parameter(folder.tensor("layer.C").permute(1, 2, 0).contiguous())  # [H, M, 2]
        self.mix = nn.Linear(folder.width, 2 * folder.width)
        folder.load(self.mix.weight, "mix.weight")
        folder.load(self.mix.bias, "mix.bias")

    def kernel(self, length):
        poles = torch.complex(-self.log_neg_re.exp(), self.im)
        a = poles * self.log_dt.exp()[:, None]
        output = torch.view_as_complex(self.C) * (a.exp() - 1) / poles  # zero-order hold
        powers = (a[:, :, None] * torch.arange(length)).exp()
        return 2 * torch.einsum("hm,hml->hl", output, powers).real

    def forward(self, u):
        length = u.shape[-1]
        spectrum = torch.fft.rfft(self.kernel(length), n=2 * length)
        y = torch.fft.irfft(torch.fft.rfft(u, n=2 * length) * spectrum, n=2 * length)[..., :length]
        # The GELU comes after the transposition: PyTorch 1.13 computes wrong derivatives of F.gelu in f32 where the
        # gradient that reaches it is a transposed view.
        y = F.gelu((y + self.D[:, None] * u).transpose(1, 2))
        return F.glu(self.mix(y), -1)


class Training:
    def __init__(self, folder, precision):
        self.precision = precision
        self.layer = self.make_layer(folder)
        self.optimizer = torch.optim.Adam(self.layer.parameters(), lr=folder.lr, betas=(folder.beta1, folder.beta2),
                                          eps=folder.eps)
        self.input = folder.tensor("input").transpose(1, 2).contiguous().requires_grad_()  # [B, H, L]
        self.target = folder.tensor("target")  # [B, L, H]

    def make_layer(self, folder):
        return Layer(folder)

    def loss(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.input.grad = None
        with protocol.arithmetic(self.precision):
            return F.mse_loss(self.layer(self.input), self.target)

    def checked_step(self):
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def step(self):
        self.loss().backward()


if __name__ == "__main__":
    protocol.serve(Training)
