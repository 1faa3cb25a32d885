"""The embedded policy's tokenizer: whole words, in the `tokenizers` library's own file format.

A library tokenizer was weighed against a dictionary of our own: the published backbones ship `tokenizer.json`, so the
embedded policy ships one too and both are read by the same class.
"""

import re
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

UNKNOWN = "[UNK]"
SPECIALS = (UNKNOWN, "<|startoftext|>", "<|endoftext|>", "<|soi|>", "<|eoi|>", "<|t2i|>", "[iPAD]", "<|mdm_mask|>")


def word_tokenizer(words: list[str]) -> Tokenizer:
    """A lower-casing word-level tokenizer; ids: the words in order, then SPECIALS, so that words < specials < mask."""
    vocabulary = {word: index for index, word in enumerate([*words, *SPECIALS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of `text` without specials. Special strings and control characters in a prompt are ordinary text: they never
    become special ids."""
    clean = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return tokenizer.encode(clean, add_special_tokens=False).ids


def load(path: Path) -> Tokenizer:
    """Reads `tokenizer.json`."""
    return Tokenizer.from_file(str(path))
