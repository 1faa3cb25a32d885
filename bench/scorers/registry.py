"""The registered scorers, one line each under [project.entry-points."htgrpo.scorers"] of an installed package."""

from htgrpo.base.registry import Registry

SCORERS = Registry("scorer", "htgrpo.scorers")
