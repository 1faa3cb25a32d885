"""Stand-ins for the instructions of scorer_prompts.json, for tests that need some text and not the official one."""

STAND_IN = {
    "hpsv3.INSTRUCTION": "\nHow good is it?\nPrompt - {text_prompt}\n\n",
    "hpsv3.prompt_with_special_token": "\nIt is: <|Reward|>\n\nEND\n",
    "unipercept.question": "<image>Say the {desc} of the image in letters.",
    "unipercept.system_message_internvl2_5": "You are 像.",
    "unipercept.chat_template": (
        "<|im_start|>system\n{system_message}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "unipercept.desc": {"iaa": "beauty", "iqa": "quality", "ista": "structure"},
}
