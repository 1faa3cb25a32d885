"""Counts, on a CPU, what would wait for an accelerator: operations whose result the host needs before it can go on."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "is_nonzero", "masked_select", "equal")
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear")


class Counting(TorchDispatchMode):
    """Within it, `waits` counts the operations of WAITS, `dtypes` the dtypes of matrix products, `operations` all."""

    def __init__(self):
        super().__init__()
        self.waits, self.dtypes, self.operations = Counter(), Counter(), Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function._opname
        self.operations[name] += 1
        chosen = arguments[1] if name in ("index", "index_put", "index_put_") else ()
        if any(index is not None and index.dtype == torch.bool for index in chosen):
            self.waits["nonzero"] += 1  # which a mask as an index is
        if name in WAITS:
            self.waits[name] += 1
        if name in PRODUCTS:
            self.dtypes[arguments[-1].dtype] += 1
        return function(*arguments, **(named or {}))
