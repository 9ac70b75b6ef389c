"""Processes without a lease that are shown and never ended: those of root and of services, and named programs.

Root and service accounts run the display, the driver's daemons and what monitors the GPUs, all of which may have memory
there. A user's session runs some of these programs as the user; they are known by their executable, which must be
root's, because any process may call itself what it likes.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from pathlib import Path

from ...core.model.entities import Holder

#: Display servers, display managers and compositors. Those of a driver are registered by it.
DISPLAYS = (
    *("Xorg", "Xwayland", "X", "gdm", "gdm3", "sddm", "sddm-greeter", "lightdm", "greetd", "plymouthd", "mutter"),
    *("gnome-shell", "gnome-remote-desktop-daemon", "kwin_x11", "kwin_wayland", "plasmashell", "weston", "sway"),
)
#: The first number of a user who is no service account, unless the system says another.
FIRST_USER_UID = 1000
#: Numbers that systemd gives to services with ``DynamicUser=``.
DYNAMIC_UIDS = range(61184, 65520)
LOGIN_DEFS = Path("/etc/login.defs")


class Exemptions:
    """What is never ended: ``entries`` are names of programs, and users as ``uid:N``."""

    def __init__(self, entries: Iterable[str] = DISPLAYS) -> None:
        self._entries = frozenset(entries)
        self._first_user_uid = first_user_uid(LOGIN_DEFS)

    def spare(self, holder: Holder) -> bool:
        """Return whether a process must not be ended, also if it cannot be found out what it is."""
        uid = holder.uid
        if uid < self._first_user_uid or uid in DYNAMIC_UIDS or f"uid:{uid}" in self._entries:
            return True
        try:
            executable = Path(f"/proc/{holder.pid}/exe")
            if executable.readlink().name not in self._entries:
                return False
            status = executable.stat()  # of the file itself, in whatever mount namespace it is
        except FileNotFoundError:
            return False  # it has ended
        except OSError:
            return True
        return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def first_user_uid(path: Path) -> int:
    """Return the number from which on the system numbers people, not services."""
    try:
        found = re.search(r"^\s*UID_MIN\s+(\d+)", path.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) if found else FIRST_USER_UID
