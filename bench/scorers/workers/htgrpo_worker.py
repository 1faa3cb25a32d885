"""The worker's side of the protocol: a scorer in an environment of its own answers batches of pictures. Standard
library only.

A worker is one script beside this file, with its dependencies in its head (PEP 723). It may be written without this
file, in any language: it prints lines, each MARK and a JSON object. Whatever else reaches its standard output is a
library's chatter.

    worker prints, once ready   {"hello": {"protocol": 1, "name", "version", "weights_revision", "device", "dtype"}}
                    or at once  {"refused": "one sentence: what is missing and which command brings it"}
    worker reads                {"batch": 3, "items": [{"id": "0", "path": "/tmp/a.png", "prompt": "a cat"}, ...]}
    worker prints, for an item  {"batch": 3, "id": "0", "score": 1.5, "evidence": {...}}
                            or  {"batch": 3, "id": "0", "error": "one sentence"}
             and after the last {"batch": 3, "done": true}

It ends when its standard input ends, whatever it is doing: so it outlives nobody.
"""

import argparse
import json
import math
import os
import queue
import sys
import threading

MARK = "@htgrpo "
PROTOCOL = 1


class Refused(Exception):
    """The scorer cannot be had here; the message is one sentence for the user."""


def main(load, **options):
    """Serves one scorer until standard input ends.

    load: takes the parsed arguments (weights, device, dtype and the names in `options` with their defaults) and returns
    (identity dict with "name", "version", "weights_revision", "dtype"; function from PIL images and prompts to (score,
    evidence) pairs in order). The function may raise: the pictures of that batch are then tried one by one.
    """
    parser = argparse.ArgumentParser(description="A scorer's worker; started by HT-GRPO Bench, see htgrpo_worker.py.")
    for name, default in dict({"weights": "", "device": "cpu", "dtype": ""}, **options).items():
        parser.add_argument("--" + name.replace("_", "-"), default=default)
    arguments = parser.parse_args()
    tell = _claim_output()
    batches = _watch_input()
    try:
        identity, score = load(arguments)
    except Refused as error:
        tell({"refused": str(error)})
        return
    tell({"hello": dict(identity, protocol=PROTOCOL, device=arguments.device)})
    while True:
        batch = batches.get()
        for answer in _answers(batch["items"], score):
            tell(dict(answer, batch=batch["batch"]))
        tell({"batch": batch["batch"], "done": True})


def _claim_output():
    """Keeps standard output for the protocol: what libraries print goes to standard error from here on."""
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message):
        stream.write(MARK + json.dumps(message) + "\n")
        stream.flush()

    return tell


def _watch_input():
    """The queue of batches; a thread fills it, so that the end of the input ends the process even in the midst of a
    batch."""
    batches = queue.Queue()

    def read():
        for line in sys.stdin:
            batches.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return batches


def _answers(items, score):
    """Yields one answer per item: a picture that cannot be read or scored fails alone."""
    from PIL import Image

    pictures, good = {}, []  # a file named by several items is decoded once and stays one object
    for item in items:
        path = item["path"]
        if path not in pictures:
            try:
                with Image.open(path) as picture:
                    picture.load()
                pictures[path] = picture
            except Exception as error:  # a damaged file raises whatever its decoder meets
                pictures[path] = f"the picture cannot be decoded ({error or type(error).__name__})"
        if isinstance(pictures[path], str):
            yield {"id": item["id"], "error": pictures[path]}
        else:
            good.append((item, pictures[path]))
    yield from _scored(good, score)


def _scored(good, score):
    if not good:
        return
    try:
        results = list(score([picture for _, picture in good], [item["prompt"] for item, _ in good]))
    except Exception as error:
        _let_go()
        if len(good) == 1:
            yield {"id": good[0][0]["id"], "error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
            return
        results = None
    if results is None:
        for one in good:
            yield from _scored([one], score)
        return
    for (item, _), (value, evidence) in zip(good, results):
        if math.isfinite(value):
            yield {"id": item["id"], "score": float(value), "evidence": evidence}
        else:
            yield {"id": item["id"], "error": f"the model's score is {value}, which is not a number"}


def _let_go():
    """Gives memory back after a batch that was too large."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
