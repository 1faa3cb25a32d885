"""Private random generators, keyed by what they are for; nothing here touches a global generator."""

import hashlib

import torch

Key = int | str | tuple["Key", ...]


def generator(*key: Key) -> torch.Generator:
    """A CPU generator seeded by `key`, e.g. (run seed, iteration, prompt id, image): equal keys give equal draws on any
    machine, and different keys give unrelated ones, so that neither batch size nor world size can move a draw."""
    digest = hashlib.sha256(repr(key).encode("utf-8")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
