"""GenEval's detector network: transformers' Mask2Former with the weights of GenEval's own checkpoint, or with the
hub's, which come from another training run and give near but other detections."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.scorers.geneval.convert import convert
from bench.scorers.weights import FOLDERS, Repository, build, fill, locate, open_shards, renaming, revision
from bench.sources import assets
from htgrpo.base.errors import UserError
from htgrpo.base.files import sha256_file
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles, check_shapes, shapes_of

if TYPE_CHECKING:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

ASSET = "geneval_detector"
HUB = Repository(
    "facebook/mask2former-swin-small-coco-instance", ("config.json",), ("model.safetensors", "pytorch_model.bin")
)
OFFICIAL = "Mask2Former Swin-S of MMDetection, 743b7d99"
DIFFERENT, OTHER = (
    "Mask2Former of the hub (different detector)",
    "Mask2Former of MMDetection, another file (different detector)",
)
SWIN_S: dict[str, Any] = {
    "image_size": 224, "embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24], "window_size": 7,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
SIZES: dict[str, Any] = {
    "num_labels": 80, "num_queries": 100, "feature_size": 256, "mask_feature_size": 256, "hidden_dim": 256,
    "encoder_layers": 6, "encoder_feedforward_dim": 1024, "decoder_layers": 10, "dim_feedforward": 2048,
    "num_attention_heads": 8,
}  # fmt: skip
"""mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.py. transformers counts the prediction before the first layer as a
layer."""
published_name = renaming(
    (r"(pixel_level_module\.encoder\.)swin\.", r"\1"),
    (r"\.attention\.q_proj\.", ".attention.self.query."),
    (r"\.attention\.k_proj\.", ".attention.self.key."),
    (r"\.attention\.v_proj\.", ".attention.self.value."),
    (r"\.attention\.relative_position_bias\.", ".attention.self."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
"""A key of transformers' class, of version 4 or 5 -> the key in published files."""
UNREAD = r".*\.relative_position_index|criterion\.empty_weight|.*\.encoder\.(swin\.)?layernorm\.(weight|bias)"
"""Published keys that detection does not use: a computed table, the training loss, a norm behind the last stage."""


def locate_detector(weights: Path | None) -> Path:
    """The official checkpoint (a .pth file) or a folder of the hub's format.

    `weights` may name either, or a folder that holds either; without it $HTGRPO_WEIGHTS/geneval, the asset, and the
    hub's cache are looked at in turn. Raises UserError with the commands to run.
    """
    if weights is None and os.environ.get(FOLDERS) and (Path(os.environ[FOLDERS]) / "geneval").is_dir():
        weights = Path(os.environ[FOLDERS]) / "geneval"
    if weights is None:
        found = assets.find(assets.named(ASSET))
        if found:
            return found
        try:
            return locate("geneval", (HUB,), None)[0]
        except UserError:
            raise UserError(
                f"weights not found: run `python -m bench.fetch {ASSET}` for GenEval's own detector, or `{HUB.command}` for one "
                f"whose scores are near but not comparable; or give a folder that holds either, also as ${FOLDERS}/geneval"
            ) from None
    weights = Path(weights)
    if weights.is_dir():
        checkpoints = sorted(weights.glob("*.pth"))
        if len(checkpoints) > 1:
            raise UserError(
                f"{str(weights)!r} holds {len(checkpoints)} .pth files, {checkpoints[0].name} and others: give the "
                "path of the detector's own"
            )
        return checkpoints[0] if checkpoints else locate("geneval", (HUB,), weights)[0]
    if not weights.is_file():
        raise UserError(
            f"weights not found: {str(weights)!r}, given for geneval, is neither a file nor a folder: run "
            f"`python -m bench.fetch {ASSET}` and leave it out"
        )
    return weights


def official_config() -> "Mask2FormerConfig":
    """The official detector's sizes."""
    from transformers import Mask2FormerConfig, SwinConfig

    return Mask2FormerConfig(backbone_config=SwinConfig(**SWIN_S), **SIZES)


def load_network(
    place: Path, device: str | torch.device, config: "Mask2FormerConfig | None" = None
) -> "Mask2FormerForUniversalSegmentation":
    """The network at `place`, as locate_detector returns it, in float32.

    config: of a .pth file, default official_config(). Raises UserError where the file is not this network's to the last
    key.
    """
    if place.is_dir():
        from transformers import Mask2FormerConfig

        net = make_network(Mask2FormerConfig.from_dict(read_json(place / "config.json")))
        fill(
            net, TensorFiles(open_shards(place, HUB)), published_name, device, lambda key: torch.float32, ignore=UNREAD
        )
    else:
        net = make_network(config or official_config())
        fill_from(net, convert(read_checkpoint(place), repr(str(place))), repr(str(place)), device, torch.float32)
    return net


def identity_of(place: Path) -> dict[str, Any]:
    """{"detector", "detector_revision", "official"}: official only for GenEval's own checkpoint, known by its
    content."""
    if place.is_dir():
        return {"detector": DIFFERENT, "detector_revision": revision(place, HUB), "official": False}
    official = assets.has_content(place, assets.named(ASSET).digest)
    return {
        "detector": OFFICIAL if official else OTHER,
        "detector_revision": f"sha256:{sha256_file(place)}",
        "official": official,
    }


def make_network(config: "Mask2FormerConfig") -> "Mask2FormerForUniversalSegmentation":
    """The network without its weights and without what only training uses."""
    from transformers import Mask2FormerForUniversalSegmentation

    with torch.random.fork_rng(devices=[]):  # a constructor draws a few numbers that are overwritten
        net = build(lambda: Mask2FormerForUniversalSegmentation(config))
    del net.criterion
    backbone = net.model.pixel_level_module.encoder
    if hasattr(backbone, "swin"):  # transformers 5 keeps the norm that a backbone does not use
        backbone.swin.layernorm = nn.Identity()
    return net


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of an MMDetection checkpoint; nothing but tensors and plain values is unpickled. Raises
    UserError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content["state_dict"]
        whole = all(isinstance(value, Tensor) for value in state.values())
    except Exception as error:  # the restricted unpickler raises whatever it meets in a file of another kind
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"{str(path)!r} is not an MMDetection checkpoint ({type(error).__name__}: {reason}): run "
            f"`python -m bench.fetch {ASSET}`"
        ) from error
    if not whole:
        raise UserError(
            f"the state dict of {str(path)!r} holds other things than tensors: run `python -m bench.fetch {ASSET}`"
        )
    return state


def fill_from(
    net: nn.Module, published: dict[str, Tensor], place: str, device: str | torch.device, dtype: torch.dtype
) -> None:
    """Makes `published`, by published key, the weights of `net`. Raises UserError naming the first key that is missing,
    unexpected or of another shape."""
    wanted = {published_name(key): (key, value) for key, value in net.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, (_, value) in wanted.items()}
    whose, remedy = "GenEval's detector (keys as transformers names them)", f"run `python -m bench.fetch {ASSET}`"
    check_shapes(shapes_of(published), shapes, place, whose, remedy)
    net.load_state_dict({key: published[name].to(device, dtype) for name, (key, _) in wanted.items()}, assign=True)
    net.to(device)
