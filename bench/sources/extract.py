"""How an asset's file comes out of its upstream files: as it is, packed from an archive of texts, or as strings found
in source code.

Nothing that was downloaded is run or unpacked to disk. What comes out is checked against the asset's digest by the
caller.
"""

import ast
import fnmatch
import hashlib
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.sources.assets import Asset
from htgrpo.base.errors import UserError

MOST_BYTES = 1 << 20
"""Of one text in an archive, so that a hostile archive cannot fill the memory."""


def make(asset: Asset, downloaded: dict[str, Path], target: Path) -> None:
    """Writes the asset's file to `target`. downloaded: the file of each source. Raises UserError where upstream's files
    do not hold what the recipe names."""
    if asset.make == "copy":
        (source,) = downloaded.values()
        os.replace(source, target)  # it may be large
    elif asset.make == "texts":
        (source,) = downloaded.values()
        target.write_text(pack_texts(source, asset.recipe["member"]), encoding="utf-8")
    elif asset.make == "strings":
        code = {name: _code(path, asset.sources[name].member) for name, path in downloaded.items()}
        target.write_text(find_strings(code, asset.recipe["strings"]), encoding="utf-8")
    else:
        raise ValueError(f"unknown way to make an asset: {asset.make!r}")


def pack_texts(archive: Path, pattern: str) -> str:
    """The texts of a .tar.gz archive as JSON lines {"id": file name without its ending, "prompt": the text untouched},
    in byte order of file names. pattern: of the members' paths below the archive's one top folder."""
    texts: dict[str, str] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                inside = member.name.partition("/")[2]
                if not member.isfile() or not fnmatch.fnmatchcase(inside, pattern):
                    continue
                if member.size > MOST_BYTES:
                    raise UserError(
                        f"{inside} in the downloaded archive has {member.size} bytes: it is not the published one"
                    )
                if (stream := tar.extractfile(member)) is not None:  # there is one for every file
                    texts[inside.rpartition("/")[2]] = stream.read().decode("utf-8")
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"the downloaded archive cannot be read ({error}): run the same command again") from error
    lines = [{"id": name.rpartition(".")[0], "prompt": texts[name]} for name in sorted(texts, key=os.fsencode)]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def find_strings(code: dict[str, str], recipe: dict[str, Any]) -> str:
    """JSON of strings out of Python source. code: source text by name. A recipe's leaf {"from", "sha256", "replace"}
    stands for the string of that source whose sha256 starts so, with one text replaced by another; "join", "list" and
    "map" put leaves together."""
    known = {
        name: {hashlib.sha256(text.encode()).hexdigest(): text for text in strings_of(source)}
        for name, source in code.items()
    }

    def build(node: Any) -> Any:
        if isinstance(node, str):
            return node
        if "join" in node:
            return "".join(build(part) for part in node["join"])
        if "list" in node:
            return [build(part) for part in node["list"]]
        if "map" in node:
            return {key: build(part) for key, part in node["map"].items()}
        for digest, text in known[node["from"]].items():
            if digest.startswith(node["sha256"]):
                return text.replace(*node["replace"]) if "replace" in node else text
        raise UserError(
            f"the string {node['sha256']} is not in the upstream file of {node['from']!r}: it is not the pinned version"
        )

    return json.dumps({key: build(node) for key, node in recipe.items()}, indent=1, ensure_ascii=False)


def strings_of(source: str) -> Iterator[str]:
    """All string literals of a Python source; in an f-string every replacement stands as {its expression}."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else ast.literal_eval(part)
                for part in node.values
            )


def _code(path: Path, member: str) -> str:
    if not member:
        return path.read_text("utf-8")
    with zipfile.ZipFile(path) as archive:
        return archive.read(member).decode("utf-8")
