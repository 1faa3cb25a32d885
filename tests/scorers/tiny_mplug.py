"""Run in mPLUG's environment: writes a tiny random checkpoint in ModelScope's layout, and the official class's answers.

tiny_mplug.py FOLDER PICTURE QUESTION...
"""

import json
import sys
from pathlib import Path

import torch
import yaml
from modelscope.models.multi_modal.mplug.configuration_mplug import MPlugConfig
from modelscope.models.multi_modal.mplug.modeling_mplug import MPlugForVisualQuestionAnswering
from PIL import Image
from torchvision import transforms

folder, picture, questions = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
folder.mkdir(parents=True, exist_ok=True)
bert = {
    "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 64,
    "layer_norm_eps": 1e-12, "model_type": "bert", "max_position_embeddings": 64, "num_attention_heads": 2,
    "num_hidden_layers": 2, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 200, "fusion_layers": 2,
    "encoder_width": 32, "text_encoder_layers": 2, "text_decode_layers": 2, "stride_layer": 1,
    "add_cross_attention": False,
}  # fmt: skip
settings = {
    "bert_config": "config_bert.json", "image_res": 56, "vision_width": 1024, "distill": True,
    "clip_name": "ViT-L-14", "min_length": 1, "max_length": 10, "beam_size": 5, "clip_embed_dim": 32,
    "clip_image_resolution": 56, "clip_vision_layers": 2, "clip_vision_width": 1024, "clip_vision_patch_size": 14,
    "clip_context_length": 8, "clip_vocab_size": 50, "clip_transformer_width": 32, "clip_transformer_heads": 2,
    "clip_transformer_layers": 1,
}  # fmt: skip
(folder / "config_bert.json").write_text(json.dumps(bert))
(folder / "config.yaml").write_text(yaml.safe_dump(settings))
unused = [f"[unused{n}]" for n in range(99)]
words = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"yes no is it red ? a the".split()]
(folder / "vocab.txt").write_text("\n".join(words + [f"word{n}" for n in range(200 - len(words))]) + "\n")
config = MPlugConfig(**settings)
config.model_dir = str(folder)
torch.manual_seed(0)
net = MPlugForVisualQuestionAnswering(config).eval()  # with its copies for training, as published
with torch.no_grad():
    for value in net.parameters():
        if value.dim() > 1:
            value.normal_(0, 0.3)
    for word, bias in (("yes", 9.0), ("no", 9.0), ("[SEP]", 8.0)):  # so that answers are made of these
        net.text_decoder.cls.predictions.bias[words.index(word)] = bias
torch.save({"model": net.state_dict()}, folder / "pytorch_model.bin")
prepare = transforms.Compose(
    [
        transforms.Resize((56, 56), interpolation=Image.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ]
)
answers = []
for question in questions:
    read = net.tokenizer(question.lower(), padding="max_length", truncation=True, max_length=25, return_tensors="pt")
    with torch.no_grad():
        best, _ = net(prepare(Image.open(picture).convert("RGB"))[None], read, train=False)
    answers.append(net.tokenizer.decode(best[0][0], skip_special_tokens=True))
(folder / "official.json").write_text(json.dumps(answers))
