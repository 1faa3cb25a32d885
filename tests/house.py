"""The house in figures: `python -m tests.house`. Who imports whom is read from the code, as text."""

import ast
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("htgrpo", "baselines", "bench", "reports")
HABITS = ("LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "htgrpo/py.typed", ".pre-commit-config.yaml")
COMMAND_PACKAGES = ("campaign",)
"""Commands that are packages: no rooms, and above all rooms."""
Edges = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the project by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imports(where: dict[str, Path], types: bool = False) -> Edges:
    """The modules of the project that each module imports, at its top or within functions; types: for its annotations
    too."""
    return {
        name: {one for one in _named(ast.parse(path.read_text()), types) if one in where} - {name}
        for name, path in where.items()
    }


def _named(tree: ast.AST, types: bool) -> set[str]:
    """Every dotted name that an import may mean."""
    if not types and isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.dump(tree.test):
        return set()
    found = set().union(*(_named(child, types) for child in ast.iter_child_nodes(tree)))
    if isinstance(tree, ast.Import):
        found |= {alias.name for alias in tree.names}
    elif isinstance(tree, ast.ImportFrom) and tree.module:
        found |= {tree.module, *(f"{tree.module}.{alias.name}" for alias in tree.names)}
    return found - set(PACKAGES)


def circles(edges: Edges) -> list[str]:
    """Modules that import themselves by way of others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            if (one := todo.pop()) not in seen:
                seen.add(one)
                todo += edges[one]
        return seen

    return sorted(name for name in edges if name in reached(name))


def room(name: str) -> str:
    """The room of a module: `bench.run`, or `bench` for a command; a file at the top of htgrpo is a room of its own."""
    package, *rest = name.split(".")
    if package in ("baselines", "reports") or not rest:
        return package
    inside = len(rest) > 1 or (ROOT / package / rest[0]).is_dir()
    return f"{package}.{rest[0]}" if inside or package == "htgrpo" else package


def between_rooms(edges: Edges) -> dict[tuple[str, str], list[str]]:
    """(importing room, imported room) -> "module -> module"."""
    found = defaultdict(list)
    for name, others in edges.items():
        for other in others:
            if room(name) != room(other):
                found[room(name), room(other)].append(f"{name} -> {other}")
    return dict(found)


def below_commands(edges: Edges) -> Edges:
    """What is imported without the commands that are packages."""
    above = {f"bench.{name}" for name in COMMAND_PACKAGES}
    return {name: others for name, others in edges.items() if room(name) not in above}


def floors(edges: Edges, package: str) -> int:
    """How many rooms of a package stand above one another; 1 is the lowest floor. Raises ValueError for rooms that import
    each other in a circle."""
    below: Edges = defaultdict(set)
    for name, other in between_rooms(edges):
        if name.split(".")[0] == other.split(".")[0] == package:
            below[name].add(other)
    left, floor = {*below, *(one for others in below.values() for one in others)}, 0
    while left:
        lowest = {name for name in left if not below[name] & left}
        if not lowest:
            raise ValueError(f"rooms on a circle: {', '.join(sorted(left))}")
        left, floor = left - lowest, floor + 1
    return floor


def handed(annotation: str) -> tuple[int, int]:
    """(functions, files) with a parameter of that type: how far such a record is handed around."""
    files: Counter[Path] = Counter()
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs]
                files[path] += any(a.annotation and annotation in ast.unparse(a.annotation).split() for a in arguments)
    return files.total(), len(+files)


def lines(folder: str) -> int:
    """Lines of Python under a folder."""
    return sum(len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py"))


def main() -> None:
    """Prints the counts."""
    where = modules()
    edges = imports(where)
    bench = {name.split(".")[1] for name in where if name.startswith("bench.") and not name.endswith("__main__")}
    commands = subprocess.run(
        ["git", "ls-files", "bench/*.py"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    loose = [path for path in commands if path.count("/") == 1 and "__" not in path]
    top = [path for path in (ROOT / "htgrpo").iterdir() if path.name[:2] not in ("__", ".D")]
    count, rooms = len(loose) + len(COMMAND_PACKAGES), len(bench) - len(loose) - len(COMMAND_PACKAGES)
    print(f"bench/: {count} commands, {rooms} rooms, {floors(below_commands(edges), 'bench')} floors")
    print(f"htgrpo/: {len(top)} entries, {floors(edges, 'htgrpo')} floors")
    print(f"modules on import circles: {len(circles(imports(where, types=True)))}, types counted")
    for annotation in ("Request", "Job"):
        print("{}: a parameter of {} functions in {} files".format(annotation, *handed(annotation)))
    print(f"README: {len((ROOT / 'README.md').read_text().splitlines())} lines")
    print(f"missing: {[name for name in HABITS if not (ROOT / name).exists()] or 'nothing'}")
    sizes = sorted(((len(path.read_text().splitlines()), name) for name, path in where.items()), reverse=True)
    print(
        f"median file: {sizes[len(sizes) // 2][0]} lines; largest: {', '.join(f'{name} {n}' for n, name in sizes[:5])}"
    )
    print(", ".join(f"{folder}/ {lines(folder):,}" for folder in (*PACKAGES, "tests")), "lines")


if __name__ == "__main__":
    main()
