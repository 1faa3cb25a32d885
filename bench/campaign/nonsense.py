"""What is certainly nonsense, by what a flag takes, and which flag of which command takes what.

The table is the campaign's own word on what each flag may accept, apart from the parsers it tries. A flag that is not
in it is a fault.
"""

LONG = "9" * 5000
BYTE = "\udcff"
"""A byte that is no UTF-8, as it arrives in sys.argv."""
NO_NUMBER = ("", " ", "²", "one", "nan", "1,5", "0x10", BYTE, "١٢x")
WHOLE0 = (*NO_NUMBER, "-1", "1.5", "inf", "1e999", LONG)
WHOLE = (*WHOLE0, "0")
NAME = ("", " ", "nope", "²", BYTE, "a" * 300, "../nope", "None", "[]")
FOLDER = ("", " ", "/nope/nope", "nope", BYTE, "a" * 300, "/dev/null", "/proc/self/mem")
NEW = ("", "/dev/null", "/dev/null/x", "/proc/x", "a" * 300, "FILE/x")
PAIR = (
    "", "=", "lr", "=1", "lr=", "lr=NaN", "lr=Infinity", "lr=-1", "lr=fast", f"lr={BYTE}", "nonsense=1", "ht.nope=1",
    "ht.alpha=NaN", "ht.alpha=2", "mask.min_rate=Infinity", "main.samples=0", "main.samples=1000000000", "main.steps=²",
    "main.nope=1", f"group_size={LONG}", "group_size=1.5", "seed=3", "..=1", "hht.alpha=0.5", "main.guidance=nan",
    "main.sampler=nope", "prompts_per_iteration=0", "steps=-3", "text.nope=1", 'lr={"a":1}', "lr=[1]", "lr=null",
    "lr=true", "clip=inf", "budget=nope:1",
)  # fmt: skip
KINDS: dict[str, tuple[str, ...]] = {
    "whole": WHOLE,
    "whole0": WHOLE0,
    "port": (*WHOLE0, "65536", "99999"),
    "rate": (*NO_NUMBER, "0", "-1", "inf", "-inf", "1e999", "1e308"),
    "share": (*NO_NUMBER, "-0.1", "2", "inf", "1e999"),
    "positive0": (*NO_NUMBER, "-1", "inf", "-inf", "1e999"),
    "name": NAME,
    "names": (*NAME, ",", "ht,nope", ",nope", "a" * 5000),
    "seeds": ("", "0", "-1", "²", "1,²", "a,b", "3000000000", LONG, "1,1.5", "nan", ",", BYTE, "0,-1"),
    "folder": FOLDER,
    "weights": (*FOLDER[:5], "no body/nothing", "/dev/null"),
    "checkpoint": (
        "", "=", "ht=", "ht=nowhere", "base=nowhere", "=nowhere", "ht=/dev/null", "ht=" + "a" * 300, f"ht={BYTE}",
        "²=nowhere",
    ),
    "file": (*FOLDER, "WORK"),
    "new": (*NEW, "FILE", "WORK"),
    "new or kept": (*NEW, "FILE"),
    "new file": ("", "/dev/null/x", "/proc/x", "a" * 300, "FILE/x", "FILE", "WORK"),
    "setting": PAIR,
    "picture setting": (
        "", "=", "lr=1", "ht.lr=1", "ht.alpha=0.5", "main.samples=0", "main.samples=²", "main.steps=-1", "main.nope=1",
        f"main.steps={LONG}", "main.guidance=nan", "nope.steps=1", "main.sampler=nope", "main", f"main.steps={BYTE}",
    ),
    "subset": (
        "", "embedded_geneval", ":4", "embedded_geneval:", "embedded_geneval:²", "embedded_geneval:0",
        "embedded_geneval:-1", "genval:4", "embedded_geneval:5000000", f"embedded_geneval:{LONG}",
        "embedded_geneval:1.5", BYTE,
    ),
    "budget": (
        "", "iterations", "iterations:", "iterations:0", "iterations:-5", "hours:3", "iterations:²", "iterations:1.5",
        "iterations:nan", f"iterations:{LONG}", "forwards:", ",", ":", "seconds:3", BYTE, "iterations:2,nope:1",
    ),
    "reward": (
        "", "object=1", "objects=lots", "objects=nan", "objects=inf", "nowhere:reward=1", "=1", "objects=", BYTE,
        "objects=1,nope=1", "os:nope=1", "objects.nope.nope=1",
    ),
    "resolution": ("", "0", "-512", "512x", "x512", "²", "512xx512", "99999999", "nan", "512x512x3", "1.5", BYTE),
    "url": (
        "", "hpsv3", "hpsv3=", "=http://x", "hpsv3=ftp://x", "hpsv3=http://", "hpsv3=http://x:99999",
        "hpsv3=http://x:²", f"hpsv3={BYTE}", "hpsv3=nope",
    ),
    "device": ("", " ", "gpu", "cuda:99", "cpu:²", "tpu", "²", BYTE, "cuda:-1"),
    "images": ("", "nope", "a=nope", "=nope", "base=nope", "a=/dev/null", BYTE, "a=" + "b" * 300, "²=nope"),
    "revision": ("", "nope", "²", BYTE),
    "claim": ("", "nope", "embedded_geneval/nope", "/", "²", BYTE),
    "host": ("", " ", "nope.invalid", "999.1.1.1", "²", BYTE, "0.0.0.0"),
    "token": ("²", "a b", "a\nb", BYTE),
    "free": (),
}  # fmt: skip
"""Nonsense by kind. FILE, WORK: a file and a folder of somebody else's."""
FLAGS = {
    "--methods": "names", "--seeds": "seeds", "--preset": "name", "--policy": "weights", "--backbone": "name",
    "--revision": "revision", "--resolution": "resolution", "--checkpoint": "checkpoint", "--budget": "budget",
    "--reward": "reward", "--train-prompts": "file", "--report-to": "name", "--set": "setting", "--benchmarks": "names",
    "--limit": "whole", "--subset": "subset", "--curve": "whole0", "--split": "name", "--claim": "claim",
    "--out": "new", "--device": "device", "--jobs": "whole0", "--scorer-url": "url", "--gpu": "name",
    "--method": "name", "--seed": "whole0", "--images": "images", "--layout": "name", "--prompts": "whole",
    "--grid": "whole", "--note": "free", "--table": "name", "--figure": "name", "--run": "folder", "--gate": "folder",
    "--baseline": "file", "--setting": "name", "--samples": "whole", "--size": "name", "--dedup": "names",
    "--threads": "whole", "--repeats": "whole", "--dtype": "name", "--tasks": "names", "--num-fewshot": "whole0",
    "--batch": "whole", "--head": "name", "--max-length": "whole", "--gen-length": "whole", "--block-length": "whole",
    "--steps": "whole", "--temperature": "positive0", "--remasking": "name", "--cfg-scale": "positive0",
    "--assets": "folder", "--host": "host", "--port": "port", "--token": "token", "--weights": "folder",
    "--max-body": "whole", "--max-items": "whole", "--max-pixels": "whole", "--lr": "rate", "--ema": "share", "--muon": "positive0",
    "--keep-every": "whole0", "--d-model": "whole", "--n-layers": "whole", "--n-heads": "whole",
    "--mlp-hidden-size": "whole", "--only": "name", "--cases": "whole0", "--minutes": "positive0", "--trials": "whole",
    "--copy": "file", "--margin": "share", "--hyperparameters": "name", "--world": "name", "--limit-seconds": "whole",
    "--upstream": "folder", "--products": "name", "--license": "free", "--variants": "names",
    "run": "folder", "runs": "folder", "folder": "folder", "checkpoint": "weights", "scorer": "name",
    "scorers": "name", "studies": "name",
    "names": "name", "parts": "name",
}  # fmt: skip
"""What flags, and words without one, take."""
OWN = {
    ("text", "--checkpoint"): "weights", ("score", "--prompts"): "file", ("generate", "--set"): "picture setting",
    ("score", "--set"): "picture setting", ("verify_scorer", "--images"): "folder", ("speed", "--out"): "new file",
    ("card", "--out"): "new file", ("regress", "--baseline"): "new file", ("regress", "--setting"): "free",
    ("regress", "--subset"): "free", ("tune", "--jobs"): "whole", ("campaign", "--jobs"): "whole",
    ("paper", "--out"): "new or kept", ("explain", "--out"): "new or kept",
}  # fmt: skip
"""Where a command's flag takes something else than the same flag elsewhere."""
COMMANDS: dict[str, list[str]] = {
    "compare": [
        "--methods", "ht", "--policy", "POLICY", "--budget", "iterations:1", "--limit", "6", "--benchmarks",
        "embedded_geneval", "--jobs", "0", "--out", "OUT", "--dry-run",
    ],
    "train": ["--method", "ht", "--policy", "POLICY", "--budget", "iterations:1", "--out", "OUT", "--dry-run"],
    "generate": ["--policy", "POLICY", "--benchmarks", "embedded_geneval", "--limit", "6", "--out", "OUT", "--dry-run"],
    "score": ["--policy", "POLICY", "--benchmarks", "embedded_geneval", "--limit", "6", "--out", "OUT", "--dry-run"],
    "ablate": ["A1", "--policy", "POLICY", "--budget", "iterations:1", "--limit", "6", "--out", "OUT", "--dry-run"],
    "paper": ["--table", "1"],
    "report": ["RUN"],
    "runs": ["RUN"],
    "check": ["RUN"],
    "regress": ["--update", "--baseline", "OUT", "--policy", "POLICY", "--prompts", "2"],
    "power": ["RUN"],
    "premise": ["--policy", "POLICY", "--steps", "2", "--prompts", "7", "--out", "OUT"],
    "explain": ["--methods", "ht", "--out", "OUT"],
    "tune": ["--policy", "POLICY", "--out", "OUT", "--dry-run"],
    "speed": ["--size", "embedded", "--methods", "ht", "--prompts", "1", "--repeats", "1"],
    "text": ["--policy", "POLICY", "--limit", "1"],
    "fetch": ["--list"],
    "doctor": ["--quick"],
    "verify_scorer": ["imagereward"],
    "serve": ["clip"],
    "export": ["TRAINED", "--out", "OUT"],
    "card": ["TRAINED", "--out", "OUT"],
    "pretrain": [
        "--steps", "1", "--batch", "2", "--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--out", "OUT",
    ],
    "make_checkpoint": ["--backbone", "mmada", "--tiny", "--out", "OUT"],
    "campaign": ["server", "--minutes", "0", "--out", "OUT"],
}  # fmt: skip
"""A right command line of every command, to which nonsense is added. POLICY, RUN, TRAINED: made before; OUT: a new
folder."""
LACKING = ("weights not found", "two trained methods have two training seeds in common")
"""What a right command line may be refused for here."""
REPLACED = {"report", "check", "power", "export", "card", "verify_scorer", "serve", "ablate"}
"""Commands whose first word is replaced by nonsense rather than followed by it."""
EXTRA = {
    ("score", "--layout"): ["--images", "WORK"], ("score", "--grid"): ["--images", "WORK"],
    ("score", "--prompts"): ["--images", "WORK"],
}  # fmt: skip
"""What a flag of a command needs beside it."""
