"""What every PyTorch yardstick of `kindred bench` shares: the folder it starts from and the line protocol.

    /usr/bin/python3 gpt.py FOLDER --threads 2 --precision f32

FOLDER holds index.json and raw tensors, written by kindred: start weights, batches, settings. Requests come as
lines on standard input, each answered by one line of JSON on standard output:

    losses N   -> {"losses": [...]}   N steps of the comparison, from the start weights on the given batches
    steps K    -> {"ms": [...]}       K timed steps
    memory     -> {"baseline": bytes, "peak": bytes}
    quit

A yardstick is a class with checked_step() -> float and step(), made from a Folder.
"""
import argparse
import contextlib
import json
import os
import sys
import time

import numpy
import torch


def status(field):
    """VmRSS or VmHWM of this process in bytes."""
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Folder:
    """Settings as attributes, tensors by the path of the parameter in kindred."""

    def __init__(self, path):
        with open(os.path.join(path, "index.json")) as index:
            content = json.load(index)
        self.path = path
        self.index = content["tensors"]
        for name, value in content["settings"].items():
            setattr(self, name, value)

    def tensor(self, name):
        entry = self.index[name]
        values = numpy.fromfile(os.path.join(self.path, entry["file"]), dtype=entry["dtype"])
        return torch.from_numpy(values.reshape(entry["shape"]))

    def load(self, parameter, name, permute=None):
        """Fills a parameter; `permute` reorders kindred's dimensions into PyTorch's."""
        with torch.no_grad():
            value = self.tensor(name)
            parameter.copy_(value if permute is None else value.permute(permute))


def arithmetic(precision):
    """The context of a forward pass: autocast for bf16, nothing for f32."""
    if precision == "bf16":
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def serve(make):
    """Reads the command line, builds the yardstick with make(folder, precision), answers until the end."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    baseline = status("VmRSS")
    work = make(Folder(given.folder), given.precision)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak counts from here
    answer(ready=True, rss=baseline, library="PyTorch " + torch.__version__, threads=torch.get_num_threads())
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            break
        if words[0] == "losses":
            answer(losses=[work.checked_step() for _ in range(int(words[1]))])
        elif words[0] == "steps":
            times = []
            for _ in range(int(words[1])):
                start = time.perf_counter()
                work.step()
                times.append(1e3 * (time.perf_counter() - start))
            answer(ms=times)
        elif words[0] == "memory":
            answer(baseline=baseline, peak=status("VmHWM"))
        else:
            answer(error="unknown request " + words[0])
