"""A policy: network, backbone record, tokenizer and image codec, loaded from and saved to one folder."""

import json
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from htgrpo.errors import UserError
from htgrpo.files import atomic_dir, sha256_file
from htgrpo.policies import tokenizer as words
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Packed, Size

EMBEDDED = "embedded"
WEIGHTS, CONFIG, TOKENIZER, CODEBOOK = "model.safetensors", "config.json", "tokenizer.json", "vq/codebook.safetensors"


@dataclass(frozen=True)
class Policy:
    """A masked image-token policy. `random_weights` labels a network that was never trained."""

    net: LLaDA
    backbone: Backbone
    tokenizer: Any
    codec: Any
    sha256: str = ""
    random_weights: bool = False

    @property
    def device(self) -> torch.device:
        """Where the network's weights lie."""
        return next(self.net.parameters()).device

    def prompt(self, text: str, pads: str = "strip") -> tuple[int, ...]:
        """Ids before the image block for `text`."""
        return self.backbone.prompt(words.encode(self.tokenizer, text), pads)

    def decode(self, codes: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Pictures of `codes` int64 [B, N]: float32 [B, 3, H, W], RGB in [0, 1]."""
        return self.codec.decode(codes.cpu(), grid or self.backbone.grid)

    def with_net(self, net: LLaDA) -> "Policy":
        """The same policy with another network."""
        return replace(self, net=net)

    def write(self, folder: Path) -> None:
        """Writes the policy's files into an existing `folder`."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.net.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        config = {"model_type": "llada", "size": asdict(self.net.size), "backbone": asdict(self.backbone),
                  "random_weights": self.random_weights}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        self.tokenizer.save(str(folder / TOKENIZER))
        (folder / CODEBOOK).parent.mkdir(exist_ok=True)
        self.codec.save((folder / CODEBOOK).parent)

    def save(self, folder: Path) -> None:
        """Writes the policy as a new `folder`, whole or not at all."""
        with atomic_dir(folder) as temporary:
            self.write(temporary)


def pack(policy: Policy, prompts: list[tuple[int, ...]], codes: Tensor, grid: tuple[int, int]) -> tuple[Packed, Tensor]:
    """Sequences of `prompts` with image codes [B, N] (HIDDEN where unknown), and where the slots lie: int64 [B, N]."""
    backbone = policy.backbone
    block = backbone.image_block(grid)
    offsets = (block == -1).nonzero()[:, 0]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    starts = torch.cat([torch.zeros(1, dtype=torch.long), (lengths + len(block)).cumsum(0)[:-1]])
    slots = (starts + lengths)[:, None] + offsets
    ids = torch.cat([torch.cat([torch.tensor(prompt), block]) for prompt in prompts])
    ids[slots] = backbone.to_ids(codes.cpu())
    packed = Packed(ids.to(policy.device), tuple((lengths + len(block)).tolist()))
    return packed, slots.to(policy.device)


def load_policy(name: str = EMBEDDED, device: str = "cpu") -> Policy:
    """The policy in the folder `name`, or the shipped one for "embedded". Raises UserError for anything that is not one."""
    from htgrpo.world.codec import PatchCodec

    folder = Path(str(files("htgrpo") / "world" / "assets" / "policy")) if name == EMBEDDED else Path(name)
    for part in (CONFIG, WEIGHTS, TOKENIZER, CODEBOOK):
        if not (folder / part).is_file():
            hint = "" if folder.is_dir() else f" (there is no folder {str(folder)!r})"
            raise UserError(
                f"policy {name!r} has no {part}{hint}: give 'embedded' or a checkpoint folder such as "
                "runs/NAME/train/METHOD/seed0/checkpoints/step_000040"
            )
    try:
        config = json.loads((folder / CONFIG).read_text())
        size, record = Size(**config["size"]), config["backbone"]
        backbone = Backbone(**{**record, "grid": tuple(record["grid"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{str(folder / CONFIG)!r} is not a policy configuration ({error}): use an undamaged checkpoint") from error
    net = LLaDA(size)
    load_weights(net, folder / WEIGHTS)
    try:
        codec, tokenizer = PatchCodec.load(folder / CODEBOOK), words.load(folder / TOKENIZER)
    except UserError:
        raise
    except Exception as error:  # both libraries raise untyped errors for damaged files
        raise UserError(f"the codebook or the tokenizer in {str(folder)!r} cannot be read ({error}): use an undamaged "
                        "checkpoint") from error
    if len(codec.codebook) != backbone.codebook_size:
        raise UserError(f"the codebook of {name!r} has {len(codec.codebook)} codes, but its config says {backbone.codebook_size}: "
                        "use an undamaged checkpoint")
    return Policy(net.to(device), backbone, tokenizer, codec, sha256_file(folder / WEIGHTS), config.get("random_weights", False))


def load_weights(net: LLaDA, path: Path) -> None:
    """Loads safetensors `path` into `net`, key by key. Raises UserError naming the first key or shape that disagrees."""
    try:
        state = load_file(path)
    except Exception as error:  # safetensors raises its own untyped errors for damaged files
        raise UserError(f"{str(path)!r} cannot be read as safetensors ({error}): the file is damaged or cut off; "
                        "copy it again or use an earlier checkpoint") from error
    wanted = net.state_dict()
    for key in sorted(wanted.keys() ^ state.keys()):
        raise UserError(f"{str(path)!r} {'lacks' if key in wanted else 'has the unexpected'} key {key!r}: "
                        "it does not hold this network")
    for key, value in wanted.items():
        if value.shape != state[key].shape:
            raise UserError(f"{key!r} in {str(path)!r} has shape {list(state[key].shape)}, but the configuration beside it "
                            f"says {list(value.shape)}: use a checkpoint of one training run")
    net.load_state_dict(state)
