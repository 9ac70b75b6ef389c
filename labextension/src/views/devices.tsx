/**
 * The devices of the pool: one row each, with who holds what of it; and unfolded, how it does and did.
 */

import * as React from 'react';

import { foreignNotes, healthName, holdingName, holdingState } from '../texts/device';
import { formatMemory, formatMemoryOf, formatMoney, formatPercent, shortModel } from '../texts/format';
import type { IDevice, IHolding, IPool } from '../leases/lease';
import { isGranting } from '../leases/lease';
import type { IWriting } from './textcontext';
import type { IHistoryProps } from './historychart';
import { HistoryChart } from './historychart';
import { Meter, Said, Section, Tag } from './components';

interface IDevicesProps
  extends IWriting, Pick<IHistoryProps, 'live' | 'now' | 'asTable' | 'onLoadHistory'> {
  readonly pool: IPool;
}

export function DevicesSection(
  props: IDevicesProps & { readonly devices: ReadonlyArray<IDevice> }
): React.JSX.Element {
  const { devices, trans } = props;
  return (
    <Section title={trans.__('Devices')} count={devices.length}>
      {devices.length === 0 ? (
        <p className="fg-Empty">
          {trans.__(
            'This pool has no GPU. Notebooks still start; their cells run on the CPU or wait.'
          )}
        </p>
      ) : (
        <ul className="fg-List fg-mod-wide fg-Devices">
          {devices.map(device => (
            <li key={device.id} className="fg-Card" data-device-id={device.id}>
              <Device {...props} device={device} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

/** What matters of it at a glance, and a fold with the rest; what is folded asks for nothing. */
function Device(props: IDevicesProps & { readonly device: IDevice }): React.JSX.Element {
  const { device, trans, language } = props;
  const [open, setOpen] = React.useState(false);
  const id = React.useId();
  return (
    <>
      <div className="fg-Card-head">
        <h4 className="fg-Card-name">
          <button
            type="button"
            id={`${id}-name`}
            className="fg-Device-toggle"
            aria-expanded={open}
            aria-controls={`${id}-more`}
            title={`${device.model}\n${device.id}`}
            onClick={() => setOpen(!open)}
          >
            <span className="fg-Section-caret" aria-hidden="true" />
            <span className="fg-dim">{device.index}</span>
            <span className="fg-ellipsis">{shortModel(device.model)}</span>
          </button>
        </h4>
        {device.utilization_percent !== null && (
          <span className="fg-Device-use" title={trans.__('Utilization of the whole device')}>
            <span className="fg-only-read">{trans.__('Utilization of the whole device')} </span>
            {formatPercent(device.utilization_percent, language)}
          </span>
        )}
        <HealthTag device={device} trans={trans} />
      </div>
      {device.health !== 'healthy' && device.health_reason && (
        <p className="fg-Note" data-kind={device.health === 'faulty' ? 'error' : 'warning'}>
          <Said text={device.health_reason} />
        </p>
      )}
      {foreignNotes(device, open, trans, language).map((note, index) => (
        <p key={index} className="fg-Note" data-kind="warning">
          {note}
        </p>
      ))}
      <Holdings device={device} trans={trans} language={language} />
      <div id={`${id}-more`} className="fg-Device-more" hidden={!open}>
        {open && <More {...props} />}
      </div>
    </>
  );
}

/** The facts, who is on it, what it does now and what it did. */
function More(props: IDevicesProps & { readonly device: IDevice }): React.JSX.Element {
  const { device, pool, trans, language } = props;
  const used = device.memory_used_bytes;
  return (
    <>
      <div className="fg-Facts">
        <span>{formatMemory(device.memory_bytes, language)}</span>
        <span>
          {trans.__('%1 per hour', formatMoney(device.rate_micro_per_hour, pool.currency, language))}
        </span>
        {device.mechanisms.length > 0 && !device.simulated && (
          <span title={trans.__('How leases of it can be served')}>{device.mechanisms.join(', ')}</span>
        )}
        {device.simulated && <SimulatedFact trans={trans} />}
      </div>
      {device.holdings.length > 0 && (
        <ul className="fg-Holders" aria-label={trans.__('Who is on it')}>
          {sortedByOwner(device.holdings).map((holding, index) => (
            <li key={holding.lease_id ?? `other-${index}`} data-kind={holding.mine ? 'mine' : 'other'}>
              <span className="fg-Swatch" data-kind={holding.mine ? 'mine' : 'other'} aria-hidden="true" />
              <span className="fg-ellipsis" title={holding.notebook ?? undefined}>
                {holdingName(holding, trans)}
              </span>
              <span className="fg-dim">{holdingState(holding, trans)}</span>
              <span className="fg-Row-value">{formatMemory(holding.memory_bytes, language)}</span>
            </li>
          ))}
        </ul>
      )}
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
      <HistoryChart
        {...props}
        of={{ kind: 'devices', id: device.id, memoryBytes: device.memory_bytes }}
        name={trans.__('GPU %1', device.index)}
      />
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
): React.JSX.Element {
  const { kind, name, meaning } = healthName(props.device, props.trans);
  return (
    <Tag kind={kind} title={meaning}>
      {name}
    </Tag>
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
    { kind: 'free', bytes: free, name: isGranting(device) ? trans.__('free') : trans.__('not granted') }
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
            title={`${holdingName(holding, trans)}: ${formatMemory(holding.memory_bytes, language)}`}
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
