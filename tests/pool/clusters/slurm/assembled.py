"""What other versions of Slurm print, assembled from documentation, for the parsers and tables of the adapter.

These are **not** recordings: those are in ``recordings/``, of 20.11, 22.05, 24.11 and 26.05. No package of 23.11 or
25.05 was at hand to record. Each answer was put together by hand from the documentation of its version (``sinfo``,
``squeue``, ``sbatch``, ``scontrol``, job reason codes, gres), with the columns that the adapter asks for. They show
what a site has and the recorded clusters have not: sockets after a gres, names of types that AutoDetect makes, MIG
types with the GPU's name, GPUs without types, limits by account and QOS, preemption. Where a recording and these
differ, the recording counts.
"""

from __future__ import annotations

from typing import NamedTuple


class Assembled(NamedTuple):
    """The answers of one version."""

    sinfo: str
    squeue: str  #: of one user, all states
    pending: str  #: of all users
    test_only: str  #: of sbatch, for a job that fits
    config: str  #: a part of what `scontrol show config` prints
    job: str  #: a part of what `scontrol -d -o show job` prints


ASSEMBLED = {
    # No shards yet. A site without types; a drained partition; CPU nodes.
    "20.11": Assembled(
        sinfo=(
            "gpu*|up|2-00:00:00|12|gpu:4(S:0-1)\n"
            "v100|up|1-00:00:00|3|gpu:v100:8(S:0-1)\n"
            "cpu|up|infinite|40|(null)\n"
            "old|drain|12:00:00|2|gpu:k80:2\n"
        ),
        squeue=(
            "8041_7|array|RUNNING|node12|1606737600|1606741200|1:00:00|gpu|None\n"
            "8102|fgpu-0a1b2c3d-l1-1|PENDING|n/a|1606752000|1606838400|1:00:00|gpu|Resources\n"
            "8103|fgpu-0a1b2c3d-l2-1|PENDING|n/a|N/A|N/A|1:00:00|v100|QOSMaxGRESPerUser\n"
            "8090|fgpu-0a1b2c3d-l3-1|TIMEOUT|node07|1606700000|1606703600|1:00:00|gpu|TimeLimit\n"
            "8092|fgpu-0a1b2c3d-l5-1|COMPLETING|node07|1606700000|1606700401|1:00:00|gpu|None\n"
            "8091|fgpu-0a1b2c3d-l4-1|OUT_OF_MEMORY|node07|1606700000|1606700400|1:00:00|gpu|OutOfMemory\n"
        ),
        pending="8102|gpu|1100\n8001|gpu|4500\n8041_[8-40%4]|gpu|1100\n8103|v100|900\n",
        test_only="sbatch: Job 8104 to start at 1606752000 using 4 processors on nodes node12 in partition gpu\n",
        config="SLURM_VERSION           = 20.11.8\nSlurmctldHost[0]        = head01(10.1.0.1)\n"
        "TaskPlugin              = task/affinity,task/cgroup\nConstrainDevices        = yes\n",
        job="JobId=8102 JobName=x Nodes=node12 CPU_IDs=0-3 Mem=16000 GRES=gpu:2(IDX:0-1) MinCPUsNode=4",
    ),
    # AutoDetect=nvml names types by the driver; MIG instances have the GPU's name before the profile.
    "23.11": Assembled(
        sinfo=(
            "gpu*|up|3-00:00:00|6|gpu:nvidia_a100-sxm4-80gb:8(S:0-3),shard:nvidia_a100-sxm4-80gb:64(S:0-3)\n"
            "gpu*|up|3-00:00:00|1|gpu:nvidia_a100-sxm4-80gb:6(S:0-3),gpu:a100_3g.40gb:4(S:0-3)\n"
            "mig|up|8:00:00|2|gpu:1g.10gb:28(S:0-3)\n"
        ),
        squeue=(
            "512344|fgpu-0a1b2c3d-l1-1|PENDING|n/a|N/A|N/A|1:00:00|gpu|ReqNodeNotAvail, UnavailableNodes:gpu[03-04]\n"
            "512345|fgpu-0a1b2c3d-l2-1|PENDING|n/a|N/A|N/A|1:00:00|mig|AssocGrpGRES\n"
            "512346|fgpu-0a1b2c3d-l3-1|PENDING|n/a|N/A|N/A|1:00:00|mig|QOSMaxWallDurationPerJobLimit\n"
            "512301|fgpu-0a1b2c3d-l4-1|CONFIGURING|gpu01|1701388800|1701475200|1:00:00|gpu|None\n"
            "512200|fgpu-0a1b2c3d-l5-1|PREEMPTED|gpu02|1701380000|1701381000|1:00:00|gpu|None\n"
        ),
        pending="512344|gpu,mig|20000\n512345|mig|500\n",
        test_only="sbatch: Job 512347 to start at 1701475200 using 8 processors on nodes gpu05 in partition gpu\n",
        config="SLURM_VERSION           = 23.11.10\nSlurmctldHost[0]        = ctl1\nSlurmctldHost[1]        = ctl2\n"
        "TaskPlugin              = task/cgroup,task/affinity\nConstrainDevices        = no\n",
        job="JobId=512301 JobName=x Nodes=gpu01 CPU_IDs=0-7 Mem=64000 GRES=gpu:nvidia_a100-sxm4-80gb:1(IDX:3) X=y",
    ),
    # Reasons as sentences; a launch that failed; a state that earlier versions do not have.
    "25.05": Assembled(
        sinfo=(
            "h200*|up|1-00:00:00|16|gpu:nvidia_h200:8(S:0-1),shard:nvidia_h200:32(S:0-1)\n"
            "interactive|up|12:00:00|2|gpu:nvidia_l40s:4(S:0),nic:2\n"
        ),
        squeue=(
            "90011|fgpu-0a1b2c3d-l1-1|PENDING|n/a|1750000000|1750086400|1:00:00|h200|Priority\n"
            "90012|fgpu-0a1b2c3d-l2-1|PENDING|n/a|N/A|N/A|1:00:00|interactive|"
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions\n"
            "90013|fgpu-0a1b2c3d-l3-1|PENDING|n/a|N/A|N/A|1:00:00|h200|launch failed requeued held\n"
            "90014|fgpu-0a1b2c3d-l4-1|PENDING|n/a|N/A|N/A|1:00:00|h200|"
            "Job's QOS not permitted to use this partition (h200 allows gpu not debug)\n"
            "90001|fgpu-0a1b2c3d-l5-1|BOOT_FAIL|h03|1749990000|1749990300|1:00:00|h200|None\n"
            "90002|fgpu-0a1b2c3d-l6-1|EXPEDITING|h04|1749990000|1750076400|1:00:00|h200|None\n"
        ),
        pending="90011|h200|77\n90005|h200|78\n90006|h200|78\n",
        test_only="sbatch: Job 90015 to start at 1750000000 using 1 processors on nodes h07 in partition h200\n",
        config="SLURM_VERSION           = 25.05.1\nSlurmctldHost[0]        = slurmctld-0(slurmctld-0.slurm)\n"
        "TaskPlugin              = task/affinity\n",
        job="JobId=90002 JobName=x Nodes=h04 CPU_IDs=0-1 Mem=8000 GRES=gpu:nvidia_h200:1(IDX:0) X=y",
    ),
}
