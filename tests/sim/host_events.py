"""Events of the simulated host: processes end, devices and partitions change, and faults begin and end."""

from __future__ import annotations

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import FastGPUError, InternalError
from fastgpu_jupyter.pool.composition import PoolServices
from tests.sim.clients import Clients
from tests.sim.host import PROCESS_BYTES, SPECS, SimulatedProcess
from tests.sim.simulated_devices import MIG_SPECS
from tests.sim.state import ClientCall, InvariantViolation


class HostEvents(Clients):
    """What happens to the host and to the pool manager."""

    def kill(self) -> None:
        """End a process; sometimes its number is used again at once."""
        if not self.processes:
            return
        process = self.processes.pop(self.rng.randrange(len(self.processes)))
        self.log(f"process {process.pid} ends")
        self.host.kill(process)
        if self.rng.random() < 0.5:
            self.spawn(process.pid)

    def start_child(self) -> None:
        """Start a child of a kernel that has memory on the device and may outlive the kernel."""
        active = [name for name, lease_seen in self.observed.items() if lease_seen.state is LeaseState.ACTIVE]
        if active:
            name = self.rng.choice(active)
            services = self.services
            # The lease has to be active now; when it was read last it may have been active.
            store = services.store if services else None
            lease = store.state.leases.get(name) if store and not store.commit_lock.locked() else None
            if lease is not None and lease.state is LeaseState.ACTIVE:
                child = self.host.spawn(lease_id=name)
                gpu = lease.logical_gpu
                child.partition = gpu.driver_handle if gpu is not None and gpu.partition is not None else ""
                exists = not child.partition or self.host.partitions.has(child.partition)
                child.device_ids = gpu.device_ids if gpu is not None and exists else ()
                child.hidden = self.rng.random() < 0.3
                self.children.append(child)

    def end_child(self) -> None:
        """End a child of a kernel, and its memory on the device with it."""
        if self.children:
            self.host.kill(self.children.pop(self.rng.randrange(len(self.children))))

    def report_memory(self, device_id: str | None = None) -> None:
        """Report, as the monitor of processes does, how much memory of a device is in use without a visible owner."""
        name = device_id or self.rng.choice((*SPECS, *MIG_SPECS)).id
        if self.services is not None:
            self.start_task(self._report_memory(self.services, name))

    async def _report_memory(self, services: PoolServices, device_id: str) -> None:
        try:
            await services.commands.submit(self._memory_report(device_id))
        except FastGPUError as fault:
            if isinstance(fault, InternalError) and not self.has_bug:
                self.violation = self.violation or InvariantViolation(f"internal error: {fault}")

    def _memory_report(self, device_id: str) -> c.ReportUnownedMemory:
        processes = self.host.processes.values()
        listed = 0 if self.host.faults.unlisted else sum(self._is_on(one, device_id) for one in processes)
        device = self.services.store.state.devices.get(device_id) if self.services is not None else None
        known = None if device is None else device.unaccounted
        unowned_bytes = self.host.in_use_bytes(device_id) - listed * PROCESS_BYTES
        return c.ReportUnownedMemory(device_id, unowned_bytes, left_by=known.lease_id if known else None)

    @staticmethod
    def _is_on(process: SimulatedProcess, device_id: str) -> bool:
        return device_id in process.device_ids and not process.hidden

    def change_devices(self) -> None:
        """Hide a device or show it again."""
        device = self.rng.choice((*SPECS, *MIG_SPECS)).id
        if device in self.host.shown:
            self.host.hide(device)
        else:
            self.host.show(device)
        self.log(f"devices shown: {sorted(self.host.shown)}")
        if self.rng.random() < 0.5 and self.services is not None:
            self.submit(ClientCall(f"key-{self.next_number()}", self._current_devices, "devices"))
        if device in self.host.hidden_since_ms and self.rng.random() < 0.2:
            self.host.ever_lost.add(device)
            self.submit(ClientCall(f"key-{self.next_number()}", lambda: c.ForgetDevice(device), "forget"))

    def _current_devices(self) -> c.Command:
        """Return what the driver answers now."""
        return c.ReportNoAnswer() if self.host.faults.no_answer else c.SetDevices(tuple(self.driver.inventory()[0]))

    def change_partitions(self) -> None:
        """Create or destroy a partition, as an administrator does who does not use the pool."""
        device_id, partitions = self.rng.choice(MIG_SPECS).id, self.host.partitions
        if device_id in partitions.hidden:
            return
        # While a write is in progress it is not known which partitions are promised.
        if self.rng.random() < 0.6 and not (self.services is not None and self.services.store.commit_lock.locked()):
            self.log(f"an administrator creates {partitions.create_foreign(device_id, self.promised_partitions())}")
            return
        gone = partitions.destroy_any(device_id)
        self.log(f"an administrator destroys {gone}")
        if gone is not None:
            self.host.ever_lost.add(device_id)

    def inject_fault(self) -> None:
        """Begin or end a fault of the disk, of the devices or of the pool manager."""
        faults = self.host.faults
        what = self.rng.choice(
            (
                "full",
                "full",
                "late",
                "crash",
                "crash",
                "crash",
                "crash on device",
                "partitions",
                "refuse",
                "blind",
                "no answer",
                "unlisted",
                "slow",
            )
        )
        match what:
            case "full":
                faults.disk_full = True
                faults.late = self.rng.random() < 0.3  # the first write once there is room
                faults.unread = self.rng.random() < 0.5
                self.time_may_be_lost = True
            case "late":
                faults.late, faults.unread = True, self.rng.random() < 0.5
                self.time_may_be_lost = True
            case "crash":
                faults.crash_at = self.rng.choice(("insert", "commit", "committed"))
            case "crash on device":
                faults.crash_at = self.rng.choice(("created", "completed", "destroyed"))
            case "partitions":
                self.host.partitions.fail_s = self.rng.choice((0.0, 0.2, 0.8))
                self.host.partitions.busy_s = self.rng.choice((0.0, 0.3, 0.9))
            case "refuse":
                faults.refuse_s = self.rng.choice((0.0, 0.3, 1.0))
            case "blind":
                faults.blind = not faults.blind
            case "no answer":
                faults.no_answer = not faults.no_answer
            case "unlisted":
                faults.unlisted = not faults.unlisted
            case "slow":
                faults.slow = not faults.slow
        self.log(f"faults: {faults}")

    def inject_bug(self) -> None:
        """Let the pool manager fail with an internal error after it has applied a part of a command."""
        if self.services is None or self.has_bug or self.services.faults.message is not None:
            return
        self.log("internal error")
        self.has_bug = True
        pool = self.services.store.pool

        def fail(_: object, **_options: object) -> None:
            del pool.advance
            raise InternalError("impossible")

        pool.advance = fail  # type: ignore[method-assign, assignment]
