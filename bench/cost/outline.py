"""What is known of a policy without loading a weight: sizes, layout and tokenizer, from its folder or from what is
published."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.ask.request import Request
from htgrpo.base.errors import UserError
from htgrpo.base.registry import BACKBONES
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import Size
from htgrpo.policies.model_files import ADAPTER, EMBEDDED, ModelFolder, NotInCache, open_model
from htgrpo.policies.published_config import SIZES

TOKENS_PER_WORD = 1.35
"""Assumed where the tokenizer is not here."""


@dataclass(frozen=True)
class Outline:
    """A policy without its weights. encode: text to ids, or to as many zeros. basis: where all this is from."""

    size: Size
    backbone: Backbone
    encode: Callable[[str], list[int]]
    basis: str

    def resolution(self, wanted: str) -> str:
        """HEIGHTxWIDTH of pictures of `wanted` resolution; "" is the policy's own. Raises UserError as Backbone.grid_of
        does."""
        return replace(self.backbone, grid=self.backbone.grid_of(wanted)).resolution


def outline_of(request: Request) -> Outline:
    """The outline of a request's policy. Raises UserError where its folder is damaged."""
    try:
        model = open_model(request.policy, request.revision or None, download=False)
    except NotInCache:
        record = BACKBONES.get(request.backbone)
        size = Size(**{name: published for name, (_, published) in SIZES.items()}, embedding_size=record.rows)
        return Outline(
            size, record.backbone, _guess, f"published sizes; the weights are not here; {TOKENS_PER_WORD} tokens a word"
        )
    if model.kind == EMBEDDED:
        from htgrpo.policies import embedded
        from htgrpo.policies.tokenizer import WordTokenizer

        try:
            encode = WordTokenizer.load(model.path).encode
        except Exception as error:  # the library raises untyped errors for files that are damaged or not there
            raise UserError(
                f"{str(model.path / embedded.TOKENIZER)!r} cannot be read ({error}): use an undamaged checkpoint"
            ) from error
        return Outline(*embedded.read_record(model), encode, "its configuration and its tokenizer")
    return _published(model, request.backbone)


def _guess(text: str) -> list[int]:
    return [0] * round(TOKENS_PER_WORD * len(text.split()))


def _published(model: ModelFolder, backbone: str) -> Outline:
    from htgrpo.policies.published import NetworkConfig, read_size
    from htgrpo.policies.tokenizer import PublishedTokenizer
    from htgrpo.policies.weights import TensorFiles

    resolution = model.sidecar.get("resolution", "")
    if model.kind == ADAPTER:
        model = model.open_base(download=False)
    size, record = (
        read_size(TensorFiles(model.shards), NetworkConfig.read(model), model),
        BACKBONES.get(backbone).backbone,
    )
    record = replace(record, grid=record.grid_of(resolution))
    return Outline(size, record, PublishedTokenizer(model.path).encode, "the headers of its weights and its tokenizer")
