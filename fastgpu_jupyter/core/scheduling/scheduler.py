"""Who is granted what, next: the order of the queue and the devices that are kept for its head.

The order is that of :class:`~core.scheduling.queue.Rank`: first who waited too long (:mod:`.line`), then by
priority class, then the tenant that stands first (:mod:`.fairshare`), then by arrival. Requests that want the same
stand in one line, because what serves one of them serves any. Where they are placed is :mod:`.fleet`'s choice.

Before somebody is served out of turn, devices are *kept* for those who come first and cannot be served: nobody behind
them is placed there, so that they get them when they drain. Others go past only on devices that those could not have
anyway (conservative backfill). With the devices, what they need of that host's processors and memory is kept. In a pool
of many hosts that is chosen for one line at a time (:data:`LOOK_EVERY`), when nobody waits for an answer to a grant.

How it is quick: a line that cannot be served stays so until something is freed that it could use. So only *hopeful*
lines, of which that is not known, are placed anywhere; of the others those that fit on a host where there is *news*, on
that host. Ranks that changed by the passing of time alone are looked at with each tick (:meth:`Scheduler.reconsider`):
then nothing is kept any more, and the hosts where something was are news. In a pool of few hosts everybody is looked at
whenever anything happens.

All of this follows from the state and can be made anew from it at any time; nothing here is journalled.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from itertools import islice
from typing import NamedTuple

from ..accounting import budgets, fairshare, reservations
from ..accounting.fairshare import FairShareKey
from ..model.entities import Lease, Priority, Requirements, State
from ..placement import eligibility
from ..placement.capacity_index import HostHeadroom
from ..placement.demand import Exclusion, Placement
from ..placement.eligibility import Devices
from ..placement.placer import SHADOW_PRICES_EVERY, Placer
from . import defragmentation
from .queue import LAST, Candidate, Queue, Rank, RequestClass, aging_grants, is_overdue

#: For how many of those who wait room is made at once.
UNSERVED_MAX = 256
#: Lines at the head of the queue that devices are kept for.
BACKFILL_CLASSES_MAX = 16
#: In a large pool, grants between two looks at who else should have something kept: most are served sooner than that.
RESERVE_EVERY = 16
#: Lines that are compared all at once.
FEW_CLASSES = 24
_AFTER_ALL = 1 << 62  #: more than the number of any line
#: Hosts up to which everything is looked at anew whenever anything is freed.
FEW_HOSTS = 8


class _DirtyHost:
    """A host that has more room than when it was last looked at."""

    __slots__ = ("failed", "fitting", "headroom")

    def __init__(self, failed: Iterable[RequestClass] = ()) -> None:
        self.headroom: HostHeadroom | None = None  #: what it has free, once that was looked at
        self.fitting: set[RequestClass] | None = None  #: lines that may fit
        self.failed = set(failed)  #: lines that were found not to


class BackfillReservation(NamedTuple):
    """What is kept for the best of a line, and how it stood."""

    place: Placement
    kept: Exclusion
    rank: Rank


class Scheduler:
    """The queue and the devices of one state, indexed for quick decisions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._now_ms = state.last.ms
        self._aging_grants = aging_grants(state)
        self._waiting = Queue(self._standing, self._is_overdue)
        self._gone: list[Lease] = []  #: who is to be taken out of it, when it is next looked at
        self._standings: dict[str, FairShareKey] = {}  #: those of this instant
        self._happened = False  #: whether anybody came, went or gave back since everything was looked at
        self._looked = 0  #: how many grants there had been when somebody was last chosen to have something kept
        self._limited: set[str] = set()  #: tenants that hold all that they may have
        self._refused: dict[RequestClass, set[str]] = {}  #: tenants who get nothing of what a line wants, this time
        self._blocked_classes: set[RequestClass] = set()  #: lines in which only those wait
        self._renew()
        for lease_id in state.queue:
            self.enqueue(state.leases[lease_id])

    def _renew(self) -> None:
        """Make the books anew; needed when hosts or devices have come or gone."""
        self._take_out()
        self._stale = False
        self._placer = Placer(self._state)
        self._learned = len(self._state.recent_requests)
        self._few_hosts = len({device.spec.host_id for device in self._state.devices.values()}) <= FEW_HOSTS
        self._entered: set[RequestClass] = set()
        self._by_share: list[tuple[int, int, RequestClass]] = []  #: lines by the least that they take of a device
        #: Lines that nobody has tried to serve since they might be.
        self._candidate_classes: set[RequestClass] = set()
        self._dirty_hosts: dict[str, _DirtyHost] = {}
        self._backfill: dict[RequestClass, BackfillReservation] = {}
        self._backfill_by_host: dict[str, int] = {}  #: for how many of those lines, by host
        for line in self._queue.lines.values():
            self._enter(line)

    # -- what happened ------------------------------------------------------------------------------------------------

    def enqueue(self, lease: Lease) -> None:
        """``lease`` begins to wait."""
        self._happened = True
        line = self._queue.add(lease)
        if line not in self._entered:
            self._enter(line)
        elif self._backfill and line not in self._candidate_classes and self._precedes_a_reservation(lease):
            self._candidate_classes.add(line)
        if lease.tenant in self._limited:
            self._lift(lease.tenant)  # it may ask for less, or come first
        if line in self._blocked_classes:
            self._blocked_classes.discard(line)
            self._candidate_classes.add(line)
        if (
            len(self._state.recent_requests) != self._learned
            and len(self._state.recent_requests) % SHADOW_PRICES_EVERY == 0
        ):
            self._learn()

    def dequeue(self, lease: Lease) -> None:
        """``lease`` waits no longer: it was granted, or gave up."""
        self._happened = True
        self._gone.append(lease)
        line = self._waiting.line_of(lease)
        line.since = self._state.generations
        if line in self._backfill:
            self._release(line)
        if lease.tenant in self._limited:
            self._lift(lease.tenant)

    @property
    def _queue(self) -> Queue:
        """Those who wait."""
        if self._gone:
            self._take_out()
        return self._waiting

    def _take_out(self) -> None:
        """Let those go who left. Not at once: who was granted something has nothing of it, and somebody may wait."""
        for lease in self._gone:
            line = self._waiting.remove(lease)
            if not line.tickets:
                self._entered.discard(line)
                del self._by_share[bisect_left(self._by_share, (line.host_filter.share, line.number))]
                self._blocked_classes.discard(line)
                self._drop({line})
        self._gone.clear()

    def usage_decreased(self, tenant: str) -> None:
        """``tenant`` holds less, or is entitled to more."""
        books = self._state.tenants.get(tenant)
        group = books.group if books else None
        members = [tenant]
        if group is not None:
            tenants = self._state.tenants
            members = [name for name in self._queue.tenants() if name in tenants and tenants[name].group == group]
        self._standings.clear()
        for member in members:
            self._queue.refresh(member)
            if member in self._limited:
                self._lift(member)

    def entitlements_changed(self) -> None:
        """What tenants or groups are entitled to has changed."""
        self._standings.clear()
        for tenant in self._queue.tenants():
            self._queue.refresh(tenant)
        self.reconsider()

    def devices_changed(self, device_ids: Collection[str]) -> None:
        """What is promised of devices has changed, or what of that is being given back."""
        if self._stale:
            return
        self._happened = True
        devices, news, follow = self._state.devices, self._dirty_hosts, self._placer.follow
        for device_id in device_ids:
            device = devices.get(device_id)
            if device is None:
                self.inventory_changed()
                return
            host_id = device.spec.host_id
            if follow(device):
                news[host_id] = _DirtyHost()
            elif host_id in news:
                news[host_id] = _DirtyHost(news[host_id].failed)  # it has less than before: nobody fits who did not

    def availability_changed(self, device_id: str) -> None:
        """A device went out of service, or came back."""
        self.devices_changed((device_id,))
        if self._stale:
            return
        for line in [line for line, keep in self._backfill.items() if device_id in keep.place.device_ids]:
            self._release(line)
        self._dirty_hosts[self._placer.host_of(device_id)] = _DirtyHost()

    def inventory_changed(self) -> None:
        """Hosts or devices have come, gone or become others."""
        self._stale = True

    def reconsider(self) -> None:
        """Look anew at everybody who could be served if nothing were kept and nobody limited."""
        self._dirty_hosts.update((host_id, _DirtyHost()) for host_id in self._backfill_by_host)
        self._backfill.clear()
        self._backfill_by_host.clear()
        self._limited.clear()
        self._candidate_classes |= self._blocked_classes
        self._blocked_classes.clear()
        if self._few_hosts or self._state.reservations:
            self._dirty_hosts.clear()
            self._candidate_classes.update(self._queue.lines.values())

    # -- what follows -------------------------------------------------------------------------------------------------

    def next_grant(self, now_ms: int) -> tuple[Lease, Requirements, Devices] | None:
        """The one to be granted next, what it wants and its devices, or ``None`` where everybody who waits has to."""
        self._look(now_ms)
        if not self._candidate_classes and not self._dirty_hosts:
            return None
        guard = reservations.reservation_guard(self._state)
        self._refused.clear()
        while (found := self._first()) is not None:
            lease = found.lease
            if not self._may_have_more(lease):
                if self._blocks_its_own(lease):
                    self._limited.add(lease.tenant)
                else:
                    self._refused.setdefault(found.line, set()).add(lease.tenant)
                continue
            place = self._place(found, guard)
            if place is None:
                self._drop({found.line})
                continue
            devices = self._placer.devices(place)
            if not self._within_limit(lease, devices):
                self._limited.add(lease.tenant)
            elif not guard.leaves_room(lease, devices):
                # What others have reserved is in its way, and in that of its like.
                self._refused.setdefault(found.line, set()).update(guard.affected_tenants(lease))
            else:
                return lease, found.line.requirements, devices
        return None

    def do_idle_work(self) -> None:
        """Nobody waits for an answer to a grant: do a little of what the next one would else have to do first."""
        self._take_out()
        if self._stale:
            return
        if not self._few_hosts and self._state.generations - self._looked >= RESERVE_EVERY:
            self._reserve_for_next_head()
        self._placer.index.settle()

    def lease_to_migrate(self, parkable: Iterable[str], now_ms: int) -> Lease | None:
        """The lease to move to another device so that one that waits fits, if there is one."""
        unserved = (lease for lease, _ in self.unserved(now_ms))
        return defragmentation.select_lease_to_migrate(self._state, self._placer, unserved, parkable, now_ms)

    def highest_priority(self) -> Priority:
        """The highest priority class of those who wait."""
        return self._queue.highest_priority()

    def unserved(self, now_ms: int) -> Iterator[tuple[Lease, tuple[str, ...]]]:
        """Those who would be served next if there were room, one of each tenant, and the devices kept for its like."""
        self._look(now_ms)
        guard = reservations.reservation_guard(self._state)
        limited: set[str] = set()
        for lease, line in islice(self._queue.heads(), UNSERVED_MAX):
            if lease.tenant in limited:
                continue
            if not self._may_have_more(lease):
                limited.update([lease.tenant] if self._blocks_its_own(lease) else [])
            elif guard.may_hope(lease):
                yield lease, self._backfill[line].place.device_ids if line in self._backfill else ()

    def _look(self, now_ms: int) -> None:
        self._now_ms = max(self._now_ms, now_ms)
        self._aging_grants = aging_grants(self._state)
        self._standings.clear()
        if self._stale:
            self._renew()
        if self._happened and (self._few_hosts or self._state.reservations):
            self.reconsider()
        self._happened = False

    def _first(self) -> Candidate | None:
        """The best of those who can perhaps be served."""
        if not self._candidate_classes and len(self._dirty_hosts) == 1:
            ((host_id, news),) = self._dirty_hosts.items()
            if host_id not in self._backfill_by_host:
                return self._first_on(host_id, news)
        self._take_out()
        among = set(self._candidate_classes)
        for host_id, news in list(self._dirty_hosts.items()):
            fitting = self._fitting(host_id, news)
            if fitting:
                among |= fitting
            else:
                del self._dirty_hosts[host_id]
        return self._best_of(among)

    def _best_of(self, among: Collection[RequestClass]) -> Candidate | None:
        found = self._queue.best(among, self._limited, self._refused) if among else None
        if found is None:
            self._blocked_classes.update(among)
            self._drop(among)
        return found

    def _first_on(self, host_id: str, news: _DirtyHost) -> Candidate | None:
        """The same where there is news of one host only, and nothing kept there: the usual case."""
        offer = news.headroom = news.headroom or self._placer.headroom(host_id)
        count = bisect_right(self._by_share, (offer.bins, _AFTER_ALL)) if offer.most else 0
        if count > FEW_CLASSES:
            # One after the other, because soon one fits.
            for line in _that_fit(self._queue.by_first, offer):
                lease = line.first
                if not self._is_overdue(lease):
                    break
                refused = lease.tenant in self._limited or lease.tenant in self._refused.get(line, ())
                if line not in news.failed and not refused:
                    return Candidate(Rank.overdue(lease), lease, line)
        fitting = [line for line in _that_fit(self._by_share[:count], offer) if line not in news.failed]
        if not fitting:
            del self._dirty_hosts[host_id]
            return None
        if self._gone:
            self._take_out()
            fitting = [line for line in fitting if line.tickets]
        return self._best_of(fitting)

    def _fitting(self, host_id: str, news: _DirtyHost) -> set[RequestClass]:
        """The lines of which somebody may perhaps be served on a host."""
        if news.fitting is None:
            news.fitting = self._fit(host_id, news) - news.failed
        return news.fitting

    def _fit(self, host_id: str, news: _DirtyHost) -> set[RequestClass]:
        offer = news.headroom = news.headroom or self._placer.headroom(host_id)
        some = self._by_share[: bisect_right(self._by_share, (offer.bins, _AFTER_ALL))] if offer.most else []
        lines = set(_that_fit(some, offer))
        if host_id not in self._backfill_by_host or not lines:
            return lines
        here = dict(self._backfill_on(host_id))
        # What is kept there is for those whom it is kept for, and for those who come before them.
        first, *more = (keep.kept for keep in here.values())
        do_idle_work = self._placer.headroom(host_id, reduce(Exclusion.combined_with, more, first))
        fit = {line for line in lines if line in here or line.host_filter.fits(do_idle_work)}
        last = max(self._rank_of(line, keep) for line, keep in here.items())
        others = lines - fit
        best = self._queue.best(others, self._limited, self._refused) if others else None
        return lines if best is not None and best.rank < last else fit

    def _drop(self, lines: Collection[RequestClass]) -> None:
        """Nobody in those lines can be served, as far as is known."""
        self._candidate_classes.difference_update(lines)
        for news in self._dirty_hosts.values():
            news.failed.update(lines)
            if news.fitting is not None:
                news.fitting.difference_update(lines)

    def _place(self, found: Candidate, guard: reservations.ReservationGuard) -> Placement | None:
        """Where the best of the candidates goes, once devices are kept for those who come before it."""
        line, demand = found.line, found.line.host_filter.demand
        if demand is None:
            return None
        if self._few_hosts and len(self._backfill) < BACKFILL_CLASSES_MAX:
            for other in self._queue.ahead(found.rank, BACKFILL_CLASSES_MAX):
                if other is not line and other not in self._backfill:
                    self._reserve_for_head(other, guard)
                    if len(self._backfill) >= BACKFILL_CLASSES_MAX:
                        break
        if line not in self._candidate_classes:
            hosts = list(self._dirty_hosts)
            if len(hosts) > 1:
                hosts = [host_id for host_id, news in self._dirty_hosts.items() if self._is_news_for(line, news)]
            if len(hosts) == 1:
                return self._placer.place_on(
                    hosts[0], line.requirements, demand, self._excluded_on(found.rank, hosts[0])
                )
        return self._placer.place(line.requirements, demand, self._excluded(found.rank))

    def _is_news_for(self, line: RequestClass, news: _DirtyHost) -> bool:
        if news.fitting is not None:
            return line in news.fitting
        return news.headroom is not None and line not in news.failed and line.host_filter.fits(news.headroom)

    # -- what is kept -------------------------------------------------------------------------------------------------

    def _reserve_for_next_head(self) -> None:
        """In a large pool: keep something for the first who has waited for several grants and has nothing kept."""
        now = self._looked = self._state.generations
        if len(self._backfill) < BACKFILL_CLASSES_MAX:
            for line in self._queue.ahead(LAST, BACKFILL_CLASSES_MAX):
                if line not in self._backfill and now - line.since >= RESERVE_EVERY:
                    self._reserve_for_head(line, reservations.reservation_guard(self._state))
                    return

    def _reserve_for_head(self, line: RequestClass, guard: reservations.ReservationGuard) -> None:
        """Choose the devices that will serve the best of the line soonest, unless others came first."""
        demand, best = line.host_filter.demand, self._best_entitled(line, guard)
        if demand is not None and best is not None:
            place = self._placer.nearest(line.requirements, demand, self._excluded(best.rank))
            if place is not None:
                kept = Exclusion(frozenset(place.device_ids), demand.cpu_milli, demand.host_memory_bytes)
                self._backfill[line] = BackfillReservation(place, kept, best.rank)
                self._backfill_by_host[place.host_id] = self._backfill_by_host.get(place.host_id, 0) + 1

    def _best_entitled(self, line: RequestClass, guard: reservations.ReservationGuard) -> Candidate | None:
        """The best of a line who may have so much more: for others nothing is kept."""
        beyond = {*self._limited, *self._refused.get(line, ())}
        while (found := self._queue.best((line,), beyond)) is not None:
            if not self._may_have_more(found.lease):
                beyond.add(found.lease.tenant)
            elif not guard.may_hope(found.lease):
                beyond |= {*guard.affected_tenants(found.lease), found.lease.tenant}
            else:
                return found
        return None

    def _release(self, line: RequestClass) -> None:
        host_id = self._backfill.pop(line).place.host_id
        self._dirty_hosts[host_id] = _DirtyHost()
        self._backfill_by_host[host_id] -= 1
        if not self._backfill_by_host[host_id]:
            del self._backfill_by_host[host_id]

    def _rank_of(self, line: RequestClass, keep: BackfillReservation) -> Rank:
        """Where the best of a line stood when devices were kept for it, or that it waits too long by now."""
        first = line.first
        return Rank.overdue(first) if self._is_overdue(first) else keep.rank

    def _excluded(self, rank: Rank) -> dict[str, Exclusion]:
        """What is kept for those who come before that rank, by host."""
        before: dict[str, Exclusion] = {}
        for line, keep in self._backfill.items():
            if self._rank_of(line, keep) < rank:
                name = keep.place.host_id
                before[name] = before[name].combined_with(keep.kept) if name in before else keep.kept
        return before

    def _excluded_on(self, rank: Rank, host_id: str) -> Exclusion | None:
        """The same of one host."""
        if host_id not in self._backfill_by_host:
            return None
        here = [keep.kept for line, keep in self._backfill_on(host_id) if self._rank_of(line, keep) < rank]
        return reduce(Exclusion.combined_with, here) if here else None

    def _backfill_on(self, host_id: str) -> list[tuple[RequestClass, BackfillReservation]]:
        return [(line, keep) for line, keep in self._backfill.items() if keep.place.host_id == host_id]

    def _precedes_a_reservation(self, lease: Lease) -> bool:
        """Whether it may have devices that are kept for somebody."""
        rank = Rank.of(lease, self._standing(lease.tenant))
        return any(rank < self._rank_of(line, keep) for line, keep in self._backfill.items())

    # -- tenants ------------------------------------------------------------------------------------------------------

    def _lift(self, tenant: str) -> None:
        """``tenant`` may perhaps have more than it has."""
        self._limited.discard(tenant)
        self._candidate_classes |= self._blocked_classes
        self._blocked_classes.clear()

    def _within_limit(self, lease: Lease, devices: Devices) -> bool:
        if not fairshare.is_limited(self._state, lease.tenant):
            return True
        return fairshare.within_limits(self._state, lease.tenant, eligibility.milli(lease.request.size, devices))

    def _may_have_more(self, lease: Lease) -> bool:
        """Whether its tenant may have so much more, and has the money for it."""
        state = self._state
        if fairshare.is_limited(state, lease.tenant):
            wanted = eligibility.nominal_milli(state, lease.requirements)
            if not fairshare.within_limits(state, lease.tenant, wanted):
                return False
        return budgets.may_spend(state, lease.tenant, self._now_ms)

    def _blocks_its_own(self, lease: Lease) -> bool:
        """Whether one that is more than its tenant may have now holds up what the tenant asked for after it.

        It does so that less is not always there before it, but not where no release of its tenant's would help it.
        """
        wanted = eligibility.nominal_milli(self._state, lease.requirements)
        return fairshare.could_be_within_limits(self._state, lease.tenant, wanted)

    def _standing(self, name: str) -> FairShareKey:
        standing = self._standings.get(name)
        if standing is None:
            standing = self._standings[name] = fairshare.fair_share_key(self._state, name, self._now_ms)
        return standing

    def _is_overdue(self, lease: Lease) -> bool:
        return is_overdue(self._state, lease, self._aging_grants)

    # -- lines --------------------------------------------------------------------------------------------------------

    def _enter(self, line: RequestClass) -> None:
        needs = line.host_filter = self._placer.host_filter(line.requirements)
        self._entered.add(line)
        insort(self._by_share, (needs.share, line.number, line))
        self._candidate_classes.add(line)

    def _learn(self) -> None:
        """Place by what was asked for lately, from now on."""
        self._learned = len(self._state.recent_requests)
        self._placer.estimate_shadow_prices()
        self._entered.clear()
        self._by_share.clear()
        hopeful = set(self._candidate_classes)
        for line in self._queue.lines.values():
            self._enter(line)
        self._candidate_classes = hopeful
        self._dirty_hosts = {host_id: _DirtyHost() for host_id in self._dirty_hosts}


def _that_fit(lines: Iterable[tuple[int, int, RequestClass]], offer: HostHeadroom) -> Iterator[RequestClass]:
    """Lines that may be placed on a host with that to offer, in the order given."""
    if len(offer.most) != 1:
        yield from (entry[2] for entry in lines if entry[2].host_filter.fits(offer))
        return
    ((kind, most),) = offer.most.items()  # the usual case, written out because it is what takes time
    cpu_milli, memory_bytes, whole = offer.cpu_milli, offer.memory_bytes, offer.whole.get(kind, 0)
    for entry in lines:
        needs = entry[2].host_filter
        if (
            needs.cpu_milli <= cpu_milli
            and needs.devices <= whole
            and needs.memory_bytes <= memory_bytes
            and needs.by_kind.get(kind, most + 1) <= most
        ):
            yield entry[2]
