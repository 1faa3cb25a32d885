"""MMaDA-8B (Gen-Verse): its ids, prompt layout and files. Facts from upstream at 0d77b96 and from LLaDA's tokenizer."""

from pathlib import Path

from htgrpo.policies.backbone import Backbone
from htgrpo.policies.magvit import MagvitCodec
from htgrpo.policies.published import Published


def load_codec(folder: Path, device: str) -> MagvitCodec:
    """MAGVIT-v2 in `folder`, in fp32."""
    return MagvitCodec.load(folder, device)


MMADA = Published(
    Backbone(
        name="mmada",
        text_open=(126088, 126080),  # <|t2i|>, beginning of text
        text_close=(126081,),  # end of text
        image_open=(126084,),  # <|soi|>
        row_close=(),
        image_close=(126085,),  # <|eoi|>
        mask=126336,
        image_offset=126349,  # where the tokenizer ends, not llm_vocab_size
        codebook_size=8192,
        max_text=513,  # upstream's 512, and the task token
        patch=16,
        grid=(32, 32),
        pad=126093,  # [iPAD]
        sampler="maskgit",
        square=True,  # trained and decoded as squares
        padded=257,  # MaskGRPO's text length of 256, and the task token
    ),
    hub="Gen-Verse/MMaDA-8B-MixCoT",
    rows=134656,
    tokens={
        "<|startoftext|>": 126080,
        "<|endoftext|>": 126081,
        "<|mdm_mask|>": 126336,
        "<|start_header_id|>": 126346,
        "<|end_header_id|>": 126347,
        "<|eot_id|>": 126348,
    },
    tokenizer_lengths=range(126349, 126350),
    codec="showlab/magvitv2",
    load_codec=load_codec,
)
