"""Text to ids: whole words for the embedded policy, the published files for the published ones, behind three
functions."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import TOKENIZER_FILES, read_json

UNKNOWN = "[UNK]"
SPECIALS = (UNKNOWN, "<|startoftext|>", "<|endoftext|>", "<|soi|>", "<|eoi|>", "<|t2i|>", "[iPAD]", "<|mdm_mask|>")
FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"


class Tokenizer(ABC):
    """Text to ids. library: the object of the library that does it."""

    library: Any

    @abstractmethod
    def plain(self, text: str) -> str:
        """`text` as a prompt may hold it: special strings in it are ordinary text, and nothing in it breaks the
        tokenizer."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added before or after it. Special strings in it become special ids."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the tokenizer's files into an existing `folder`."""


class WordTokenizer(Tokenizer):
    """A lower-casing word-level tokenizer in the `tokenizers` library's own file format; `library` is that library's
    object.

    A library tokenizer was weighed against a dictionary of our own: the published backbones ship `tokenizer.json`, so
    the embedded policy ships one too.
    """

    def __init__(self, library: LibraryTokenizer):
        self.library = library

    @classmethod
    def of(cls, words: list[str]) -> Self:
        """Ids: `words` in order, then SPECIALS, so that words < specials < mask."""
        vocabulary = {word: index for index, word in enumerate([*words, *SPECIALS])}
        library = LibraryTokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
        library.normalizer, library.pre_tokenizer = Lowercase(), Whitespace()
        return cls(library)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads `tokenizer.json`; the library raises an untyped error for one that is damaged."""
        return cls(LibraryTokenizer.from_file(str(folder / FILE)))

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every word and special string."""
        return self.library.get_vocab()

    def plain(self, text: str) -> str:
        """Control characters become spaces. Special strings need no care: words end at their brackets."""
        return _unicode(re.sub(r"[\x00-\x1f\x7f]+", " ", text))

    def encode(self, text: str) -> list[int]:
        return self.library.encode(text, add_special_tokens=False).ids

    def save(self, folder: Path) -> None:
        self.library.save(str(folder / FILE))


class PublishedTokenizer(Tokenizer):
    """The tokenizer that ships with published weights, read by transformers and written again byte for byte (newer
    versions of transformers would write files that the authors' own code cannot read)."""

    def __init__(self, folder: Path):
        """Raises UserError where `folder` holds no tokenizer, or one that would run code of its own."""
        self._files = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
        if FILE not in self._files or CONFIG not in self._files:
            missing = FILE if FILE not in self._files else CONFIG
            raise UserError(
                f"policy {str(folder)!r} has no {missing}: copy the tokenizer's files of the published model there"
            )
        if "auto_map" in read_json(folder / CONFIG):
            raise UserError(
                f'{str(folder / CONFIG)!r} asks for code of its own ("auto_map"): this program runs none; take the '
                "published tokenizer"
            )
        from transformers import AutoTokenizer, PretrainedConfig

        try:  # an empty configuration: the model's own is none of transformers' and only brings a warning
            self.library = AutoTokenizer.from_pretrained(
                str(folder), config=PretrainedConfig(), trust_remote_code=False, local_files_only=True
            )
            added = sorted(self.library.get_added_vocab(), key=len, reverse=True)
        except Exception as error:  # both libraries raise untyped errors for damaged files
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"the tokenizer in {str(folder)!r} cannot be read ({reason}): use an undamaged checkpoint"
            ) from error
        self._special = re.compile("|".join(map(re.escape, added)) or r"(?!)")

    def __len__(self) -> int:
        """Ids it may give, added ones included: those above are images'."""
        return len(self.library)

    def plain(self, text: str) -> str:
        """A space after the first character of every special string, so that it is none. Everything else is as it is:
        upstream tokenises the raw prompt."""
        return self._special.sub(lambda match: f"{match[0][:1]} {match[0][1:]}", _unicode(text))

    def encode(self, text: str) -> list[int]:
        return self.library(text, add_special_tokens=False, verbose=False)["input_ids"]

    def save(self, folder: Path) -> None:
        for name, data in self._files.items():
            (folder / name).write_bytes(data)


def _unicode(text: str) -> str:
    """`text` without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
