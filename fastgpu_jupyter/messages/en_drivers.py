"""The English sentences of the drivers of devices: what ``jupyter fastgpu doctor`` finds; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "doctor.processes": "processes",
    "doctor.driver": "driver",
    "doctor.gpu": "GPU {index}",
    "doctor.gpus": "GPUs",
    "doctor.permissions": "permissions",
    "doctor.exclusive": "exclusive",
    "doctor.memory_limits": "memory limits",
    "doctor.overwriting": "overwriting",
    "doctor.mig": "MIG",
    "doctor.mps": "MPS",
    "doctor.persistence": "persistence",
    "doctor.health": "health",
    "doctor.parking": "parking",
    "doctor.restart": "restart the machine",
    "doctor.driver_serves": "{driver}, serves CUDA {cuda}",
    "doctor.driver_any_cuda": "{driver}, serves CUDA of an unknown version",
    "doctor.driver_versions": "the kernel still runs {module}, the library is of {library}",
    "doctor.driver_hangs": "it hangs: {reason}",
    "doctor.driver_not_loaded": "its library is there, but the kernel has not loaded it ({reason})",
    "doctor.no_answer": "it does not answer: {reason}",
    "doctor.driver_no_library": "the kernel runs {module}, but its library is not here ({reason})",
    "doctor.gpus_without_driver": {
        "plural": "count",
        "one": "{count} NVIDIA GPU on the bus, and no driver",
        "other": "{count} NVIDIA GPUs on the bus, and no driver",
    },
    "doctor.install": "install one: {page}",
    "doctor.no_gpu": "none, and no NVIDIA GPU is seen",
    "doctor.container_toolkit": "start this container with NVIDIA's container toolkit (docker run --gpus all)",
    "doctor.install_libraries": "install the driver's libraries: {page}",
    "doctor.install_release": "install R{release} or newer: {page}",
    "doctor.no_gpu_shown": "the driver answers, but shows no GPU",
    "doctor.gpus_lost": {
        "plural": "count",
        "one": "{count} GPU on the bus that the driver does not show",
        "other": "{count} GPUs on the bus that the driver does not show",
    },
    "doctor.files_forbidden": "this user may not use {files}",
    "doctor.join_group": "sudo usermod -aG video $USER, and log in again",
    "doctor.no_uvm": "/dev/nvidia-uvm is missing: CUDA makes it when it starts, where it may",
    "doctor.files_usable": "this user may use all {count} device files",
    "doctor.whole_gpus": {
        "plural": "count",
        "one": "{count} GPU can be leased whole",
        "other": "{count} GPUs can be leased whole",
    },
    "doctor.all_divided": "every GPU is divided by MIG, and leased by its instances",
    "doctor.shows_first": "{command} (shows first what that would disturb)",
    "doctor.limits_from": (
        "enforced by frameworks only: the driver enforces limits from R{release} on, this is {driver}"
    ),
    "doctor.limits_need_cgroups": "enforced by frameworks only: the driver needs control groups of version 2",
    "doctor.use_cgroups": ("sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1, and {restart}"),
    "doctor.limits_need_root": "enforced by frameworks only: root must set the driver's limits",
    "doctor.limits_by_dmem": "enforced by the driver, accounted by the kernel's dmem controller",
    "doctor.limits_by_driver": "enforced by the driver, accounted by the driver itself",
    "doctor.overwritable": "GPU memory can be overwritten between leases, where Scrubbing.mode says so",
    "doctor.not_overwritable": (
        "GPU memory cannot be overwritten between leases: CUDA's library libcuda.so.1 is not here"
    ),
    "doctor.no_mig": "no GPU here can be divided",
    "doctor.mig_after_reset": "{gpu}: will be {mode} after its next reset",
    "doctor.mig_off": "{gpu}: switched off",
    "doctor.mig_measured": "{gpu}: on; use of an instance is measured",
    "doctor.mig_not_measured": "{gpu}: on; use of an instance is not measured on this GPU",
    "doctor.no_mps": "nvidia-cuda-mps-control was not found",
    "doctor.install_mps": "sudo apt-get install nvidia-cuda-mps (or your system's package)",
    "doctor.mps_divided": "{gpu}: what is divided by MIG is leased by its instances",
    "doctor.of_gpu": "{gpu}: {reason}",
    "doctor.mps_for_all": {
        "plural": "count",
        "one": "{program}; {count} GPU can serve every user by it where Sharing.mps is on",
        "other": "{program}; {count} GPUs can serve every user by it where Sharing.mps is on",
    },
    "doctor.mps_for_user": {
        "plural": "count",
        "one": ("{program}; {count} GPU can serve this user only, as root every user by it where Sharing.mps is on"),
        "other": ("{program}; {count} GPUs can serve this user only, as root every user by it where Sharing.mps is on"),
    },
    "doctor.processes_unlisted": (
        "GPU {gpus} lists no processes here: use of a part is not measured, what is parked must be seen by the memory "
        "in use, and after a lease a GPU is granted once its memory in use is what it was"
    ),
    "doctor.persistence_off": "off on GPU {gpus}: each first use wakes it, which takes seconds",
    "doctor.awake": "GPUs stay awake",
    "doctor.health_checked": ("GPU {gpus} does not report errors as they happen; it is only checked regularly"),
    "doctor.health_reported": "errors are reported as they happen",
    "doctor.to_same_gpu": "the same GPU",
    "doctor.to_model": "the same GPU or another of its model",
    "doctor.parkable": "idle leases can be parked, and come back to {where}",
    "doctor.parkable_within": "idle leases can be parked, and come back to {where}; {limit}",
    "doctor.host_memory": (
        "a GPU has {largest_bytes}, and all parked leases together may take {most_bytes} of host memory unless "
        "Parking.host_memory says otherwise, so one that uses more keeps its GPU"
    ),
    "doctor.parking_from": "needs a driver of R{release} or newer, this is {driver}",
    "doctor.divided_not_parkable": "what is divided by MIG cannot be parked",
    "doctor.no_bindings": "needs NVIDIA's Python package cuda-bindings",
    "doctor.bindings_fail": "cuda-bindings {version} cannot use the driver: {reason}",
    "doctor.parking_of_model": (
        "with several GPUs of a model it needs R{release}, which brings memory back to any of them"
    ),
    "mps.too_old": "it is older than Volta",
    "mps.no_limits": "its driver has no limits for MPS, or does not list its processes; R510 or newer does",
    "mps.cannot_serve": "MPS cannot serve on this GPU any more: {reason}.",
    "mps.exclusive_mode": "its compute mode lets one program only use it",
}
