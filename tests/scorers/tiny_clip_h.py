"""Random checkpoints of PickScore and HPSv2.1 with the published layouts and CLIP's own vocabulary, small."""

import torch
from safetensors.torch import save_file

from tests.scorers.tiny import draw, linear, norm, write_json

SEEN, READ, DIM, LAYERS, SIDE, VOCAB = 64, 32, 48, 2, 56, 49408
COMMON = {"num_hidden_layers": LAYERS, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "projection_dim": DIM}
SIZES = {
    "projection_dim": DIM,
    "text_config": COMMON | {
        "vocab_size": VOCAB, "hidden_size": READ, "intermediate_size": 4 * READ, "num_attention_heads": 2,
        "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    },
    "vision_config": COMMON | {
        "hidden_size": SEEN, "intermediate_size": 4 * SEEN, "num_attention_heads": 4, "image_size": SIDE,
        "patch_size": 14,
    },
}  # fmt: skip
"""As transformers says it."""
OPEN_CLIP = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": SEEN, "head_width": 16, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": VOCAB, "width": READ, "heads": 2, "layers": LAYERS},
}
"""The same as open_clip says it."""
POSITIONS = (SIDE // 14) ** 2 + 1


def of_transformers():
    """Key -> shape of PickScore's file."""
    at = "vision_model.embeddings"
    keys = {
        f"{at}.class_embedding": (SEEN,),
        f"{at}.patch_embedding.weight": (SEEN, 3, 14, 14),
        f"{at}.position_embedding.weight": (POSITIONS, SEEN),
        "text_model.embeddings.token_embedding.weight": (VOCAB, READ),
        "text_model.embeddings.position_embedding.weight": (77, READ),
        "logit_scale": (),
    }
    keys |= norm("vision_model.pre_layrnorm", SEEN) | norm("vision_model.post_layernorm", SEEN)
    keys |= norm("text_model.final_layer_norm", READ)
    keys |= linear("visual_projection", DIM, SEEN, bias=False) | linear("text_projection", DIM, READ, bias=False)
    for tower, width in (("vision_model", SEEN), ("text_model", READ)):
        for layer in range(LAYERS):
            at = f"{tower}.encoder.layers.{layer}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                keys |= linear(f"{at}.self_attn.{name}", width, width)
            keys |= norm(f"{at}.layer_norm1", width) | norm(f"{at}.layer_norm2", width)
            keys |= linear(f"{at}.mlp.fc1", 4 * width, width) | linear(f"{at}.mlp.fc2", width, 4 * width)
    return keys


def of_open_clip():
    """Key -> shape of HPSv2.1's file."""
    keys = {
        "visual.class_embedding": (SEEN,), "visual.positional_embedding": (POSITIONS, SEEN),
        "visual.proj": (SEEN, DIM), "visual.conv1.weight": (SEEN, 3, 14, 14), "positional_embedding": (77, READ),
        "text_projection": (READ, DIM), "token_embedding.weight": (VOCAB, READ), "logit_scale": (),
    }  # fmt: skip
    keys |= norm("visual.ln_pre", SEEN) | norm("visual.ln_post", SEEN) | norm("ln_final", READ)
    for tower, width in (("visual.transformer", SEEN), ("transformer", READ)):
        for layer in range(LAYERS):
            at = f"{tower}.resblocks.{layer}"
            keys |= {f"{at}.attn.in_proj_weight": (3 * width, width), f"{at}.attn.in_proj_bias": (3 * width,)}
            keys |= linear(f"{at}.attn.out_proj", width, width) | norm(f"{at}.ln_1", width) | norm(f"{at}.ln_2", width)
            keys |= linear(f"{at}.mlp.c_fc", 4 * width, width) | linear(f"{at}.mlp.c_proj", width, 4 * width)
    return keys


def write_vocabulary(folder):
    """vocab.json and merges.txt of CLIP, made of the copy in open_clip."""
    from open_clip.tokenizer import SimpleTokenizer

    known = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    write_json(folder / "vocab.json", {names.get(token, token): number for token, number in known.encoder.items()})
    merges = sorted(known.bpe_ranks, key=known.bpe_ranks.get)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tiny_pickscore(folder, generator):
    """Writes model.safetensors, config.json and the vocabulary into `folder`; returns the state."""
    folder.mkdir(parents=True, exist_ok=True)
    state = draw(of_transformers(), generator) | {"logit_scale": torch.tensor(4.59375)}
    state["text_model.embeddings.position_ids"] = torch.arange(77).unsqueeze(0)
    state["vision_model.embeddings.position_ids"] = torch.arange(POSITIONS).unsqueeze(0)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    parts = {part: SIZES[part] | {"model_type": f"clip_{part[:-7]}_model"} for part in ("text_config", "vision_config")}
    config = {"architectures": ["CLIPModel"], "model_type": "clip", "torch_dtype": "float32"}
    write_json(folder / "config.json", SIZES | parts | config)
    write_vocabulary(folder)
    return state


def tiny_hpsv2(folder, generator):
    """Writes HPS_v2.1_compressed.pt, in fp16 as it is published, and open_clip's configuration into `folder`; returns
    the state."""
    folder.mkdir(parents=True, exist_ok=True)
    state = draw(of_open_clip(), generator) | {"logit_scale": torch.tensor(4.59375)}
    state = {key: value.half() for key, value in state.items()}
    torch.save({"state_dict": state}, folder / "HPS_v2.1_compressed.pt")
    write_json(folder / "ViT-H-14.json", OPEN_CLIP)
    return state
