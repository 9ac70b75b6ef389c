"""The environment that a job runs in: interpreter, working folder, and those variables that may leave this process.

The variables are kept in the store of jobs and shown by name, so that only those of an allow-list are recorded, with
those that the user names. A name that looks like that of a secret is refused in either case.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from fnmatch import translate
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidRequest, Message
from ..wire import variables

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobEnvironmentBody

#: Names and patterns of the variables that a job has from where it was submitted.
ALLOWED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LD_LIBRARY_PATH",
    "LANG", "LANGUAGE", "LC_*", "TZ",
    "VIRTUAL_ENV", "CONDA_*", "MAMBA_*", "PYTHON*",
    "OMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "NUMEXPR_*", "NUMBA_*",
    "XDG_*_HOME", "HF_HOME", "TORCH_HOME", "MPLCONFIGDIR", "MPLBACKEND",
    "JUPYTER_*_DIR", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_PLATFORM_DIRS", "IPYTHONDIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "FASTGPU_SOCKET", "FASTGPU_LANGUAGE",
)  # fmt: skip
#: What an interactive session has and a job does not.
NEVER = ("PYTHONSTARTUP", "PYTHONINSPECT")
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|APIKEY|PRIVATE"
    r"|(?:^|_)(?:KEYS?|PWD|PASS|AUTH|COOKIES?|DSN|SIGNATURE)(?:_|$)|KEY$",
    re.IGNORECASE,
)
#: The value of ``MPLBACKEND`` in a kernel, which draws into the notebook; a job's own kernel sets it again.
_BACKEND_OF_KERNEL = "module://"
#: An address with a password in it: ``https://user:secret@host``.
_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def recorded(
    environ: Mapping[str, str] = os.environ, extra: Iterable[str] = (), folder: Path | None = None
) -> JobEnvironmentBody:
    """Return the environment for a job that is submitted from here.

    ``extra``: names, or patterns such as ``MY_*``, of variables that the user wants the job to have; those that look
    like secrets are left out (:func:`refused_names`). ``folder``: the working folder, by default that of this process.
    Of the lease of a kernel that submits, only its id is recorded, among those of the ancestors: a job that waits for
    that very GPU can then say so.
    """
    names, kept = tuple(extra), variables.without_lease(environ)
    found = {name: value for name, value in kept.items() if _may_leave(name, names) and not _has_password(value)}
    if found.get("MPLBACKEND", "").startswith(_BACKEND_OF_KERNEL):
        del found["MPLBACKEND"]
    if ancestors := environ.get(variables.ANCESTOR_LEASES):
        found[variables.ANCESTOR_LEASES] = ancestors
    return {"interpreter": sys.executable, "cwd": str(folder or Path.cwd()), "variables": found}


def refused_names(environ: Mapping[str, str], extra: Iterable[str]) -> list[str]:
    """Return the variables that the user asked for, by name or pattern, and that look like secrets."""
    extra = tuple(extra)
    if not extra:
        return []
    asked = _pattern(extra)
    return sorted(name for name, value in environ.items() if asked.match(name) and is_secret(name, value))


def require_no_secrets(environ: Mapping[str, str], extra: Iterable[str]) -> None:
    """Raise :class:`InvalidRequest` where the user asked for variables that look like secrets."""
    if secrets := refused_names(environ, extra):
        raise InvalidRequest(Message.of("job_cell.secret", names=tuple(secrets)))


def looks_secret(name: str) -> bool:
    """Return whether the name of a variable is like that of a secret: ``API_KEY``, ``HF_TOKEN``, ``DB_PASSWORD``."""
    return _SECRET.search(name) is not None


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable is to be taken for a secret, by its name or by a password in its value."""
    return looks_secret(name) or _has_password(value)


@lru_cache(maxsize=4096)
def _may_leave(name: str, extra: tuple[str, ...]) -> bool:
    return name not in NEVER and not looks_secret(name) and _pattern((*ALLOWED, *extra)).match(name) is not None


def _has_password(value: str) -> bool:
    return "://" in value and _PASSWORD.search(value) is not None


@cache
def _pattern(names: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, names)))
