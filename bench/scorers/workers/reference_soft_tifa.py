# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.57.6",
#   "accelerate==1.12.0",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
# ]
# ///
"""Soft-TIFA and VQAScore by transformers' own processor and `generate`, one question at a time, as GenEval 2's evaluation
asks: what our port is checked against (python -m bench.verify_scorer soft_tifa)."""

import json
import math

from htgrpo_worker import main

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven")
YES = ("Yes", "yes", " yes", " Yes")


def load(arguments):
    """See htgrpo_worker.main. weights: Qwen3-VL's folder; question: the text that a question or a prompt is put into."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

    dtype = arguments.dtype or "bfloat16"
    processor = Qwen3VLProcessor.from_pretrained(arguments.weights)
    net = Qwen3VLForConditionalGeneration.from_pretrained(arguments.weights, dtype=getattr(torch, dtype))
    net = net.eval().to(arguments.device)

    def asked(image, text, accepted):
        content = [{"type": "image", "image": image}, {"type": "text", "text": arguments.question.format(text)}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(net.device)
        written = net.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        found = written.scores[0].softmax(-1)[0]
        return sum(found[processor.tokenizer.encode(answer)[0]].item() for answer in accepted)

    def number(word):
        digit = str(NUMBERS.index(word) + 1)
        return word, word.capitalize(), " " + word, " " + word.capitalize(), digit, " " + digit

    def one(image, prompt):
        if not prompt.startswith("{"):
            return asked(image, prompt, YES), {}
        questions = json.loads(prompt)["vqa_list"]
        found = [
            asked(image, text, number(answer) if text.startswith("How many") else YES) for text, answer in questions
        ]
        mean = math.prod(found) ** (1 / len(found))
        return mean, {"gm": mean, "am": sum(found) / len(found)}

    @torch.inference_mode()
    def score(images, prompts):
        return [one(image.convert("RGB"), prompt) for image, prompt in zip(images, prompts)]

    return {
        "name": "soft_tifa-reference",
        "version": "transformers' generate",
        "weights_revision": None,
        "dtype": dtype,
    }, score


if __name__ == "__main__":
    main(load, question="")
