"""Opens and writes policies, in all formats of htgrpo.policies.model_files."""

from dataclasses import replace
from pathlib import Path

import torch

from htgrpo.base.cpu import sampling_dtype
from htgrpo.base.errors import UserError, suggest
from htgrpo.base.folders import atomic_dir
from htgrpo.base.registry import BACKBONES
from htgrpo.policies import embedded, published
from htgrpo.policies.lora import apply_adapter
from htgrpo.policies.model_files import ADAPTER, EMBEDDED, ModelFolder, open_model, source_of
from htgrpo.policies.policy import Policy, Source

DTYPES = ("auto", "float32", "bfloat16", "float64")


def load_policy(
    name: str = EMBEDDED,
    device: str = "cpu",
    *,
    backbone: str | None = None,
    revision: str | None = None,
    dtype: str = "auto",
) -> Policy:
    """The policy `name`: "embedded", a folder in one of the formats of htgrpo.policies.model_files, or a hub id at
    `revision`.

    backbone: registered name, needed where no htgrpo.json says it; with "embedded" it means that backbone's published
    weights. dtype: of the network; "auto" is float32 in the embedded format and for published weights bfloat16 where
    `device` multiplies it in hardware, else float32. Raises UserError for anything that is no policy, or that disagrees
    with itself.
    """
    if dtype not in DTYPES:
        raise suggest(dtype, DTYPES, "dtype of the weights")
    return _load(open_model(source_of(name, backbone), revision), backbone, device, dtype)


def _load(model: ModelFolder, backbone: str | None, device: str, dtype: str) -> Policy:
    backbone = model.backbone_or(backbone)
    if model.kind == ADAPTER:
        return _with_adapter(_load(model.open_base(), backbone, device, dtype), model)
    if model.kind == EMBEDDED:
        return embedded.load(model, device, torch.float32 if dtype == "auto" else getattr(torch, dtype))
    return published.load(model, BACKBONES.get(backbone), device, sampling_dtype(dtype, device))


def _with_adapter(policy: Policy, model: ModelFolder) -> Policy:
    """`policy` with the adapter in `model`, which must have been trained on these weights."""
    if policy.sha256 != model.base["sha256"]:
        raise UserError(
            f"the weights of {policy.source.name!r} are not those that the adapter {model.name!r} was trained on "
            f"({policy.sha256[:12]}… and {model.base['sha256'][:12]}…): restore them, or take another checkpoint"
        )
    apply_adapter(policy.net, model.path)
    policy = policy.sized(model.sidecar.get("resolution", ""))
    return replace(
        policy,
        sha256=model.sha256,
        random_weights=policy.random_weights or model.random_weights,
        source=Source(model.name, model.revision, policy.source.config, policy.source.codec),
    )


def write_policy(policy: Policy, folder: Path) -> None:
    """Writes the policy's files into an existing `folder`, in the format it came in."""
    (embedded if policy.source.config is None else published).write(policy, folder)


def save_policy(policy: Policy, folder: Path, made_by: str = "save_policy", overwrite: bool = False) -> None:
    """Writes the policy as a new `folder`, whole or not at all; `overwrite` replaces one that the same `made_by` has
    written. Raises UserError for any other that exists."""
    with atomic_dir(folder, made_by, overwrite) as temporary:
        write_policy(policy, temporary)
