"""Makes a policy with random weights in a published backbone's layout."""

from bench.ask import kinds
from bench.ask.arguments import check_heads
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from htgrpo.base.folders import check_place
from htgrpo.base.values import SEED, OneOf, Resolution, Whole
from htgrpo.policies.published_config import NAMES, SIZES, TINY_RESOLUTION

DESCRIPTION = """\
Makes a policy folder in a published backbone's exact layout, with random weights: to try everything before 16 GB are
downloaded.

Token ids, vocabulary, codebook and file layout are the published ones; --tiny shrinks only the network's and the
codec's widths. The folder passes the very checks that real weights pass, and says of itself that its weights are
random.
"""
EXAMPLES = (
    ("--backbone mmada --tiny --out runs/tiny-mmada", "4 MB, in seconds"),
    ("--backbone lumina-dimoo --tiny --resolution 64x96 --out runs/tiny-lumina", ""),
    ("--backbone mmada --out runs/random-mmada", "the published sizes: 16 GB"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("make_checkpoint", DESCRIPTION, EXAMPLES)
    p.flag("--backbone NAME", OneOf(NAMES, "backbone"), f"one of {', '.join(NAMES)}", required=True)
    p.flag("--out", kinds.NewFolder(), "the folder to make", OUTPUT, required=True)
    p.switch("--tiny", "a few megabytes instead of the published sizes")
    p.flag(
        "--resolution",
        Resolution(empty=False),
        f"its pictures' size, HEIGHTxWIDTH (default {TINY_RESOLUTION} with --tiny, else published)",
    )
    p.flag("--seed", Whole(0, SEED), "seed of all weights", default=0)
    p.switch("--overwrite", "replace OUT where this command made it", OUTPUT)
    for name, (tiny, published) in SIZES.items():
        p.flag(
            f"--{name.replace('_', '-')}",
            Whole(1, 10**6),
            f"of the network (default {tiny} with --tiny, or {published})",
        )
    return p


def main(argv: list[str] | None = None) -> int:
    """Makes the folder."""
    args = parser().parse_args(argv)
    given = {name: getattr(args, name) for name in SIZES}
    sizes = {name: SIZES[name][not args.tiny] if value is None else value for name, value in given.items()}
    check_heads(sizes["d_model"], sizes["n_heads"])
    check_place(args.out)
    from htgrpo.policies.random import make

    make(args.backbone, args.out, args.tiny, args.resolution, args.seed, sizes, args.overwrite)
    print(f"random weights of {args.backbone} written to {args.out}")
    return 0


if __name__ == "__main__":
    run_main(main)
