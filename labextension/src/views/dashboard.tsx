/**
 * The dashboard in the main area: each device with its leases to scale, and what was leased and waited over time.
 */

import * as React from 'react';

import type { MarkShape } from '../controls/statemark';
import { StateShape } from '../controls/statemark';
import type { ITextContext } from '../controls/textcontext';
import type { DeviceView, LeaseView } from '../generated/api';
import type { IDevicePart } from '../leases/dashboard';
import { deviceParts, totalsOf } from '../leases/dashboard';
import type { TimeRange } from '../leases/history';
import type { Connection, IPoolState } from '../leases/lease';
import { byId } from '../leases/lease';
import type { IPoolSample } from '../leases/record';
import { failureTexts } from '../texts/connection';
import { allocationName, healthName } from '../texts/device';
import {
  formatMemory,
  formatMemoryOf,
  formatPercent,
  formatTime,
  shortModel
} from '../texts/format';
import { notebookName } from '../texts/lease';
import { ClusterKinds, SimulatedTag } from './devices';
import { ClusterLeases } from './clusterleases';
import { PoolHistory } from './poolhistory';
import { SCROLL_CLASS, VirtualList } from './virtuallist';

/** The time ranges of which the page can have a record. */
export const DASHBOARD_RANGES: ReadonlyArray<TimeRange> = ['minutes', 'hour'];

/** The height of a device before it is measured, in pixels. */
const DEVICE_HEIGHT = 50;

/** What the user has chosen, which is restored with the layout. */
export interface IDashboardChoices {
  readonly range: TimeRange;
  readonly asTable: boolean;
}

export interface IDashboardProps extends ITextContext, IDashboardChoices {
  readonly state: IPoolState;
  readonly connection: Connection;
  /** The browser's time of the last message; null before the first. */
  readonly updatedAt: number | null;
  readonly now: number;
  readonly samples: ReadonlyArray<IPoolSample>;
  readonly onChoose: (choices: Partial<IDashboardChoices>) => void;
  readonly onOpenNotebook: (lease: LeaseView) => void;
  readonly onRefresh: () => void;
}

/** The content of the dashboard. */
export function Dashboard(props: IDashboardProps): React.JSX.Element {
  const { state, connection, trans, language } = props;
  const { devices, pool } = state;
  const isStale = connection.kind === 'unreachable';
  const totals = totalsOf(devices);
  const cluster = pool?.cluster ?? null;
  return (
    <div className={`fg-Dashboard-body ${SCROLL_CLASS}`} data-stale={isStale}>
      <div role="status">
        {isStale && (
          <p className="fg-Banner" data-kind="error">
            <strong>{failureTexts(connection.reason, trans).title}</strong>{' '}
            {props.updatedAt !== null &&
              trans.__('What is below is from %1.', formatTime(props.updatedAt, language))}
          </p>
        )}
      </div>
      {pool === null ? (
        !isStale && <p className="fg-Empty">{trans.__('Connecting to the pool manager…')}</p>
      ) : cluster !== null ? (
        <section aria-label={trans.__('Devices')}>
          <div className="fg-Dashboard-head">
            <h2>{trans.__('Devices')}</h2>
            {pool.simulated && <SimulatedTag trans={trans} />}
          </div>
          <ClusterKinds cluster={cluster} trans={trans} />
          <ClusterLeases {...props} />
        </section>
      ) : (
        <>
          <section aria-label={trans.__('Devices')}>
            <div className="fg-Dashboard-head">
              <h2>{trans.__('Devices')}</h2>
              {pool.simulated && <SimulatedTag trans={trans} />}
              <span className="fg-dim">
                {[
                  trans._n('%1 device', '%1 devices', devices.length),
                  formatMemory(totals.totalBytes, language),
                  trans.__('%1 free', formatMemory(totals.freeBytes, language)),
                  trans._n('%1 request waiting', '%1 requests waiting', state.queue.length)
                ].join(' · ')}
              </span>
              <PartsLegend trans={trans} />
            </div>
            <DeviceBars {...props} />
          </section>
          <PoolHistory {...props} totalBytes={totals.totalBytes} />
        </>
      )}
    </div>
  );
}

function PartsLegend({ trans }: Pick<ITextContext, 'trans'>): React.JSX.Element {
  return (
    <ul className="fg-Legend" aria-hidden="true">
      {[
        ['mine', trans.__('yours')],
        ['other', trans.__('others')],
        ['free', trans.__('free')]
      ].map(([kind, name]) => (
        <li key={kind}>
          <span className="fg-Swatch" data-kind={kind} />
          {name}
        </li>
      ))}
    </ul>
  );
}

/** All devices, of which those in view are rendered. */
function DeviceBars(props: IDashboardProps): React.JSX.Element {
  const { state, trans } = props;
  const leases = React.useMemo(() => byId(state.leases), [state.leases]);
  return state.devices.length === 0 ? (
    <p className="fg-Empty">
      {trans.__('This pool has no GPUs. Notebooks still start; their cells run on the CPU or wait.')}
    </p>
  ) : (
    <VirtualList
      label={trans.__('Devices')}
      items={state.devices}
      keyOf={device => device.id}
      heightOf={() => DEVICE_HEIGHT}
      attributesOf={device => ({ className: 'fg-DeviceBar', 'data-device-id': device.id })}
      render={device => <DeviceBar {...props} device={device} parts={deviceParts(device, leases)} />}
    />
  );
}

const HEALTH_SHAPES: Readonly<Record<'ok' | 'warning' | 'error', MarkShape>> = {
  ok: 'disc',
  warning: 'square',
  error: 'fault'
};

/** A device: its name and health, a bar of its memory, and its use. */
function DeviceBar(
  props: IDashboardProps & { readonly device: DeviceView; readonly parts: ReadonlyArray<IDevicePart> }
): React.JSX.Element {
  const { device, parts, trans, language } = props;
  const health = healthName(device, trans, language);
  const { utilization_percent: used } = device.usage;
  const { used_bytes, total_bytes } = device.memory;
  return (
    <>
      <div className="fg-DeviceBar-name">
        <span className="fg-ellipsis" title={`${device.model}\n${device.id}`}>
          <span className="fg-dim">{device.index}</span> <strong>{shortModel(device.model)}</strong>
        </span>
        <span className="fg-DeviceBar-health" title={health.description}>
          <StateShape shape={HEALTH_SHAPES[health.kind]} />
          {health.name}
        </span>
      </div>
      <ul
        className="fg-DeviceBar-parts"
        role="list"
        aria-label={trans.__('Memory of GPU %1', device.index)}
      >
        {parts.map((part, index) => (
          <li
            key={part.allocation?.lease_id ?? `${part.kind}-${index}`}
            data-kind={part.kind}
            style={{ flexBasis: `${100 * part.width}%` }}
            title={partText(part, props)}
          >
            <PartLabel {...props} part={part} />
          </li>
        ))}
      </ul>
      <div className="fg-DeviceBar-use">
        <span>{used === null ? trans.__('unknown') : formatPercent(used, language)}</span>
        <span className="fg-dim">
          {used_bytes === null
            ? trans.__('unknown')
            : formatMemoryOf(used_bytes, total_bytes, language)}
        </span>
      </div>
    </>
  );
}

/** The label of a part; that of the user's own lease opens its notebook. */
function PartLabel(props: IDashboardProps & { readonly part: IDevicePart }): React.JSX.Element {
  const { part, onOpenNotebook } = props;
  const { lease } = part;
  const text = partText(part, props);
  return lease !== null && lease.holder.kernel_id !== null ? (
    <button type="button" aria-label={text} onClick={() => onOpenNotebook(lease)}>
      <span>{text}</span>
    </button>
  ) : (
    <span>{text}</span>
  );
}

function partText({ kind, bytes, allocation, lease }: IDevicePart, { trans, language }: ITextContext): string {
  const memory = formatMemory(bytes, language);
  if (allocation === null) {
    return trans.__('%1 free', memory);
  }
  const name = kind === 'mine' ? notebookName(allocation, trans) : allocationName(allocation, trans);
  return `${name} · ${lease?.request.size ?? memory}`;
}
