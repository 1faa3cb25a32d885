"""The registries. Ours and everybody else's entries come the same way: as entry points of an installed package.

An entry is one line of a pyproject.toml, e.g. under [project.entry-points."htgrpo.methods"]: `mine =
"my_package.mine:Mine"`. Nothing is imported before it is asked for by name.
"""

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from htgrpo.base.errors import UserError, suggest


class Registry:
    """Names of one kind of thing (`noun`), found in the entry-point `group`."""

    def __init__(self, noun: str, group: str):
        self.noun, self.group = noun, group

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        entries: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            known = entries.setdefault(entry.name, entry)
            if known.value != entry.value:
                raise UserError(
                    f"two installed packages register the {self.noun} {entry.name!r} ({known.value} and {entry.value}): "
                    "uninstall or rename one"
                )
        return entries

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def check(self, name: str, where: str = "") -> str:
        """`name`, given in `where`, if it is registered; raises UserError with the nearest name otherwise. Imports
        nothing."""
        if name not in self._entries:
            raise suggest(name, self._entries, self.noun, where)
        return name

    def get(self, name: str) -> Any:
        """The registered object. Raises UserError for an unknown name or an entry that cannot be imported."""
        entry = self._entries[self.check(name)]
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the {self.noun} {name!r} is registered as {entry.value!r} but cannot be loaded ({error}): "
                "re-install the package that provides it"
            ) from error


METHODS = Registry("method", "htgrpo.methods")
BACKBONES = Registry("backbone", "htgrpo.backbones")
SAMPLERS = Registry("sampler", "htgrpo.samplers")
REWARDS = Registry("reward", "htgrpo.rewards")
REWARD_SOURCES = Registry("source of rewards", "htgrpo.reward_sources")
BENCHMARKS = Registry("benchmark", "htgrpo.benchmarks")
