"""Writes a trained policy as one plain checkpoint in the published layout."""

from bench.ask import kinds
from bench.ask.arguments import BACKBONE
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from htgrpo.base.folders import check_place, check_replaceable
from htgrpo.base.values import OneOf
from htgrpo.policies.model_files import ADAPTER, EMBEDDED, open_model

MADE_BY = "python -m bench.export"
DTYPES = ("float32", "bfloat16", "float64")
DESCRIPTION = """\
Writes a trained policy as one plain checkpoint in the published layout, which this program and upstream code load.

Adapters (tuning=lora) are added to the weights they were trained on. A checkpoint of all weights is copied without the
trainer's state. Weights of the embedded world keep that world's format.
"""
EXAMPLES = (
    ("runs/NAME/train/ht/seed0/checkpoints/step_000040 --out exported", ""),
    ("CHECKPOINT --out exported --dtype float32", ""),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("export", DESCRIPTION, EXAMPLES)
    p.flag("checkpoint CHECKPOINT", kinds.place, "folder of a checkpoint, as training writes it")
    p.flag("--out", kinds.NewFolder(), "the new folder", OUTPUT, required=True)
    p.flag(
        "--dtype DTYPE",
        OneOf(DTYPES, "dtype"),
        "of the weights (default: as those that training started from; in bfloat16 a "
        "small change by adapters is partly rounded away, and this command says how much of it)",
        OUTPUT,
    )
    p.flag("--backbone NAME", BACKBONE, "where the folder does not say it: mmada or lumina-dimoo")
    p.switch("--overwrite", "replace OUT where this command made it", OUTPUT)
    return p


def main(argv: list[str] | None = None) -> int:
    """Writes the folder."""
    args = parser().parse_args(argv)
    check_place(args.out)
    check_replaceable(args.out, MADE_BY, args.overwrite)
    model = open_model(args.checkpoint)
    from htgrpo.policies import lora
    from htgrpo.policies.storage import load_policy, save_policy

    dtype = args.dtype or stored_dtype(model)
    policy = load_policy(args.checkpoint, backbone=args.backbone, dtype=dtype)
    adapters = sum(1 for _ in lora.adapted(policy.net))
    lost = lora.merge(policy.net)
    save_policy(policy, args.out, MADE_BY, args.overwrite)
    merged = f", {adapters} adapters merged, of whose change rounding lost {100 * lost:.2g} %" if adapters else ""
    print(f"policy written to {args.out} ({dtype}{merged})")
    return 0


def stored_dtype(model) -> str:
    """What the weights of a ModelFolder are stored in, or those below its adapter, as their configuration says."""
    if model.kind == ADAPTER:
        return stored_dtype(open_model(model.base["source"], model.base["revision"] or None))
    if model.kind == EMBEDDED:
        return "float32"
    named = model.config.get("torch_dtype", model.config.get("dtype"))
    return named if named in DTYPES else "bfloat16"


if __name__ == "__main__":
    run_main(main)
