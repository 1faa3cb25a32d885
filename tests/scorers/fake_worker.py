# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""A worker without a model, whose faults are chosen by --mode (at the start) and by the prompt (for a picture)."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "scorers" / "workers"))
from htgrpo_worker import MARK, Refused, main  # noqa: E402


def load(arguments):
    mode = arguments.mode
    if mode == "refuse":
        raise Refused("weights not found: run `hf download nobody/nothing`")
    if mode == "slow":
        time.sleep(0.4)
    if mode == "dies":
        sys.exit("no such module: a_library")
    print("a library greets on standard output")
    os.write(1, b"and another one, unfinished")
    if arguments.pids:
        child = os.fork() if mode == "with child" else 0
        if mode == "with child" and child == 0:
            signal.pause()
        Path(arguments.pids).write_text(f"{os.getpid()} {child}")
    name = "other" if mode == "other name" else "fake"
    return {"name": name, "version": "1", "weights_revision": "none", "dtype": "float32"}, score


def score(images, prompts):
    if len(images) > 1 and "large batch" in prompts:
        raise MemoryError("a batch of 2 or more does not fit")
    results = []
    for image, prompt in zip(images, prompts):
        if prompt == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if prompt == "exit 137":
            os._exit(137)
        if prompt == "hang":
            time.sleep(1000)
        if prompt == "memory":
            raise MemoryError("7 TiB asked for")
        if prompt == "kill once":
            marker = Path(os.environ["FAKE_MARKER"])
            if not marker.exists():
                marker.touch()
                os._exit(3)
        print("scoring", prompt)
        value = float("nan") if prompt == "nan" else float(image.convert("L").resize((1, 1)).getpixel((0, 0)))
        results.append((value, {"prompt_length": len(prompt), "object": id(image)}))
    return results


if "--raw" in sys.argv:  # one that does not use our helper
    raw = sys.argv[sys.argv.index("--raw") + 1]
    if raw == "protocol":
        print(MARK + '{"hello": {"protocol": 2, "name": "fake"}}', flush=True)
    if raw == "glued":
        print("loading... " + MARK + '{"hello": {"protocol": 1, "name": "fake", "version": "1"}}', flush=True)
        for number, _ in enumerate(sys.stdin, 1):
            print(MARK + "{no json\n" + MARK + "[1]", flush=True)
            for item in (
                '"id": "0", "score": 1.5', '"id": "0", "score": 9', '"id": "77", "score": 3',
                '"id": "1", "score": "high"', '"done": true',
            ):  # fmt: skip
                print(MARK + "{" + f'"batch": {number}, {item}' + "}", flush=True)
    if raw == "deaf":  # says hello, then reads nothing
        print(MARK + '{"hello": {"protocol": 1, "name": "fake", "version": "1"}}', flush=True)
        time.sleep(1000)
else:
    main(load, mode="", pids="")
