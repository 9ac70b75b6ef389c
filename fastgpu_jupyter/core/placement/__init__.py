"""Placement: which devices serve a request, and which of several choices costs other requests least.

    Requirements ── eligibility, mechanisms ──> which devices could serve, and by which mechanism
         │ placer
         ▼
      Demand ────────────┐
                         ▼
    recent demands ──> cost of each choice, by shadow prices ──> Placement ──> LogicalGPU
                         ▲                                       the cheapest
    State ── placer ──> capacity: hosts, devices, what is free

Terms:

- **Demand**: the resources that a request takes, as numbers: units of one device or whole devices of one host, and
  processors and memory of that host.
- **Bin**: a thousandth of a device. Values are tabulated by bins; capacity itself is counted in bytes.
- **Packing value** of n free bins: what the frequent demands that still fit into them would use up of a device.
- **Remainder value**: the packing value, less a penalty for the frequent demands that n bins are too small for.
- **Opportunity cost** of a placement: the remainder value that its devices lose, plus the cost of processors that GPUs
  of that host would lack.
- **Kind**: what some frequent demands need, and only a part of the pool has: devices of certain classes, or several
  devices of one host with so many processors. It is **scarce** while the free capacity that could serve it is at most
  twice what it usually takes of all free capacity, and one more demand.
- **Device class**: devices that no frequent demand tells apart, so that they have the same remainder values.
- **Bucket**: the hosts that have a device of one class with the same number of free bins. A placement costs the same
  on all of them, up to the cost of processors and what scarce kinds could use.
- **Exclusion**: what is reserved for other requests on a host, and what a placement must leave alone.

Algorithms:

- The packing values are the *Gilmore-Gomory duals* of the cutting-stock problem: devices are cut into the frequent
  sizes with as few devices as possible, and the dual variable of a size is the part of a device that it really uses up
  (:mod:`.cutting_stock`, :mod:`.shadow_prices`).
- The policy takes the choice with the lowest *opportunity cost*, first among those that leave alone what scarce kinds
  could use (:mod:`.scarcity`). Its definition is a scan over all hosts (:mod:`.reference`); large pools get the same
  answer from buckets (:mod:`.capacity_index`).
- A partition of a device in MIG mode goes to the fullest device that has room (:mod:`.mig_index`), and starts there
  where the most room for larger partitions is left (:mod:`.mig_geometry`).
- For a request that fits nowhere, :mod:`.nearest_fit` names the devices that will serve it soonest, and
  :mod:`.relocation` a lease to relocate so that it fits.

An example. Requests for 320 and 650 thousandths fit together on a device, two of 470 do as well, and nothing fits
beside 810. So 650 uses up two thirds of a device, and 810 all of it:

    >>> from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
    >>> from fastgpu_jupyter.core.placement.demand import Demand, Placement
    >>> from fastgpu_jupyter.core.placement.shadow_prices import DEVICE_VALUE, estimate_shadow_prices
    >>> frequent = {Demand(units=units): count for units, count in ((810, 10), (650, 5), (470, 8), (320, 9))}
    >>> prices = estimate_shadow_prices({Demand(): 30, **frequent}, capacity=1000)
    >>> {bins: round(prices.packing_value[bins] / DEVICE_VALUE, 2) for bins in (190, 320, 470, 650, 810)}
    {190: 0.0, 320: 0.33, 470: 0.5, 650: 0.67, 810: 1.0}

Device x has 470 thousandths free and device y 650. A demand of 320 fits most tightly on x, and goes there where nothing
is known of other demands. With these shadow prices it goes to y: that costs a third of a device, because another 320
still fits there, while on x it would cost the half that a demand of 470 could have had:

    >>> def device_for_320(prices):
    ...     index = CapacityIndex(prices)
    ...     index.add_host("host")
    ...     for device_id, used in (("x", 530), ("y", 350)):
    ...         index.add_device(device_id, "host", "A100", 1000)
    ...         index.allocate(Placement("host", (device_id,), used), Demand(units=used))
    ...     return index.place(Demand(units=320)).device_ids[0]
    >>> device_for_320(None), device_for_320(prices)
    ('x', 'y')

Opportunity costs compare devices. Requests for two devices need a host with two free ones, so they are a kind. A demand
of 470 would use up two thirds of a device where 650 are free, and half of a free device; it takes the free one as long
as there are plenty of hosts with two, and the other one when such hosts are scarce:

    >>> prices = estimate_shadow_prices({**frequent, Demand(): 30, Demand(devices=2): 2}, capacity=1000)
    >>> def host_for_470(pairs):
    ...     index = CapacityIndex(prices)
    ...     for host, devices in (("part", 1), *((f"pair {n}", 2) for n in range(pairs))):
    ...         index.add_host(host)
    ...         for n in range(devices):
    ...             index.add_device(f"{host}/{n}", host, "A100", 1000)
    ...     index.allocate(Placement("part", ("part/0",), 350), Demand(units=350))
    ...     return index.place(Demand(units=470)).host_id
    >>> host_for_470(pairs=9), host_for_470(pairs=1)
    ('pair 0', 'part')

Everything here follows from the state and from nothing else: the same state gives the same placement, whatever happened
before and in whatever order hosts were added.
"""
