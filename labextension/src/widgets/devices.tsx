/**
 * The devices of the pool: who holds what of each, and how it does.
 */

import * as React from 'react';

import { formatMemory, formatMemoryOf, formatMoney, formatPercent, shortModel } from '../format';
import type { IDevice, IHolding, IPool } from '../leases/lease';
import { notebookName } from '../texts';
import type { IWriting } from './context';
import { Meter, Section, Tag } from './parts';

export function DevicesSection(
  props: IWriting & {
    readonly devices: ReadonlyArray<IDevice>;
    readonly pool: IPool;
  }
): React.JSX.Element {
  const { devices, pool, trans, language } = props;
  return (
    <Section title={trans.__('Devices')} count={devices.length}>
      {devices.length === 0 ? (
        <p className="fg-Empty">
          {trans.__(
            'This pool has no GPU. Notebooks still start; their cells run on the CPU or wait.'
          )}
        </p>
      ) : (
        <ul className="fg-List fg-mod-wide">
          {devices.map(device => (
            <li key={device.id} className="fg-Card">
              <Device device={device} currency={pool.currency} trans={trans} language={language} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Device(
  props: IWriting & { readonly device: IDevice; readonly currency: string }
): React.JSX.Element {
  const { device, currency, trans, language } = props;
  const used = device.memory_used_bytes;
  const rate = formatMoney(device.rate_micro_per_hour, currency, language);
  return (
    <>
      <div className="fg-Card-head">
        <span className="fg-Card-name fg-ellipsis" title={`${device.model}\n${device.id}`}>
          <span className="fg-dim">{device.index}</span> {shortModel(device.model)}
        </span>
        <HealthTag device={device} trans={trans} />
      </div>
      <div className="fg-Facts">
        <span>{formatMemory(device.memory_bytes, language)}</span>
        <span>{trans.__('%1 per hour', rate)}</span>
        {device.simulated && <SimulatedFact trans={trans} />}
      </div>
      {device.health !== 'healthy' && device.health_reason && (
        <p className="fg-Note" data-kind={device.health === 'faulty' ? 'error' : 'warning'}>
          {device.health_reason}
        </p>
      )}
      {device.foreign.map(one => (
        <p key={one.pid} className="fg-Note" data-kind="warning">
          {trans.__(
            'Process %1 of %2 has memory here (%3) and no lease of this GPU.',
            one.pid,
            one.user,
            one.memory_bytes === null ? trans.__('unknown') : formatMemory(one.memory_bytes, language)
          )}
        </p>
      ))}
      <Holdings device={device} trans={trans} language={language} />
      <div className="fg-Rows">
        <Meter
          label={trans.__('GPU')}
          value={device.utilization_percent}
          max={100}
          text={
            device.utilization_percent === null
              ? trans.__('unknown')
              : formatPercent(device.utilization_percent, language)
          }
          title={trans.__('Utilization of the whole device')}
        />
        <Meter
          label={trans.__('Memory')}
          value={used}
          max={device.memory_bytes}
          text={used === null ? trans.__('unknown') : formatMemoryOf(used, device.memory_bytes, language)}
          title={trans.__('Memory in use on the whole device')}
        />
      </div>
    </>
  );
}

/** One of the facts about a device or a lease. */
export function SimulatedFact(props: Pick<IWriting, 'trans'>): React.JSX.Element {
  return (
    <span className="fg-Simulated" title={simulatedMeaning(props.trans)}>
      {props.trans.__('simulated')}
    </span>
  );
}

/** Stands by itself, for the whole pool. */
export function SimulatedTag(props: Pick<IWriting, 'trans'>): React.JSX.Element {
  return (
    <Tag kind="simulated" title={simulatedMeaning(props.trans)}>
      {props.trans.__('simulated')}
    </Tag>
  );
}

function simulatedMeaning(trans: IWriting['trans']): string {
  return trans.__('There is no real GPU behind this: its use and its times are made up.');
}

function HealthTag(
  props: Pick<IWriting, 'trans'> & { readonly device: IDevice }
): React.JSX.Element | null {
  const { device, trans } = props;
  if (device.health === 'faulty') {
    return (
      <Tag kind="error" title={device.health_reason ?? trans.__('Nothing is granted on this device.')}>
        {trans.__('faulty')}
      </Tag>
    );
  }
  if (device.drained) {
    return (
      <Tag kind="warning" title={trans.__('Running leases stay; nothing new is granted here.')}>
        {trans.__('drained')}
      </Tag>
    );
  }
  return device.health === 'suspect' ? (
    <Tag
      kind="warning"
      title={device.health_reason ?? trans.__('Nothing new is granted on this device.')}
    >
      {trans.__('suspect')}
    </Tag>
  ) : (
    <Tag kind="ok">{trans.__('healthy')}</Tag>
  );
}

/** Who holds what: a bar with a pattern for each kind, and the same in words under it. */
function Holdings(props: IWriting & { readonly device: IDevice }): React.JSX.Element {
  const { device, trans, language } = props;
  const parts = device.holdings.filter(holding => holding.memory_bytes > 0);
  const held = (mine: boolean) =>
    parts
      .filter(holding => holding.mine === mine)
      .reduce((sum, holding) => sum + holding.memory_bytes, 0);
  const [own, others, free] = [held(true), held(false), device.memory_free_bytes];
  const legend = [
    { kind: 'mine', bytes: own, name: trans.__('yours') },
    { kind: 'other', bytes: others, name: trans.__('others') },
    { kind: 'free', bytes: free, name: trans.__('free') }
  ].filter(entry => entry.bytes > 0 || entry.kind === 'free');
  const inWords = legend
    .map(entry => `${formatMemory(entry.bytes, language)} ${entry.name}`)
    .join(', ');
  // The held parts may add up to more than the device where memory is shared: the bar then shows proportions.
  const total = Math.max(device.memory_bytes, own + others, 1);
  return (
    <div className="fg-Holdings">
      <div
        className="fg-Holdings-bar"
        role="img"
        aria-label={trans.__('Promised memory: %1', inWords)}
      >
        {sortedByOwner(parts).map((holding, index) => (
          <div
            key={holding.lease_id ?? `other-${index}`}
            className="fg-Holdings-part"
            data-kind={holding.mine ? 'mine' : 'other'}
            style={{ width: `${(holding.memory_bytes / total) * 100}%` }}
            title={`${holdingName(holding, props)}: ${formatMemory(holding.memory_bytes, language)}`}
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

function sortedByOwner(holdings: ReadonlyArray<IHolding>): ReadonlyArray<IHolding> {
  return [...holdings].sort((a, b) => Number(b.mine) - Number(a.mine));
}

function holdingName(holding: IHolding, { trans }: Pick<IWriting, 'trans'>): string {
  if (holding.mine) {
    return trans.__('%1 (you)', notebookName(holding, trans));
  }
  return holding.tenant ?? trans.__('somebody else');
}
