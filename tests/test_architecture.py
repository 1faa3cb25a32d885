"""The code stands as docs/architecture.md says: rooms import what its table allows, all of that, and nothing else."""

import re

import pytest

from tests.house import COMMAND_PACKAGES, ROOT, below_commands, between_rooms, circles, floors, imports, modules, room

EDGES = imports(modules())


def allowed() -> dict[str, list[str]]:
    """The table: rooms from the ground up, each with those it may import."""
    table = (ROOT / "docs/architecture.md").read_text().partition("## Allowed directions")[2]
    rows = [re.findall(r"`([\w.]+)`", line) for line in table.splitlines() if line.startswith("| `")]
    return {first: rest for first, *rest in rows}


def test_no_module_imports_itself_by_way_of_others():
    assert circles(imports(modules(), types=True)) == [], "imports for types count too"


def test_every_room_has_a_row_and_every_row_a_room():
    assert set(allowed()) == {room(name) for name in EDGES if room(name) != "htgrpo"}


def test_rooms_import_only_what_the_table_allows():
    table = allowed()
    found = [told for (a, b), told in between_rooms(EDGES).items() if b not in table[a]]
    assert found == [], "imports that docs/architecture.md does not allow"


def test_what_the_table_allows_is_used():
    used = set(between_rooms(EDGES))
    idle = [f"{a} -> {b}" for a, others in allowed().items() for b in others if (a, b) not in used]
    assert idle == [], "take them out of docs/architecture.md"


def test_the_table_goes_down_only():
    order = list(allowed())
    up = [f"{a} -> {b}" for a, others in allowed().items() for b in others if order.index(b) >= order.index(a)]
    assert up == []


def test_an_import_between_rooms_is_seen(tmp_path):
    climbs, other = tmp_path / "a.py", tmp_path / "b.py"
    climbs.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bench.run.loop\n"
        "def f():\n    from bench.judge import images\n"
    )
    other.write_text("import htgrpo.ht\n")
    found = imports({"htgrpo.ht": climbs, "bench.run.loop": other, "bench.judge.images": other})
    assert found["htgrpo.ht"] == {"bench.judge.images"} and circles(found) == ["bench.judge.images", "htgrpo.ht"]
    assert between_rooms(found)["htgrpo.ht", "bench.judge"] == ["htgrpo.ht -> bench.judge.images"]


@pytest.mark.parametrize("package, most", [("bench", 10), ("htgrpo", 12)])
def test_few_rooms(package, most):
    inside = [path for path in (ROOT / package).iterdir() if path.name[:2] not in ("__", ".D")]
    if package == "bench":
        inside = [path for path in inside if path.is_dir() and path.name not in COMMAND_PACKAGES]
    assert len(inside) <= most


@pytest.mark.parametrize("package", ["bench", "htgrpo"])
def test_few_floors(package):
    assert floors(below_commands(EDGES), package) <= 9
