/**
 * The devices of the pool: one item each with the leases on it, which expands to details and history.
 */

import * as React from 'react';

import { allocationName, healthName, unleasedProcessNotes } from '../texts/device';
import { formatMemory, formatMemoryOf, formatMoney, formatPercent, shortModel } from '../texts/format';
import type { AllocationView, DeviceView, PoolClusterView, PoolView } from '../generated/api';
import { isGranting } from '../leases/lease';
import { stateName } from '../texts/lease';
import { messageText } from '../texts/message';
import type { ITextContext } from '../controls/textcontext';
import type { IHistoryProps } from '../controls/historychart';
import { HistoryChart } from '../controls/historychart';
import { Meter, FormattedText, Tag } from '../controls/components';
import { VirtualList } from './virtuallist';

interface IDevicesProps
  extends ITextContext, Pick<IHistoryProps, 'live' | 'now' | 'asTable' | 'onLoadHistory'> {
  readonly pool: PoolView;
}

/** The height of a device before it is measured, in pixels. */
const DEVICE_HEIGHT = 84;

/** The content of the section *Devices*. */
export function DevicesSection(
  props: IDevicesProps & { readonly devices: ReadonlyArray<DeviceView> }
): React.JSX.Element {
  const { devices, trans } = props;
  // Kept here, because a device out of view is not rendered.
  const [opened, setOpened] = React.useState<ReadonlySet<string>>(new Set());
  const toggle = (id: string) => {
    const next = new Set(opened);
    if (!next.delete(id)) {
      next.add(id);
    }
    setOpened(next);
  };
  const cluster = props.pool.cluster ?? null;
  if (cluster !== null) {
    return <ClusterKinds cluster={cluster} trans={trans} />;
  }
  return devices.length === 0 ? (
    <p className="fg-Empty">
      {trans.__('This pool has no GPUs. Notebooks still start; their cells run on the CPU or wait.')}
    </p>
  ) : (
    <VirtualList
      label={trans.__('Devices')}
      className="fg-Devices"
      items={devices}
      keyOf={device => device.id}
      heightOf={() => DEVICE_HEIGHT}
      attributesOf={device => ({ className: 'fg-Item', 'data-device-id': device.id })}
      render={device => (
        <DeviceItem {...props} device={device} isOpen={opened.has(device.id)} onToggle={toggle} />
      )}
    />
  );
}

/** One device. Its details are rendered, and its history is requested, only while it is expanded. */
function DeviceItem(
  props: IDevicesProps & {
    readonly device: DeviceView;
    readonly isOpen: boolean;
    readonly onToggle: (id: string) => void;
  }
): React.JSX.Element {
  const { device, trans, language, isOpen: open } = props;
  const id = React.useId();
  return (
    <>
      <div className="fg-Item-head">
        <h3 className="fg-Item-name">
          <button
            type="button"
            id={`${id}-name`}
            className="fg-Device-toggle"
            aria-expanded={open}
            aria-controls={`${id}-more`}
            title={`${device.model}\n${device.id}`}
            onClick={() => props.onToggle(device.id)}
          >
            <span className="fg-Section-caret" aria-hidden="true" />
            <span className="fg-dim">{device.index}</span>
            <span className="fg-ellipsis">{shortModel(device.model)}</span>
          </button>
        </h3>
        {device.usage.utilization_percent !== null && (
          <span className="fg-Device-utilization" title={trans.__('Utilization of the whole device')}>
            <span className="fg-ScreenReaderOnly">{trans.__('Utilization of the whole device')} </span>
            {formatPercent(device.usage.utilization_percent, language)}
          </span>
        )}
        <HealthTag device={device} trans={trans} language={language} />
      </div>
      {device.health.state !== 'healthy' && device.health.message && (
        <p className="fg-Note" data-kind={device.health.state === 'faulty' ? 'error' : 'warning'}>
          <FormattedText text={messageText(device.health.message, trans, language)} />
        </p>
      )}
      {device.processes_message !== null && open && (
        <p className="fg-Note" data-kind="warning">
          <FormattedText text={messageText(device.processes_message, trans, language)} />
        </p>
      )}
      {unleasedProcessNotes(device, open, trans, language).map((note, index) => (
        <p key={index} className="fg-Note" data-kind="warning">
          {note}
        </p>
      ))}
      <AllocationsBar device={device} trans={trans} language={language} />
      <div id={`${id}-more`} className="fg-Device-more" hidden={!open}>
        {open && <DeviceDetails {...props} />}
      </div>
    </>
  );
}

/** Details of an expanded device: its rate and mechanisms, its leases, current usage and history. */
function DeviceDetails(props: IDevicesProps & { readonly device: DeviceView }): React.JSX.Element {
  const { device, pool, trans, language } = props;
  const used = device.memory.used_bytes;
  return (
    <>
      <div className="fg-Facts">
        <span>{formatMemory(device.memory.total_bytes, language)}</span>
        <span>
          {trans.__('%1 per hour', formatMoney(device.rate_micro_per_hour, pool.currency, language))}
        </span>
        {device.capabilities.mechanisms.length > 0 && !device.simulated && (
          <span title={trans.__('Available mechanisms')}>{device.capabilities.mechanisms.join(', ')}</span>
        )}
        {device.simulated && <SimulatedLabel trans={trans} />}
      </div>
      {device.allocations.length > 0 && (
        <ul className="fg-Holders" aria-label={trans.__('Leases on this device')}>
          {sortedByOwner(device.allocations).map((allocation, index) => (
            <li key={allocation.lease_id ?? `other-${index}`} data-kind={allocation.mine ? 'mine' : 'other'}>
              <span className="fg-Swatch" data-kind={allocation.mine ? 'mine' : 'other'} aria-hidden="true" />
              <span className="fg-ellipsis" title={allocation.notebook ?? undefined}>
                {allocationName(allocation, trans)}
              </span>
              <span className="fg-dim">{stateName(allocation.state, trans).toLowerCase()}</span>
              <span className="fg-Row-value">{formatMemory(allocation.memory_bytes, language)}</span>
            </li>
          ))}
        </ul>
      )}
      <div className="fg-Rows">
        <Meter
          label={trans.__('GPU')}
          value={device.usage.utilization_percent}
          max={100}
          text={
            device.usage.utilization_percent === null
              ? trans.__('unknown')
              : formatPercent(device.usage.utilization_percent, language)
          }
          title={trans.__('Utilization of the whole device')}
        />
        <Meter
          label={trans.__('Memory')}
          value={used}
          max={device.memory.total_bytes}
          text={used === null ? trans.__('unknown') : formatMemoryOf(used, device.memory.total_bytes, language)}
          title={trans.__('Memory in use on the whole device')}
        />
      </div>
      <HistoryChart
        {...props}
        subject={{ kind: 'devices', id: device.id, memoryBytes: device.memory.total_bytes }}
        name={trans.__('GPU %1', device.index)}
      />
    </>
  );
}

/** The label “simulated” among the facts of a device or a lease. */
export function SimulatedLabel(props: Pick<ITextContext, 'trans'>): React.JSX.Element {
  return (
    <span className="fg-Simulated" title={simulatedDescription(props.trans)}>
      {props.trans.__('simulated')}
    </span>
  );
}

/** The tag “simulated” of the whole pool. */
export function SimulatedTag(props: Pick<ITextContext, 'trans'>): React.JSX.Element {
  return (
    <Tag kind="simulated" title={simulatedDescription(props.trans)}>
      {props.trans.__('simulated')}
    </Tag>
  );
}

function simulatedDescription(trans: ITextContext['trans']): string {
  return trans.__('This is not a real GPU: its utilization and its timing are simulated.');
}

function HealthTag(props: ITextContext & { readonly device: DeviceView }): React.JSX.Element {
  const { kind, name, description } = healthName(props.device, props.trans, props.language);
  return (
    <Tag kind={kind} title={description}>
      {name}
    </Tag>
  );
}

/** A bar of the leased memory with a pattern for each kind of holder, and a legend below it. */
function AllocationsBar(props: ITextContext & { readonly device: DeviceView }): React.JSX.Element {
  const { device, trans, language } = props;
  const allocations = device.allocations.filter(allocation => allocation.memory_bytes > 0);
  const held = (mine: boolean) =>
    allocations
      .filter(allocation => allocation.mine === mine)
      .reduce((sum, allocation) => sum + allocation.memory_bytes, 0);
  const [own, others, free] = [held(true), held(false), device.memory.free_bytes];
  const legend = [
    { kind: 'mine', bytes: own, name: trans.__('yours') },
    { kind: 'other', bytes: others, name: trans.__('others') },
    { kind: 'free', bytes: free, name: isGranting(device) ? trans.__('free') : trans.__('not granted') }
  ].filter(entry => entry.bytes > 0 || entry.kind === 'free');
  const description = legend
    .map(entry => `${formatMemory(entry.bytes, language)} ${entry.name}`)
    .join(', ');
  // Leases without a memory limit may add up to more than the device; the bar then shows proportions.
  const total = Math.max(device.memory.total_bytes, own + others, 1);
  return (
    <div className="fg-Allocations">
      <div
        className="fg-Allocations-bar"
        role="img"
        aria-label={trans.__('Leased memory: %1', description)}
      >
        {sortedByOwner(allocations).map((allocation, index) => (
          <div
            key={allocation.lease_id ?? `other-${index}`}
            className="fg-Allocations-part"
            data-kind={allocation.mine ? 'mine' : 'other'}
            style={{ width: `${(allocation.memory_bytes / total) * 100}%` }}
            title={`${allocationName(allocation, trans)}: ${formatMemory(allocation.memory_bytes, language)}`}
          />
        ))}
      </div>
      <ul className="fg-Legend" aria-hidden="true">
        {legend.map(entry => (
          <li key={entry.kind}>
            <span className="fg-Swatch" data-kind={entry.kind} />
            {formatMemory(entry.bytes, language)} {entry.name}
          </li>
        ))}
      </ul>
    </div>
  );
}

function sortedByOwner(allocations: ReadonlyArray<AllocationView>): ReadonlyArray<AllocationView> {
  return [...allocations].sort((a, b) => Number(b.mine) - Number(a.mine));
}

/** What a cluster offers; which of it is free only the cluster knows. */
export function ClusterKinds({ cluster, trans }: {
  readonly cluster: PoolClusterView;
  readonly trans: ITextContext['trans'];
}): React.JSX.Element {
  const { kinds } = cluster;
  return (
    <div className="fg-Empty">
      {kinds === null || kinds.length === 0
        ? trans.__('The GPUs are on a cluster, which has not said yet what it offers.')
        : trans.__('The GPUs are on a cluster, which says when a request starts. It offers:')}
      <ul>
        {(kinds ?? []).map(kind => (
          <li key={`${kind.model} ${kind.partition}`}>
            {trans.__('%1 in partition %2', `${kind.nodes * kind.per_node_max} × ${shortModel(kind.model)}`, kind.partition)}
          </li>
        ))}
      </ul>
    </div>
  );
}
