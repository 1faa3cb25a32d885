"""The network as text is read with it: sequences of ids with masks in them, logits of text where they are asked for."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from htgrpo.policies.llada import Network, Packed


@dataclass(frozen=True)
class Reading:
    """One sequence: its ids, of which the first `prompt` are the prompt, and the positions whose logits are wanted."""

    ids: tuple[int, ...]
    prompt: int
    at: tuple[int, ...]


@dataclass(frozen=True)
class Reader:
    """net: called as LLaDA.forward is. mask: id of the mask. columns: rows of the head that take part, from row 0.
    batch: sequences in one forward. guidance: logits = (1 + g) conditional - g those with the prompt masked; 0 is none,
    and costs nothing."""

    net: Network
    mask: int
    columns: slice
    device: torch.device = torch.device("cpu")
    batch: int = 16
    guidance: float = 0.0

    @torch.inference_mode()
    def logits(self, readings: list[Reading]) -> Tensor:
        """Logits [P, columns] at all wanted positions, one reading after another; float32, or float64 of a float64
        network."""
        rows = [reading.ids for reading in readings]
        if self.guidance:
            rows += [(self.mask,) * reading.prompt + reading.ids[reading.prompt :] for reading in readings]
        starts = [0, *accumulate(map(len, rows))]
        wanted = [reading.at for reading in readings] * (2 if self.guidance else 1)
        at = [start + position for start, positions in zip(starts, wanted) for position in positions]
        packed = Packed(torch.tensor([i for row in rows for i in row], device=self.device), tuple(map(len, rows)))
        logits = self.net(packed, torch.tensor(at, device=self.device), self.columns)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.guidance:
            conditional, unconditional = logits.chunk(2)
            logits = conditional + self.guidance * (conditional - unconditional)
        return logits
