"""Run in DeQA's environment: writes a tiny random checkpoint of DeQA-Score's layout, and what its official class says
of pictures.

tiny_deqa.py REPOSITORY FOLDER PICTURE...     REPOSITORY: github zhiyuanyou/DeQA-Score at the worker's commit
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from PIL import Image

repository, folder, pictures = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
sys.path.insert(0, str(repository))
from src.evaluate.scorer import Scorer  # noqa: E402
from src.model import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM  # noqa: E402
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel  # noqa: E402

LlamaPreTrainedModel._supports_sdpa = False  # upstream's torch is too old for it; ours would take it
sys.stdout = sys.stderr
vision = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14,
    "image_size": 448, "layer_norm_eps": 1e-6, "hidden_act": "quick_gelu", "use_flash_attn": False,
}  # fmt: skip
abstractor = {
    "hidden_size": 32, "num_learnable_queries": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "encoder_hidden_size": 32, "grid_size": 32,
}  # fmt: skip
config = MPLUGOwl2Config(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    vocab_size=32000,
    visual_config={"visual_model": vision, "visual_abstractor": abstractor},
    attn_implementation="eager",
)
torch.manual_seed(0)
net = MPLUGOwl2LlamaForCausalLM(config)
with torch.no_grad():
    for name, value in net.named_parameters():
        if value.dim() > 1 or "cls_token" in name:
            value.normal_(0, 0.5 if "embed" in name or "lm_head" in name else 0.2)
net.half().save_pretrained(folder, safe_serialization=True)
for file in (repository / "preprocessor").iterdir():
    shutil.copy(file, folder)
official = Scorer(str(folder), device="cpu")
scores = [official([Image.open(picture).convert("RGB")]).tolist()[0] for picture in pictures]
batch = official([Image.open(picture).convert("RGB") for picture in pictures]).tolist()
(folder / "official.json").write_text(json.dumps({"scores": scores, "batch": batch}))
