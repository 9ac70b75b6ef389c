"""The process environment of a kernel: the variables of its grant, or those with which it sees no device.

Libraries read the variables once. Those that read them too early, or cannot change a memory limit, are named in notes
for the user.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING

from ..wire.variables import ANCESTOR_LEASES, REPLACED, replaced

if TYPE_CHECKING:
    from .memory_caps import MemoryCaps

#: Variable of a grant with a memory limit that the frameworks enforce.
CAP = "FASTGPU_CAP_BYTES"
#: Variable of a grant of a part of a GPU.
MEMORY = "FASTGPU_MEMORY_BYTES"


class GrantEnvironment:
    """What ``environ`` contains of the grant now, and what it must contain before the next cell.

    ``granted`` are the variables of the grant with which the process was started; a program between, such as a shell
    that activates an environment, may have changed them. With ``hidden`` the process sees no device.
    """

    def __init__(
        self, environ: MutableMapping[str, str], granted: Mapping[str, str], hidden: Mapping[str, str]
    ) -> None:
        self.environ = environ
        #: Variables with which this process sees no device.
        self.hidden = dict(hidden)
        #: Memory limit (None for a whole GPU) that was applied last, and the libraries that need a restart for it.
        self.applied_caps: tuple[str | None, tuple[str, ...]] | None = None
        #: Created with the first memory limit.
        self.memory_caps: MemoryCaps | None = None
        #: Leases of the kernels that this kernel descends from, outermost first.
        self.ancestors = tuple(environ.get(ANCESTOR_LEASES, "").split())
        self._applied = {name: environ[name] for name in granted if name in environ}
        self._target = dict(granted)

    @property
    def is_outdated(self) -> bool:
        """Whether the environment is not what it must be before the next cell."""
        return self._applied != self._target

    @property
    def has_cap(self) -> bool:
        """Whether the environment has a memory limit for libraries."""
        return CAP in self.environ

    def set_target(self, variables: Mapping[str, str]) -> bool:
        """Have ``variables`` before the next cell; return whether that is a change."""
        # The same grant again changes nothing: the user may have set the variables since.
        changed = variables != self._target
        if changed:
            self._target = dict(variables)
        return changed

    def apply(self, lease_id: str | None) -> list[str]:
        """Bring the environment up to date, and return the notes for the user."""
        notes = []
        if self._applied != self._target:
            appears = self._device_appears()
            for name in self._applied:
                if name not in self._target:
                    self.environ.pop(name, None)
            self.environ[REPLACED] = replaced(self.environ, self._target)
            self.environ.update(self._target)
            self._applied = dict(self._target)
            if appears:
                notes = _notes_on_blind_libraries()
        if self.memory_caps is None and self.has_cap:
            from .memory_caps import MemoryCaps  # late, like everything that a start does not need

            self.memory_caps = MemoryCaps()
        if self.memory_caps is not None:
            note = self.memory_caps.apply(self.environ, has_lease=lease_id is not None)
            self.applied_caps = self.environ.get(MEMORY), self.memory_caps.needs_restart
            notes += [note] if note else []
        return notes

    def _device_appears(self) -> bool:
        """Return whether this process sees no device, and will with the target; a simulated one is never seen."""
        hidden = self.hidden.items()
        return all(self.environ.get(name) == value for name, value in hidden) and any(
            self._target.get(name, value) != value for name, value in hidden
        )


def _notes_on_blind_libraries() -> list[str]:
    from .late_devices import blind_libraries  # late, like the sentences
    from .sentences import does_not_see_the_gpu

    names = blind_libraries(sys.modules)
    return [does_not_see_the_gpu(names)] if names else []
