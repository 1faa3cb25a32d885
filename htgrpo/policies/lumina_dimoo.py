"""Lumina-DiMOO (Alpha-VLLM): its ids, prompt layout and files. Facts from upstream at 81344e6."""

from pathlib import Path
from typing import TYPE_CHECKING

from htgrpo.policies.backbone import Backbone
from htgrpo.policies.published import Published

if TYPE_CHECKING:
    from htgrpo.policies.vqmodel import VQModelCodec


def load_codec(folder: Path, device: str) -> "VQModelCodec":
    """The VQModel in `folder`, in fp32."""
    from htgrpo.policies.vqmodel import VQModelCodec  # diffusers, which takes seconds to import

    return VQModelCodec.load(folder, device)


LUMINA_DIMOO = Published(
    Backbone(
        name="lumina-dimoo",
        text_open=(),
        text_close=(),
        image_open=(126354, 126349),  # answer, picture
        row_close=(126084,),  # end of line
        image_close=(126350, 126355),
        mask=126336,
        image_offset=126356,
        codebook_size=8192,
        max_text=1024,  # as upstream's fine-tuning cuts instructions
        patch=16,
        grid=(64, 64),
        template="<system>Generate an image according to the text prompt.</system><user>{}</user>",
        unconditional="<uncondition>",
        sampler="lumina",
    ),
    hub="Alpha-VLLM/Lumina-DiMOO",
    rows=134548,
    tokens={"<|mdm_mask|>": 126336, "<uncondition>": 126351},
    tokenizer_lengths=range(126352, 126357),  # <uncondition> is in it, and no image code
    codec="vqvae",
    load_codec=load_codec,
)
