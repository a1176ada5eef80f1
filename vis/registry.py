"""Classes chosen by name: a room's own rows, extended by the entry points of other distributions.

A row is ``"module:Class"``, so that nothing is imported before its name is asked for. A distribution adds a row by
an entry point, in its ``pyproject.toml``::

    [project.entry-points."vistubes.trackers"]
    mine = "my_package.my_tracker:MyTracker"

A room's own rows win over entry points of the same name. ``module:Class`` itself is a name as well. Knows no room.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vis.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Registry"]

Maker = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Registry:
    """The classes of one kind, by name."""

    kind: str
    """What messages call one of them: ``tracker``."""
    rows: Mapping[str, str] = field(repr=False)
    """The room's own: name -> "module:Class"."""
    group: str
    """Entry point group of the others: ``vistubes.trackers``."""
    protocol: type[Any]
    """What an instance must be, of ``vis.interfaces``."""

    def names(self) -> tuple[str, ...]:
        """The room's own names, then those of other distributions in alphabetical order. Imports none of them."""
        added, _ = _entry_points(self.group)
        return (*self.rows, *sorted({row.entry.name for row in added} - set(self.rows)))

    def create(
        self, name: str, settings: Mapping[str, Any], *, common: Mapping[str, Any] | None = None
    ) -> Any:
        """An instance of the class of that name.

        Args:
            name: one of :meth:`names`.
            settings: keyword arguments; each must be one that the class has.
            common: keyword arguments for whichever classes have them; None values are left out.

        Raises:
            UsageError: no such name or setting, or a setting that must be given is missing.
            DependencyError: another distribution's entry point cannot be used. What a class raises when it is
                made (a package or weights are missing) passes through.
        """
        maker, origin = self._find(name)
        known, takes_any = _settings_of(maker)
        given = {key: value for key, value in (common or {}).items() if value is not None and key in known}
        given |= settings
        self._check(name, given, known, takes_any=takes_any)
        made = maker(**given)
        if not isinstance(made, self.protocol):
            what = f"gives a {type(made).__name__}, which is no vis.interfaces.{self.protocol.__name__}"
            raise DependencyError(f"{self.kind} {name!r}{origin} {what}")
        return made

    def find(self, name: str) -> Maker:
        """The class of that name, not made. Raises as :meth:`create` does for a name."""
        return self._find(name)[0]

    def _find(self, name: str) -> tuple[Maker, str]:
        """The class of that name, and where it comes from, for messages."""
        if name in self.rows:
            module, _, attribute = self.rows[name].partition(":")
            maker: Maker = getattr(import_module(module), attribute)
            return maker, ""
        if ":" in name:
            return self._imported(name), f" of {name}"
        added, unreadable = _entry_points(self.group)
        found = [row for row in added if row.entry.name == name]
        if not found:
            broken = f"; the entry points of {', '.join(unreadable)} cannot be read" if unreadable else ""
            raise UsageError(f"no {self.kind} named {name!r}; {_nearest(name, self.names())}{broken}")
        if len(found) > 1:
            raise UsageError(
                f"{self.kind} {name!r} is added by several installed packages, "
                f"{' and '.join(row.owner for row in found)}; uninstall all of them but one"
            )
        (row,) = found
        origin = f" of the installed package {row.owner} (entry point {row.entry.value!r})"
        try:
            maker = row.entry.load()
        except Exception as error:  # whatever a stranger's module raises
            raise DependencyError(
                f"{self.kind} {name!r}{origin} cannot be loaded: {type(error).__name__}: {error}; update that "
                f"package, or remove it: pip uninstall {row.owner.split()[0]}"
            ) from error
        if not callable(maker):
            raise DependencyError(f"{self.kind} {name!r}{origin} is no class but a {type(maker).__name__}")
        return maker, origin

    def _imported(self, name: str) -> Maker:
        """The class of ``module:Class``, of a module that Python finds: installed, or in the current folder."""
        module, _, attribute = name.partition(":")
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)  # after all others; it stays for what the module imports later
        try:
            maker: Any = import_module(module)
            for part in attribute.split("."):
                maker = getattr(maker, part)
        except Exception as error:  # whatever a stranger's module raises
            raise DependencyError(
                f"{self.kind} {name!r} cannot be loaded: {type(error).__name__}: {error}; give module:Class, of a "
                f"module that Python finds (here: {here}, or an installed one)"
            ) from error
        if not callable(maker):
            raise DependencyError(f"{self.kind} {name!r} is no class but a {type(maker).__name__}")
        found: Maker = maker
        return found

    def _check(
        self,
        name: str,
        given: Mapping[str, Any],
        known: Mapping[str, inspect.Parameter],
        *,
        takes_any: bool,
    ) -> None:
        unknown = [] if takes_any else sorted(set(given) - set(known))
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            problem = f"has no setting {', '.join(unknown)}{hint}"
        elif missing := sorted(k for k, p in known.items() if p.default is p.empty and k not in given):
            problem = f"needs {', '.join(missing)}"
        else:
            return
        raise UsageError(f"{self.kind} {name!r} {problem}; its settings are {', '.join(known) or 'none'}")


def _nearest(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}choose one of {', '.join(names)}"


def _settings_of(maker: Maker) -> tuple[dict[str, inspect.Parameter], bool]:
    """Keyword arguments of a class or function, and whether it takes any others.

    Where a class has ``**settings`` they go to the class above, so that one's count too.
    """
    known: dict[str, inspect.Parameter] = {}
    takes_any = False
    for function in _signed(maker):
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                known.setdefault(parameter.name, parameter)
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        if not takes_any:
            break
    return known, takes_any


def _signed(maker: Maker) -> list[Maker]:
    """What takes the arguments of a call: the function itself, or the ``__init__`` of a class and of those above."""
    if not isinstance(maker, type):
        return [maker]
    classes = [cls for cls in maker.__mro__ if "__init__" in vars(cls) and cls is not object]
    return [partial(vars(cls)["__init__"], None) for cls in classes if not vars(cls).get("_is_protocol")]


class _Added(NamedTuple):
    entry: EntryPoint
    owner: str
    """Name and version of the distribution."""


def _entry_points(group: str) -> tuple[list[_Added], list[str]]:
    """The group's entry points in all distributions, and the names of those whose entry points are broken."""
    from importlib import metadata  # takes a while, and most names are a room's own

    added, unreadable = [], []
    seen = set()
    for dist in metadata.distributions():
        try:
            entries = [entry for entry in dist.entry_points if entry.group == group]
        except (
            Exception
        ):  # a line without "=", bytes that are no text: somebody else's fault, and no reason to fail
            unreadable.append(str(dist.metadata["Name"]))
            continue
        # A distribution that lies twice on the path is the first one.
        if entries and (owner := dist.metadata["Name"]) not in seen:
            seen.add(owner)
            added += [_Added(entry, f"{owner} {dist.version}") for entry in entries]
    return added, unreadable
