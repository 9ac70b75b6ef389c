"""Device files that are closed to kernels: the program, the control groups, and the pool that uses them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import Holder
from fastgpu_jupyter.errors import HostFault, InternalError
from fastgpu_jupyter.pool.devices.nvidia import device_files
from fastgpu_jupyter.pool.devices.registry import AllDeviceFiles
from fastgpu_jupyter.pool.host import cgroup, device_filter, lease_groups
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.device_filter import Number, program
from fastgpu_jupyter.pool.host.lease_groups import DeviceAccess, LeaseGroups
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import Kernel, KernelHelper, PoolProcess, fastgpu
from tests.nvml.machine import FakeMachine
from tests.views import text
from tests.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[3]
WHY_NOT = lease_groups.unsupported_reason(AllDeviceFiles())
real = pytest.mark.skipif(WHY_NOT is not None, reason=f"device files cannot be closed here: {WHY_NOT}")
UNPRIVILEGED_UID = 65534
Build = Callable[..., FakeMachine]

# -- the program -------------------------------------------------------------------------------------------------------


def answer(code: bytes, kind: int, access: int, number: Number) -> int:
    """What the program says, carried out one instruction after the other."""
    context = {0: kind | access << 16, 4: number.major, 8: number.minor}
    register, at = [0] * 11, 0
    for _ in range(len(code)):
        operation, registers, offset, value = struct.unpack_from("<BBhi", code, 8 * at)
        to, source = registers & 15, registers >> 4
        at += 1
        match operation:
            case 0x61:
                assert source == 1, "only the context is read"
                register[to] = context[offset]
            case 0x57:
                register[to] &= value
            case 0xB7:
                register[to] = value
            case 0x05:
                at += offset
            case 0x15:
                at += offset if register[to] == value else 0
            case 0x55:
                at += offset if register[to] != value else 0
            case 0x95:
                return register[0]
            case _:
                raise AssertionError(operation)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("allowed", [(), (Number(195, 0),), (Number(195, 255), Number(195, 3), Number(511, 0))])
@pytest.mark.parametrize("governed", [(195,), (195, 511), (195, 508, 511)])
def test_program_allows_only_the_named_governed_devices(governed: tuple[int, ...], allowed: tuple[Number, ...]) -> None:
    code = program(governed, allowed)
    for major in (1, 195, 508, 511):
        for minor in (0, 1, 3, 254, 255):
            number = Number(major, minor)
            may = major not in governed or number in allowed
            for access in range(1, 8):
                assert answer(code, 2, access, number) == may
                assert answer(code, 1, access, number) == 1, "a disk is no GPU, whatever its number"


def test_program_that_governs_nothing_is_refused() -> None:
    with pytest.raises(InternalError):
        program((), ())


@pytest.mark.parametrize(
    ("node", "number"),
    [
        ("/nowhere/nvidia3", Number(195, 3)),
        ("/nowhere/nvidiactl", Number(195, 255)),
        ("/nowhere/nvidia-uvm", Number(511, 0)),
        ("/nowhere/nvidia-caps/nvidia-cap12", None),
        ("/nowhere/nvidia-uvm-tools", None),
        ("/nowhere/nvidiax", None),
        ("/dev/null", Number(1, 3)),
        ("/proc/devices", None),
    ],
)
def test_number_of_a_file_that_does_not_exist_follows_from_its_name(
    node: str, number: Number | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_files, "driver_majors", lambda: {"nvidia": 195, "nvidia-uvm": 511})
    assert AllDeviceFiles().number_of(node) == number


def test_group_created_for_a_process_is_its_own() -> None:
    assert cgroup.is_made_for(Path("/x/fastgpu-0a1b2c3d-42-99"), 42)
    for name in ("fastgpu-0a1b2c3d-420-99", "fastgpu-42", "user-42-42", "fastgpu--42-1"):
        assert not cgroup.is_made_for(Path("/x", name), 42)


# -- groups ------------------------------------------------------------------------------------------------------------

TRY = """
import errno, os, subprocess, sys
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "child":
        print(subprocess.run([sys.executable, "-Ic", CODE], input=rest, text=True, env={}, stdout=-1).stdout.strip())
    else:
        try:
            kept = os.open(rest, os.O_RDWR)
            if word == "try":
                os.close(kept)
            print("opened")
        except OSError as error:
            print(errno.errorcode[error.errno])
    sys.stdout.flush()
"""


class Program:
    """A process that opens files on request; another user needs a Python that every user may run."""

    def __init__(self, uid: int, **environment: str) -> None:
        python = sys.executable if uid == 0 else "/usr/bin/python3"
        code = f"CODE = {TRY!r}\n{TRY}"
        self.process = subprocess.Popen(
            [python, "-Ic", code], stdin=-1, stdout=-1, text=True, user=uid, group=uid, extra_groups=[],
            env={"PATH": "/usr/bin:/bin", **environment}, cwd="/",
        )  # fmt: skip
        self.pid = self.process.pid

    def __call__(self, path: Path | str, word: str = "try") -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word} {'try ' if word == 'child' else ''}{path}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """End it; once more does nothing."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(DEADLINE_S)


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    """What a test made is removed, be it by a pool that could not do it any more."""
    folders = (tmp_path, state_dir(tmp_path))
    yield
    if WHY_NOT is None:
        for folder in folders:
            remove_groups(folder)


def remove_groups(folder: Path) -> None:
    """Remove the groups that a pool with this folder left."""
    left = LeaseGroups(folder, SystemClock().boot_id(), AllDeviceFiles())
    left.adopt([])
    wait_until(lambda: not left.remove_empty(), "nothing is left of the groups")


def state_dir(folder: Path) -> Path:
    """Where a pool of the tests has its journal."""
    return folder / "state"


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts processes that are ended with the test."""
    programs: list[Program] = []

    def begin(uid: int = UNPRIVILEGED_UID, **environment: str) -> Program:
        if uid and not os.access("/usr/bin/python3", os.X_OK):
            pytest.skip("there is no Python here that another user may run")
        programs.append(Program(uid, **environment))
        return programs[-1]

    yield begin
    for one in programs:
        one.end()


@pytest.fixture
def nodes() -> Iterator[list[Path]]:
    """Device files of two GPUs that every user can reach, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="fastgpu-dev-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = [folder / f"nvidia{number}" for number in range(2)]
        for number, path in enumerate(made):
            make_node(path, number)
        yield made


def make_node(path: Path, minor: int) -> None:
    try:
        os.mknod(path, 0o20666, os.makedev(195, minor))
    except PermissionError:
        pytest.skip("device files cannot be made here")
    path.chmod(0o666)


@pytest.fixture
def groups(tmp_path: Path) -> LeaseGroups:
    return LeaseGroups(tmp_path, SystemClock().boot_id(), AllDeviceFiles())


def holder(program: Program) -> Holder:
    return holder_of(program.pid, SystemClock().boot_id())


def may(said: str) -> bool:
    """Whether the kernel let it open the file, be there a driver or not."""
    assert said in ("opened", "ENXIO", "ENODEV", "EIO", "EPERM"), said
    return said != "EPERM"


@real
@pytest.mark.slow
def test_restricted_kernel_is_refused_only_closed_files(
    groups: LeaseGroups, start: Callable[..., Program], nodes: list[Path]
) -> None:
    kernel = start()
    assert [may(kernel(node)) for node in nodes] == [True, True]
    assert groups.restrict(holder(kernel), [str(nodes[1])]) == DeviceAccess(enforced=True)
    assert [may(kernel(node)) for node in nodes] == [False, True]
    assert [may(kernel(node, "child")) for node in nodes] == [False, True], "nor by a child without environment"
    assert kernel("/dev/null") == kernel("/dev/zero") == "opened"
    groups.restrict(holder(kernel), [str(nodes[0])])
    assert [may(kernel(node)) for node in nodes] == [True, False], "it moved"
    groups.restrict(holder(kernel), [])
    assert [may(kernel(node)) for node in nodes] == [False, False], "it is parked"


@real
@pytest.mark.slow
def test_restriction_does_not_affect_neighbours_of_the_kernel(
    groups: LeaseGroups, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device that is there on every machine, so that it is really opened."""
    monkeypatch.setattr(device_files, "driver_majors", lambda: {"memory": 1})
    kernel, neighbour = start(), start()
    assert kernel("/dev/zero") == "opened"
    assert groups.restrict(holder(kernel), ["/dev/null", "/dev/urandom"]) == DeviceAccess(enforced=True)
    assert (kernel("/dev/zero"), neighbour("/dev/zero")) == ("EPERM", "opened")
    assert kernel("/dev/null") == "opened"


@real
@pytest.mark.slow
def test_file_opened_before_the_restriction_stays_open_and_is_reported(
    groups: LeaseGroups, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_files, "driver_majors", lambda: {"memory": 1})
    kernel = start()
    assert kernel("/dev/zero", "keep") == "opened"
    kept = groups.restrict(holder(kernel), ["/dev/null"])
    assert not kept.enforced
    assert kept.detail is not None
    assert f"Process {kernel.pid} had /dev/zero open" in kept.detail
    assert kernel("/dev/zero") == "EPERM"


@real
@pytest.mark.slow
def test_kernel_of_root_is_restricted_and_reported_as_able_to_undo_it(
    groups: LeaseGroups, start: Callable[..., Program], nodes: list[Path]
) -> None:
    kernel = start(0)
    kept = groups.restrict(holder(kernel), [str(nodes[1])])
    assert (kept.enforced, "root" in str(kept.detail)) == (False, True)
    assert [may(kernel(node)) for node in nodes] == [False, True]


@real
@pytest.mark.slow
def test_existing_children_of_a_kernel_are_restricted(
    groups: LeaseGroups, start: Callable[..., Program], nodes: list[Path]
) -> None:
    kernel = start()
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-Ic', {TRY!r}])"
    parent = subprocess.Popen(
        ["/usr/bin/python3", "-Ic", code],
        stdin=-1,
        stdout=-1,
        text=True,
        user=UNPRIVILEGED_UID,
        group=UNPRIVILEGED_UID,
        extra_groups=[],
    )
    assert parent.stdin is not None
    assert parent.stdout is not None

    def asked() -> str:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(f"try {nodes[0]}\n")
        parent.stdin.flush()
        return parent.stdout.readline().strip()

    assert may(asked())
    one = holder_of(parent.pid, SystemClock().boot_id())
    assert groups.restrict(one, [str(nodes[1])]).enforced
    assert not may(asked())
    assert may(kernel(nodes[0])), "a process of another user is not moved"
    parent.stdin.close()
    parent.stdout.close()
    parent.wait(DEADLINE_S)


@real
@pytest.mark.slow
def test_group_delegated_to_its_user_is_not_used(
    groups: LeaseGroups, start: Callable[..., Program], nodes: list[Path], tmp_path: Path
) -> None:
    root = cgroup.root()
    assert root is not None
    handed = root / f"fastgpu-test-{os.getpid()}"
    handed.mkdir()
    kernel = start()
    try:
        (handed / "cgroup.procs").write_text(str(kernel.pid))
        os.chown(handed / "cgroup.procs", UNPRIVILEGED_UID, UNPRIVILEGED_UID)
        kept = groups.restrict(holder(kernel), [str(nodes[1])])
        assert not kept.enforced
        assert f"its user may move processes in the control group {handed}" in str(kept.detail)
        assert [path.name for path in handed.iterdir() if path.is_dir()] == []
        assert may(kernel(nodes[0]))
    finally:
        kernel.end()
        wait_until(lambda: "populated 0" in (handed / "cgroup.events").read_text(), "it is empty")
        handed.rmdir()


@real
@pytest.mark.slow
def test_exclusive_program_of_a_group_above_is_kept(
    groups: LeaseGroups, start: Callable[..., Program], nodes: list[Path]
) -> None:
    """One that lets groups below it have another in its place would no longer be asked."""
    root = cgroup.root()
    assert root is not None
    theirs = root / f"fastgpu-test-{os.getpid()}"
    theirs.mkdir()
    kernel = start()
    loaded = device_filter.load(program((195,), ()))
    folder = os.open(theirs, os.O_RDONLY)
    try:
        (theirs / "cgroup.procs").write_text(str(kernel.pid))
        device_filter._call(8, struct.pack("<IIIII", folder, loaded, 6, 1, 0), "attached, to be overridden")
        kept = groups.restrict(holder(kernel), [str(nodes[0])])
        assert not kept.enforced
        assert "another program decides" in str(kept.detail)
        assert not may(kernel(nodes[0]))
    finally:
        os.close(folder)
        os.close(loaded)
        kernel.end()
        wait_until(lambda: "populated 0" in (theirs / "cgroup.events").read_text(), "it is empty")
        theirs.rmdir()


@real
@pytest.mark.slow
def test_next_pool_manager_adopts_groups_and_closes_abandoned_ones(
    start: Callable[..., Program], nodes: list[Path], tmp_path: Path
) -> None:
    boot_id = SystemClock().boot_id()
    kernel, orphan = start(), start()
    before = LeaseGroups(tmp_path, boot_id, AllDeviceFiles())
    for one in (kernel, orphan):
        assert before.restrict(holder(one), [str(nodes[0])]).enforced
    other = LeaseGroups(tmp_path / "of another pool", boot_id, AllDeviceFiles())
    other.adopt([])
    assert may(kernel(nodes[0])), "another pool's are left alone"
    after = LeaseGroups(tmp_path, boot_id, AllDeviceFiles())
    after.adopt([holder(kernel)])
    assert [may(one(nodes[0])) for one in (kernel, orphan)] == [True, False]
    assert after.restrict(holder(kernel), [str(nodes[1])]).enforced
    assert [may(kernel(node)) for node in nodes] == [False, True]
    LeaseGroups(tmp_path, boot_id, AllDeviceFiles()).remove_restrictions()
    assert [may(one(nodes[0])) for one in (kernel, orphan)] == [True, True], "a pool that closes nothing opens all"


@real
@pytest.mark.slow
def test_kernel_that_gets_a_lease_again_opens_its_files(
    groups: LeaseGroups, start: Callable[..., Program], nodes: list[Path]
) -> None:
    kernel = start()
    assert not groups.has(holder(kernel))
    groups.restrict(holder(kernel), [str(nodes[0])])
    groups.release(holder(kernel))
    assert [may(kernel(node)) for node in nodes] == [False, False]
    assert groups.has(holder(kernel))
    assert groups.restrict(holder(kernel), [str(nodes[1])]).enforced
    groups.remove_empty()
    assert [may(kernel(node)) for node in nodes] == [False, True]


@real
@pytest.mark.slow
def test_restrict_of_an_ended_process_reports_it(groups: LeaseGroups, start: Callable[..., Program]) -> None:
    kernel = start()
    one = holder(kernel)
    kernel.end()
    kept = groups.restrict(one, [])
    assert not kept.enforced
    assert "not closed" in str(kept.detail)


@real
def test_program_that_the_kernel_refuses_raises_a_host_fault() -> None:
    with pytest.raises(HostFault, match="cannot be loaded"):
        device_filter.load(b"\xff" * 16)


# -- the pool ----------------------------------------------------------------------------------------------------------


class ClosingPool(PoolProcess):
    """A pool manager that closes."""

    def start(self, *settings: str) -> None:
        where = f"--FastGPUPool.state_dir={state_dir(self.folder)}"
        command = [sys.executable, "-m", "tests.pool.effects.device_access_pool", where, *settings]
        with (self.folder / "pool.out").open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, cwd=ROOT)
        wait_until(self.answers, f"the pool answers; see {self.folder / 'pool.out'}")

    def groups(self) -> list[str]:
        """Names of the groups that it has made now."""
        prefix = LeaseGroups(state_dir(self.folder), "", AllDeviceFiles())._prefix
        return [path.name for path in (cgroup.root() or Path()).rglob(f"{prefix}*") if path.is_dir()]


CLOSE = "--Access.restrict_device_files=True"


@pytest.fixture
def pool(isolated: Path, nodes: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ClosingPool]:
    monkeypatch.setenv("FASTGPU_TEST_DEV", str(nodes[0].parent))
    make_node(nodes[0].parent / "nvidiactl", 255)
    process = ClosingPool(isolated, simulate="")
    yield process
    process.end()


def opens(kernel: Kernel, nodes: list[Path]) -> list[bool]:
    """Which of the files a cell of the kernel can open, and a program that it starts."""
    kernel.run("import os, errno, subprocess, sys\n" + OPENS)
    own, child = kernel.value(f"opens({[str(one) for one in nodes]!r})").split(";")
    assert own.strip("'") == child.strip("'")
    return [may(said) for said in own.strip("'").split()]


OPENS = """
CODE = '''
import errno, os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDWR)); print('opened')
    except OSError as error:
        print(errno.errorcode[error.errno])
'''
def opens(paths):
    def own(path):
        try:
            os.close(os.open(path, os.O_RDWR)); return 'opened'
        except OSError as error:
            return errno.errorcode[error.errno]
    child = subprocess.run([sys.executable, '-c', CODE, *paths], capture_output=True, text=True, env={})
    return ' '.join(map(own, paths)) + ';' + ' '.join(child.stdout.split())
"""


class Tenant:
    """A lease, and a process of another user that holds it as a kernel does."""

    def __init__(self, pool: PoolProcess, start: Callable[..., Program]) -> None:
        token = new_token()
        self._pool = pool
        self.lease_id = str(pool.client.request("full", token=token)["id"])
        self.opens = start(FASTGPU_LEASE=self.lease_id)
        self.bound: Any = dict(pool.client.bind(self.lease_id, token, self.opens.pid))

    def may(self, nodes: list[Path]) -> list[bool]:
        return [may(self.opens(node)) for node in nodes]


def said(pool: PoolProcess, lease_id: str, nodes: list[Path]) -> list[bool]:
    """Which of the files its lease says."""
    return [str(node) in pool.lease(lease_id)["device_access"]["nodes"] for node in nodes]


@real
@pytest.mark.slow
def test_kernel_opens_only_its_own_gpu(
    use_machine: Build, pool: ClosingPool, kernels: KernelHelper, nodes: list[Path]
) -> None:
    use_machine("2xL4", old_driver=True)
    pool.start(CLOSE)
    first, second = kernels.start(), kernels.start()
    for kernel in (first, second):
        pool.wait_state(kernel.lease_id, "active")
    mine = [said(pool, kernel.lease_id, nodes) for kernel in (first, second)]
    assert sorted(mine) == [[False, True], [True, False]]
    assert [opens(kernel, nodes) for kernel in (first, second)] == mine
    view = pool.lease(first.lease_id)
    assert (view["device_access"]["restricted"], "root" in text(view["device_access"]["message"])) == (False, True)
    assert first.manager is not None
    before = first.pid
    first.manager.restart_kernel(now=True)
    first.wait_ready()
    assert first.pid != before
    assert opens(first, nodes) == mine[0], "the process after a restart, too"
    for kernel in (first, second):
        kernels.stop(kernel)
    wait_until(lambda: pool.groups() == [], "nothing is left of the groups")


@real
@pytest.mark.slow
def test_files_follow_grants_over_restarts_of_the_pool(
    use_machine: Build, pool: ClosingPool, start: Callable[..., Program], nodes: list[Path]
) -> None:
    use_machine("2xL4", old_driver=True)
    pool.start(CLOSE)
    first, second, third = (Tenant(pool, start) for _ in range(3))
    for tenant in (first, second):
        access = tenant.bound["device_access"]
        assert (access["restricted"], text(access["message"])) == (True, None), "at once"
    mine = {one.lease_id: said(pool, one.lease_id, nodes) for one in (first, second)}
    assert sorted(mine.values()) == [[False, True], [True, False]]
    assert [one.may(nodes) for one in (first, second)] == list(mine.values())
    assert (third.bound["state"], third.may(nodes)) == ("waiting", [False, False])

    pool.client.release(first.lease_id)
    pool.wait_state(third.lease_id, "active")
    assert third.may(nodes) == mine[first.lease_id], "as soon as it is said"
    wait_until(lambda: first.may(nodes) == [False, False], "what is over is closed")

    pool.kill()
    assert second.may(nodes) == mine[second.lease_id]
    pool.start(CLOSE)
    wait_until(lambda: pool.lease(second.lease_id)["device_access"]["restricted"], "it is taken over")
    assert second.may(nodes) == mine[second.lease_id]
    pool.client.release(third.lease_id)
    wait_until(lambda: third.may(nodes) == [False, False], "the next pool manager goes on with it")

    token = new_token()
    again = pool.client.request("full", token=token)["id"]
    pool.wait_state(again, "active")
    assert pool.client.bind(again, token, third.opens.pid)["device_access"]["restricted"], (
        "one that asks again by itself"
    )
    assert third.may(nodes) == said(pool, again, nodes)
    pool.client.release(again)

    pool.kill()
    pool.start()
    assert second.may(nodes) == [True, True], "one that closes nothing opens all"
    pool.kill()
    pool.start(CLOSE)
    wait_until(lambda: pool.lease(second.lease_id)["device_access"]["restricted"], "and one that does closes it again")
    assert second.may(nodes) == mine[second.lease_id]
    for tenant in (first, second, third):
        tenant.opens.end()
    wait_until(lambda: pool.groups() == [], "nothing is left of the groups")


@real
@pytest.mark.slow
def test_server_that_holds_a_lease_for_a_kernel_is_not_restricted(
    use_machine: Build, pool: ClosingPool, nodes: list[Path]
) -> None:
    use_machine("2xL4", old_driver=True)
    pool.start(CLOSE)
    here = cgroup.group_of(os.getpid())
    lease_id = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(lease_id, "active")
    view = pool.lease(lease_id)
    assert (view["device_access"]["restricted"], text(view["device_access"]["message"])) == (False, None)
    assert cgroup.group_of(os.getpid()) == here


@real
@pytest.mark.slow
def test_driver_limit_applies_to_the_kernels_group(
    use_machine: Build, pool: ClosingPool, kernels: KernelHelper, half: str
) -> None:
    machine = use_machine("1xH100-80GB")
    pool.start(CLOSE)
    kernel = kernels.start(half)
    pool.wait_state(kernel.lease_id, "active")
    (uuid,) = [gpu.uuid for gpu in machine.gpus]
    group = str(cgroup.group_of(kernel.pid))
    assert f"-{kernel.pid}-" in group
    memory_bytes = pool.lease(kernel.lease_id)["memory"]["limit_bytes"]
    wait_until(lambda: machine.limits() == {(uuid, group): (0, memory_bytes)}, "the limit is set")
    assert pool.lease(kernel.lease_id)["enforcement"]["memory_limit"] == "driver"
    assert text(pool.lease(kernel.lease_id)["enforcement"]["message"]) is None
    pool.client.resize(kernel.lease_id, "quarter")
    wait_until(lambda: machine.limits() == {(uuid, group): (0, memory_bytes // 2)}, "it follows the size")
    pool.client.release(kernel.lease_id)
    pool.wait_state(kernel.lease_id, "ended")
    wait_until(lambda: group not in str([one for one, limit in machine.limits().items() if limit[1] < 2**60]), "lifted")


@pytest.mark.slow
def test_unsupported_host_is_logged_once_and_lists_files(
    use_machine: Build, pool: ClosingPool, kernels: KernelHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_machine("1xL4", old_driver=True)
    monkeypatch.setenv("FASTGPU_TEST_NO_BPF", "1")
    pool.start(CLOSE)
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    view = pool.lease(kernel.lease_id)
    assert view["device_access"]["nodes"] != []
    assert view["device_access"]["restricted"] is False
    assert "not closed to this lease" in text(view["device_access"]["message"])
    assert f"{kernel.lease_id}: {text(view['device_access']['message'])}" in fastgpu("status").stdout
    log = (pool.folder / "pool.out").read_text()
    assert log.count("are reported to leases and not closed") == 1


# -- the rights that it takes ------------------------------------------------------------------------------------------

KEEP = """
import sys
from pathlib import Path
from fastgpu_jupyter.pool.devices.registry import AllDeviceFiles
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.lease_groups import LeaseGroups
from fastgpu_jupyter.pool.host.attribution import lease_of
from fastgpu_jupyter.pool.host.process import holder_of
folder, pid, node = sys.argv[1:]
boot_id = SystemClock().boot_id()
kept = LeaseGroups(Path(folder), boot_id, AllDeviceFiles()).restrict(holder_of(int(pid), boot_id), [node])
print(kept.enforced, lease_of(int(pid)), kept.detail)
"""


@pytest.fixture
def around() -> Iterator[Path]:
    """A group of root's, as those are in which services and logins are."""
    path = (cgroup.root() or Path()) / f"fastgpu-test-{os.getpid()}"
    path.mkdir()
    yield path
    wait_until(lambda: "populated 0" in (path / "cgroup.events").read_text(), "it is empty")
    for below in path.glob("fastgpu-*"):
        below.rmdir()
    path.rmdir()


@real
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.parametrize(
    ("without", "outcome"),
    [
        (set(), "True it None"),
        ({"bpf"}, "False it "),
        ({"net_admin"}, "False it "),
        ({"sys_ptrace"}, "True None"),
        ({"dac_read_search"}, "True None"),
    ],
)
def test_systemd_unit_has_exactly_the_needed_capabilities(
    around: Path, start: Callable[..., Program], tmp_path: Path, nodes: list[Path], without: set[str], outcome: str
) -> None:
    """Without the last two the kernel of a process cannot be identified, and no kernel would be restricted."""
    lines = (ROOT / "docs/fastgpu-pool.service").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("#CapabilityBoundingSet=")]
    rights = {name.removeprefix("CAP_").lower() for name in line.partition("=")[2].split()}
    assert rights - {"kill"} == {"sys_ptrace", "dac_read_search", "bpf", "net_admin"}
    kernel = start(FASTGPU_LEASE="it")
    assert may(kernel(nodes[0]))  # so that it has come to its own program
    (around / "cgroup.procs").write_text(str(kernel.pid))
    bounds = ",".join(["-all", *(f"+{name}" for name in sorted(rights - without))])
    command = ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", sys.executable, "-c", KEEP]
    done = subprocess.run(
        [*command, str(tmp_path), str(kernel.pid), str(nodes[1])],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(outcome), (done.stdout, done.stderr)
    assert may(kernel(nodes[0])) == outcome.startswith("False")
    kernel.end()
