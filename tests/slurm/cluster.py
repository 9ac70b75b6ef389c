"""A real Slurm for tests: a controller, two nodes and munge on this host, with device files that stand for GPUs.

It needs Debian's packages (``.ci/slurm`` installs them), no configuration of the system and no root. All its files are
in one folder, its ports are its own, and so several run side by side. ``reaper.py`` ends what was started, also where
the process of the tests was killed.

Nodes: ``n1`` has two ``a100`` with four shards each, ``n2`` four ``h100`` and two MIG devices of type ``1g.10gb``.
"""

from __future__ import annotations

import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.waiting import wait_until

#: Where distributions have daemons, which need not be on the path of a user.
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "sinfo", "scontrol")
REAPER = Path(__file__).with_name("reaper.py")
MUNGE_KEY_BYTES = 64

#: By node: devices by type, and shards in all.
NODES: Mapping[str, tuple[Mapping[str, int], int]] = {
    "n1": ({"a100": 2}, 8),
    "n2": ({"h100": 4, "1g.10gb": 2}, 0),
}
#: By partition: its nodes and options.
PARTITIONS: Mapping[str, str] = {
    "gpu": "Nodes=n1,n2 Default=YES DefaultTime=01:00:00 MaxTime=08:00:00",
    "short": "Nodes=n1 DefaultTime=00:05:00 MaxTime=00:10:00",
    "physics": "Nodes=n2 DefaultTime=01:00:00 MaxTime=UNLIMITED AllowAccounts=physics",
}
#: What an administrator may let decide about each job; the tests refuse and rewrite by account. 20.11 reads it
#: only where the administrator of its host put it: ``/etc/slurm/job_submit.lua``.
JOB_SUBMIT = """
function slurm_job_submit(job, partitions, uid)
  if job.account == "closed" then
    slurm.log_user("Account closed has no hours left.")
    return slurm.ESLURM_INVALID_ACCOUNT
  end
  if job.account == "rewritten" then
    job.script = string.gsub(job.script, "import", "import ")
  end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
"""
#: The configuration, by name. Scheduling is quick, so that tests need not wait for it.
SETTINGS: Mapping[str, str] = {
    "ClusterName": "fastgpu",
    "AuthType": "auth/munge",
    "ProctrackType": "proctrack/linuxproc",
    "TaskPlugin": "task/none",
    "JobAcctGatherType": "jobacct_gather/none",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_Core_Memory",
    "SchedulerType": "sched/backfill",
    "SchedulerParameters": "sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0",
    "PriorityType": "priority/basic",
    "AccountingStorageType": "accounting_storage/none",
    "JobCompType": "jobcomp/none",
    "JobSubmitPlugins": "lua",
    "MpiDefault": "none",
    "ReturnToService": "2",
    "InactiveLimit": "0",
    "KillWait": "1",
    "MessageTimeout": "3",
    "SlurmdTimeout": "30",
    "SlurmdParameters": "config_overrides",  # more processors than this host has
    "GresTypes": "gpu,shard",
    "MailProg": "/bin/true",
}


#: From which version on there are shards.
SHARDS_FROM = (22, 5)
#: From which version on the daemon of a node needs a file system of control groups, unless this file says otherwise.
CGROUPS_FROM = (23, 11)
WITHOUT_CGROUPS = {"cgroup.conf": "CgroupPlugin=disabled\n"}


class Service(NamedTuple):
    """A daemon: its command, and its process."""

    argv: Sequence[str]
    process: subprocess.Popen[bytes]


def missing_programs() -> list[str]:
    """The programs of Slurm that are not installed here."""
    return [name for name in PROGRAMS if not shutil.which(name, path=SYSTEM_PATH)]


@functools.cache
def slurm_version() -> tuple[int, int]:
    """The version of the Slurm that is first on the path, such as ``(22, 5)``."""
    said = subprocess.run(
        ["slurmctld", "-V"], env={**os.environ, "PATH": SYSTEM_PATH}, capture_output=True, text=True, check=True
    ).stdout  # such as "slurm-wlm 22.05.8"
    year, month = said.split()[-1].split(".")[:2]
    return int(year), int(month)


def has_shards() -> bool:
    """Whether the Slurm that is first on the path divides GPUs into shards."""
    return slurm_version() >= SHARDS_FROM


def free_ports(count: int) -> list[int]:
    """Numbers of ports that no process of this host uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class SlurmCluster:
    """A Slurm of its own. ``settings`` replace :data:`SETTINGS`; ``files`` are put beside its configuration."""

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        prefix: str = "",
        device_major: int | None = None,
    ) -> None:
        # Not a folder of pytest's: other users must reach the socket of munge in it, and its path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="fgslurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.prefix = prefix  #: of the names of nodes, which are names of control groups
        self._major, self._minors = device_major, itertools.count()
        self.conf = self.folder / "slurm.conf"
        shards = {} if has_shards() else {"GresTypes": "gpu"}
        self._settings = {**SETTINGS, **shards, **(settings or {})}
        without_cgroups = WITHOUT_CGROUPS if slurm_version() >= CGROUPS_FROM else {}
        self._files = {"job_submit.lua": JOB_SUBMIT, **without_cgroups, **(files or {})}
        self._services: dict[str, Service] = {}
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which Slurm's commands use this cluster."""
        return {"SLURM_CONF": str(self.conf), "PATH": SYSTEM_PATH}

    def start(self) -> None:
        """Start everything, and wait until jobs can run. Raises ``AssertionError`` with the logs where they cannot."""
        self._reaper = subprocess.Popen(
            [sys.executable, "-P", "-S", str(REAPER), str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._write_files()
        munge = self.folder / "munge"
        options = ("socket", "key-file", "pid-file", "seed-file", "log-file")
        self._run("munged", "--foreground", *(f"--{name}={munge / name.partition('-')[0]}" for name in options))
        wait_until((munge / "socket").exists, self.logs)
        self.start_controller("-c")
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def stop(self) -> None:
        """End everything, jobs included, and remove the folder."""
        if self._reaper and self._reaper.stdin:
            self._reaper.stdin.close()
            self._reaper.wait()
        for service in self._services.values():
            service.process.wait()
        self._services.clear()

    def run(self, *argv: str, stdin: str = "", uid: int | None = None) -> str:
        """The standard output of a command of Slurm's. Raises ``CalledProcessError`` where it fails."""
        done = subprocess.run(
            argv, input=stdin, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False,
            timeout=60, user=uid, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    # -- what happens to a cluster -------------------------------------------------------------------------------------

    def start_controller(self, *options: str) -> None:
        """Start the controller."""
        self._run("slurmctld", "-D", "-f", str(self.conf), *options)

    def stop_controller(self) -> None:
        """End the controller, which saves its state; jobs run on. One that is killed forgets the newest jobs."""
        process = self._services.pop("slurmctld").process
        process.terminate()
        process.wait()

    def kill_controller(self) -> None:
        """End the controller at once, which has not saved the newest jobs."""
        self._kill("slurmctld")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        name = f"{self.prefix}{node}"
        self._run("slurmd", "-D", "-N", name, "-f", str(self.conf), name=name)

    def kill_node(self, node: str) -> None:
        """End the daemon of a node at once; its jobs run on until the controller finds it missing."""
        self._kill(f"{self.prefix}{node}")

    def silence_node(self, node: str) -> None:
        """Stop the daemon of a node, which does not answer from now on; its jobs run on."""
        self._services[f"{self.prefix}{node}"].process.send_signal(signal.SIGSTOP)

    def wake_node(self, node: str) -> None:
        """Let the daemon of a node go on."""
        self._services[f"{self.prefix}{node}"].process.send_signal(signal.SIGCONT)

    def wait_until_saved(self) -> None:
        """Wait until the controller has saved the jobs as they are now, which it does some seconds after a change."""
        changed_s = time.time()
        for job in self._look("squeue", "-h", "-o", "%A").split():
            self.run("scontrol", "update", f"JobId={job}", "Comment=saved")
        wait_until(lambda: (self.folder / "state/job_state").stat().st_mtime > changed_s, self.logs)

    def is_up(self) -> bool:
        """Whether the controller answers."""
        return "UP" in self._look("scontrol", "ping")

    def wait_for_nodes(self) -> None:
        """Wait until all nodes are up and idle."""

        def idle() -> bool:
            states = self._look("sinfo", "-h", "-N", "-o", "%N %T").split()[1::2]
            return len(states) >= len(NODES) and set(states) == {"idle"}

        wait_until(idle, self.logs, 30)

    def reset(self) -> None:
        """Cancel all jobs and bring the nodes back, so that the next test finds the cluster as it was at its start."""
        if jobs := self._look("squeue", "-h", "-o", "%A").split():
            self.run("scancel", *jobs)
            wait_until(lambda: not self._look("squeue", "-h", "-o", "%A"), self.logs, 30)
        states = [line.split() for line in self._look("sinfo", "-h", "-N", "-o", "%N %T").splitlines()]
        for node in {name for name, state in states if state.startswith(("down", "drain"))}:
            self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.wait_for_nodes()

    def logs(self) -> str:
        """The last lines of the logs, for a failed test."""
        tails = [f"{path.name}:\n{path.read_text()[-1500:]}" for path in sorted((self.folder / "log").glob("*"))]
        return "the cluster is ready\n" + "\n".join(tails)

    # -- its parts -----------------------------------------------------------------------------------------------------

    def _run(self, program: str, *options: str, name: str = "") -> None:
        name = name or program
        path = shutil.which(program, path=SYSTEM_PATH)
        assert path, f"{program} is not installed"
        with (self.folder / "log" / f"{name}.err").open("ab") as log:
            argv = [path, *options]
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        self._services[name] = Service(argv, process)

    def _kill(self, name: str) -> None:
        process = self._services.pop(name).process
        process.kill()
        process.wait()

    def _look(self, *argv: str) -> str:
        """What a command says, nothing while the controller does not answer."""
        done = subprocess.run(argv, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    def _write_files(self) -> None:
        for name in ("state", "log", "dev", "munge", *(f"spool-{self.prefix}{node}" for node in NODES)):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge/key"
        key.touch(0o600)
        key.write_bytes(os.urandom(MUNGE_KEY_BYTES))
        controller, *ports = free_ports(1 + len(NODES))
        host, user = socket.gethostname().partition(".")[0], pwd.getpwuid(os.geteuid()).pw_name
        lines = [
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            f"AuthInfo=socket={self.folder}/munge/socket",
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool-%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/slurmd-%n.pid",
            f"SlurmctldLogFile={self.folder}/log/slurmctld.log",
            f"SlurmdLogFile={self.folder}/log/slurmd-%n.log",
            *(f"{name}={value}" for name, value in self._settings.items()),
        ]
        gres = []
        for (node, (devices, shards)), port in zip(NODES.items(), ports, strict=True):
            declared = [f"gpu:{model}:{count}" for model, count in devices.items()]
            if shards and has_shards():
                declared.append(f"shard:{shards}")
                gres.append(f"NodeName={self.prefix}{node} Name=shard Count={shards}")
            lines.append(
                f"NodeName={self.prefix}{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=32 "
                f"CoresPerSocket=32 RealMemory=64000 Gres={','.join(declared)} State=UNKNOWN"
            )
            for model, count in devices.items():
                files = [self._device(f"{node}{model}-{index}") for index in range(count)]
                gres += [f"NodeName={self.prefix}{node} Name=gpu Type={model} File={file}" for file in files]
        for name, options in PARTITIONS.items():
            nodes = options.replace("Nodes=n", f"Nodes={self.prefix}n").replace(",n", f",{self.prefix}n")
            lines.append(f"PartitionName={name} {nodes} DefMemPerCPU=500 State=UP")
        self.conf.write_text("\n".join(lines) + "\n")
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")
        for file_name, text in self._files.items():
            (self.folder / file_name).write_text(text)

    def _device(self, name: str) -> Path:
        """A device file: Slurm sets no variable of a GPU for one that is none."""
        path = self.folder / "dev" / name
        if self._major is None:
            path.symlink_to(os.devnull)
        else:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(self._major, next(self._minors)))
            path.chmod(0o666)
        return path
