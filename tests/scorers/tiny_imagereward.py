"""A random ImageReward checkpoint with the published layout, small."""

import torch

from tests.scorers.tiny import WORDS, draw, linear, norm, write_json

VISION = {
    "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64,
    "patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu",
}  # fmt: skip
MED = {
    "architectures": ["BertModel"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "hidden_size": 48, "initializer_range": 0.02, "intermediate_size": 96,
    "layer_norm_eps": 1e-12, "max_position_embeddings": 64, "model_type": "bert", "num_attention_heads": 3,
    "num_hidden_layers": 3, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 60, "encoder_width": 48,
    "add_cross_attention": True,
}  # fmt: skip


def shapes():
    """Key -> shape, under the published names."""
    width, patches, text = (
        VISION["hidden_size"],
        (VISION["image_size"] // VISION["patch_size"]) ** 2,
        MED["hidden_size"],
    )
    keys = {
        "blip.visual_encoder.cls_token": (1, 1, width),
        "blip.visual_encoder.pos_embed": (1, patches + 1, width),
        "blip.visual_encoder.patch_embed.proj.weight": (width, 3, 16, 16),
        "blip.visual_encoder.patch_embed.proj.bias": (width,),
    }
    keys |= norm("blip.visual_encoder.norm", width)
    for layer in range(VISION["num_hidden_layers"]):
        at = f"blip.visual_encoder.blocks.{layer}"
        keys |= norm(f"{at}.norm1", width) | norm(f"{at}.norm2", width)
        keys |= linear(f"{at}.attn.qkv", 3 * width, width) | linear(f"{at}.attn.proj", width, width)
        keys |= linear(f"{at}.mlp.fc1", 4 * width, width) | linear(f"{at}.mlp.fc2", width, 4 * width)
    at = "blip.text_encoder.embeddings"
    keys |= {
        f"{at}.word_embeddings.weight": (MED["vocab_size"], text),
        f"{at}.position_embeddings.weight": (MED["max_position_embeddings"], text),
    } | norm(f"{at}.LayerNorm", text)
    for layer in range(MED["num_hidden_layers"]):
        at = f"blip.text_encoder.encoder.layer.{layer}"
        for kind, source in (("attention", text), ("crossattention", width)):
            keys |= linear(f"{at}.{kind}.self.query", text, text)
            keys |= linear(f"{at}.{kind}.self.key", text, source) | linear(f"{at}.{kind}.self.value", text, source)
            keys |= linear(f"{at}.{kind}.output.dense", text, text) | norm(f"{at}.{kind}.output.LayerNorm", text)
        keys |= linear(f"{at}.intermediate.dense", MED["intermediate_size"], text)
        keys |= linear(f"{at}.output.dense", text, MED["intermediate_size"]) | norm(f"{at}.output.LayerNorm", text)
    keys |= linear("blip.vision_proj", 256, width) | linear("blip.text_proj", 256, text)
    sizes = [text, 1024, 128, 64, 16, 1]
    for layer, rows, columns in zip((0, 2, 4, 6, 7), sizes[1:], sizes):
        keys |= linear(f"mlp.layers.{layer}", rows, columns)
    return keys


def tiny_checkpoint(folder, generator):
    """Writes ImageReward.pt, med_config.json and the tokenizer's vocab.txt into `folder`; returns the state."""
    folder.mkdir(parents=True, exist_ok=True)
    state = draw(shapes(), generator)
    state["blip.text_encoder.embeddings.position_ids"] = (
        torch.arange(MED["max_position_embeddings"]).expand(1, -1).clone()
    )
    torch.save(state, folder / "ImageReward.pt")
    write_json(folder / "med_config.json", MED)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", "##s", *WORDS]
    filler = [f"[unused{number}]" for number in range(MED["vocab_size"] - 2 - len(pieces))]  # [DEC] and [ENC] come last
    (folder / "vocab.txt").write_text("\n".join([*pieces, *filler]) + "\n")
    return state
