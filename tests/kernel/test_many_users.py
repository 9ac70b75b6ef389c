"""One pool for a whole machine: users of their own, with Jupyter's own kernels, share its GPUs."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.wire.client import PoolClient
from tests.helpers import PoolProcess
from tests.kernel.user import UserProcess
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can act as several users"),
]

ANN, BEN, CLEO = 65001, 65002, 65003
HAS = "import os; print(os.environ['FASTGPU_SIMULATED'])"


class Machine:
    """A pool of the system with two GPUs, and users."""

    def __init__(self, folder: Path, isolated: Path) -> None:
        self.folder = folder
        self.path = folder / "run" / "pool.sock"
        self.pool = PoolProcess(isolated, "2xA100-80GB")
        self.pool.client = PoolClient(self.path)
        self.users: dict[int, UserProcess] = {}

    def start(self) -> None:
        """Start the pool, or start it again."""
        state = f"--FastGPUPool.state_dir={self.folder / 'state'}"
        self.pool.start("--system", f"--socket={self.path}", state)

    def user(self, uid: int) -> UserProcess:
        """A user with a home of its own."""
        home = self.folder / str(uid)
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)
        kernels = self.folder / "kernels"
        shutil.copytree(Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels", kernels / "kernels", dirs_exist_ok=True)
        own = {"HOME": str(home), "FASTGPU_SOCKET": str(self.path), "JUPYTER_PATH": str(kernels)}
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            own[name] = str(home / name.lower())
        self.users[uid] = UserProcess(uid, home, own)
        return self.users[uid]

    def states(self) -> dict[tuple[str, str | None], str]:
        """By user and notebook: the state of each lease, as root sees it."""
        return {
            (view["tenant"]["name"], view["holder"]["notebook"]): view["state"] for view in self.pool.client.leases()
        }

    def wait_states(self, **wanted: str) -> None:
        """Until the notebooks have these states; a notebook is written ``ann_a`` for that of ann named a."""
        names = {"ann": f"uid-{ANN}", "ben": f"uid-{BEN}", "cleo": f"uid-{CLEO}"}
        of = {(names[key.split("_")[0]], key.split("_")[1]): state for key, state in wanted.items()}
        try:
            wait_until(lambda: of.items() <= self.states().items(), str(of))
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.states()}") from None


@pytest.fixture
def machine(isolated: Path, installed: None) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to others again and again
        folder = Path(name)
        folder.chmod(0o755)
        found = Machine(folder, isolated)
        found.start()
        yield found
        for user in found.users.values():
            user.close()
        found.pool.end()


def test_users_of_one_pool_share_gpus_and_see_nothing_of_each_other(machine: Machine) -> None:
    ann, ben, cleo = machine.user(ANN), machine.user(BEN), machine.user(CLEO)
    opened: dict[str, tuple[str, int]] = {}
    for name, user in (("a", ann), ("b", ann), ("c", ben), ("d", ben), ("e", cleo)):
        opened[name] = user("open", name)
    machine.wait_states(ann_a="active", ann_b="active", ben_c="waiting", ben_d="waiting", cleo_e="waiting")

    _sees_and_ends_only_its_own(machine, ann, ben, opened["a"][0])
    _leases_survive_a_killed_pool(machine, ann, ben, cleo)

    # A tenant without a lease goes before a tenant with one, whichever came first.
    ann("run", "a", "%fastgpu release")
    machine.wait_states(ben_c="active", ben_d="waiting", cleo_e="waiting")
    os.kill(opened["b"][1], signal.SIGKILL)
    machine.wait_states(ben_d="waiting", cleo_e="active")
    assert ben("run", "c", HAS) == "1"
    assert cleo("run", "e", HAS) == "1"

    ben("shut", "c")
    machine.wait_states(ben_d="active")
    _each_pays_for_its_own(machine, ann, ben)


def _sees_and_ends_only_its_own(machine: Machine, ann: UserProcess, ben: UserProcess, of_ann: str) -> None:
    assert {view["holder"]["notebook"] for view in ben("pool", "leases")} == {"c", "d"}
    with pytest.raises(RuntimeError, match="NotFound"):
        ben("pool", "release", of_ann)
    places = {entry["position"]: entry["lease_id"] for entry in ben("pool", "queue")}
    assert len(places) == 3
    assert sum(name is None for name in places.values()) == 1  # of another tenant
    assert ann("run", "a", HAS) == "1"
    assert machine.states()[f"uid-{ANN}", "a"] == "active"


def _leases_survive_a_killed_pool(machine: Machine, *users: UserProcess) -> None:
    before = machine.states()
    machine.pool.kill()
    assert users[0]("run", "a", HAS) == "1"  # cells run without a pool
    machine.start()
    assert machine.states() == before
    for user in users:
        assert all(view["holder"]["notebook"] for view in user("pool", "leases"))


def _each_pays_for_its_own(machine: Machine, ann: UserProcess, ben: UserProcess) -> None:
    month = time.strftime("%Y-%m", time.gmtime())
    every: dict[str, Any] = {one["tenant"]["name"]: one for one in machine.pool.client.statements(month)}
    assert {f"uid-{uid}" for uid in (ANN, BEN, CLEO)} == set(every)
    for uid, user in ((ANN, ann), (BEN, ben)):
        (own,) = user("pool", "statements", month)
        assert (own["tenant"]["key"], own["tenant"]["name"]) == (f"uid:{uid}", f"uid-{uid}")
    lines = every[f"uid-{ANN}"]["lines"]
    assert {line["notebook"] for line in lines} == {"a", "b"}
    assert sum(line["amount_micro"] for line in lines) == every[f"uid-{ANN}"]["total_micro"]
