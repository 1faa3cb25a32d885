"""Folders of pictures with prompts, for the tests of what is judged under what."""

import json

from bench.given.layouts import read
from tests.bench.test_given import save


def made(folder, *names, size=(4, 4)):
    for name in names:
        save(folder / name, 0, size)
    return folder


def lines(folder, *prompts, name="p.txt"):
    (folder.parent / name).write_text("".join(line + "\n" for line in prompts), "utf-8")
    return folder.parent / name


def rows(folder, *records, name="p.jsonl"):
    return lines(folder, *map(json.dumps, records), name=name)


def paired(folder, prompts, layout="auto"):
    return [(p.file.relative_to(folder).as_posix(), p.text) for p in read(folder, layout, prompts, None).pictures]
