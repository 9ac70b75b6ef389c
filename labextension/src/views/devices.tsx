/**
 * The devices of the pool: one item each with the leases on it, which expands to details and history.
 */

import * as React from 'react';

import { foreignProcessNotes, healthName, holdingName, holdingStateName } from '../texts/device';
import { formatMemory, formatMemoryOf, formatMoney, formatPercent, shortModel } from '../texts/format';
import type { IDevice, IHolding, IPool } from '../leases/lease';
import { isGranting } from '../leases/lease';
import type { ITextContext } from './textcontext';
import type { IHistoryProps } from './historychart';
import { HistoryChart } from './historychart';
import { Meter, FormattedText, Section, Tag } from './components';

interface IDevicesProps
  extends ITextContext, Pick<IHistoryProps, 'live' | 'now' | 'asTable' | 'onLoadHistory'> {
  readonly pool: IPool;
}

/** The section of the panel that lists the devices. */
export function DevicesSection(
  props: IDevicesProps & { readonly devices: ReadonlyArray<IDevice> }
): React.JSX.Element {
  const { devices, trans } = props;
  return (
    <Section title={trans.__('Devices')} count={devices.length}>
      {devices.length === 0 ? (
        <p className="fg-Empty">
          {trans.__(
            'This pool has no GPUs. Notebooks still start; their cells run on the CPU or wait.'
          )}
        </p>
      ) : (
        <ul className="fg-List fg-mod-wide fg-Devices">
          {devices.map(device => (
            <li key={device.id} className="fg-Item" data-device-id={device.id}>
              <DeviceItem {...props} device={device} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

/** One device. Its details are rendered, and its history is requested, only while it is expanded. */
function DeviceItem(props: IDevicesProps & { readonly device: IDevice }): React.JSX.Element {
  const { device, trans, language } = props;
  const [open, setOpen] = React.useState(false);
  const id = React.useId();
  return (
    <>
      <div className="fg-Item-head">
        <h4 className="fg-Item-name">
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
          <span className="fg-Device-utilization" title={trans.__('Utilization of the whole device')}>
            <span className="fg-ScreenReaderOnly">{trans.__('Utilization of the whole device')} </span>
            {formatPercent(device.utilization_percent, language)}
          </span>
        )}
        <HealthTag device={device} trans={trans} />
      </div>
      {device.health !== 'healthy' && device.health_reason && (
        <p className="fg-Note" data-kind={device.health === 'faulty' ? 'error' : 'warning'}>
          <FormattedText text={device.health_reason} />
        </p>
      )}
      {foreignProcessNotes(device, open, trans, language).map((note, index) => (
        <p key={index} className="fg-Note" data-kind="warning">
          {note}
        </p>
      ))}
      <HoldingsBar device={device} trans={trans} language={language} />
      <div id={`${id}-more`} className="fg-Device-more" hidden={!open}>
        {open && <DeviceDetails {...props} />}
      </div>
    </>
  );
}

/** Details of an expanded device: its rate and mechanisms, its leases, current usage and history. */
function DeviceDetails(props: IDevicesProps & { readonly device: IDevice }): React.JSX.Element {
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
          <span title={trans.__('Available mechanisms')}>{device.mechanisms.join(', ')}</span>
        )}
        {device.simulated && <SimulatedLabel trans={trans} />}
      </div>
      {device.holdings.length > 0 && (
        <ul className="fg-Holders" aria-label={trans.__('Leases on this device')}>
          {sortedByOwner(device.holdings).map((holding, index) => (
            <li key={holding.lease_id ?? `other-${index}`} data-kind={holding.mine ? 'mine' : 'other'}>
              <span className="fg-Swatch" data-kind={holding.mine ? 'mine' : 'other'} aria-hidden="true" />
              <span className="fg-ellipsis" title={holding.notebook ?? undefined}>
                {holdingName(holding, trans)}
              </span>
              <span className="fg-dim">{holdingStateName(holding, trans)}</span>
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
        subject={{ kind: 'devices', id: device.id, memoryBytes: device.memory_bytes }}
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

function HealthTag(
  props: Pick<ITextContext, 'trans'> & { readonly device: IDevice }
): React.JSX.Element {
  const { kind, name, description } = healthName(props.device, props.trans);
  return (
    <Tag kind={kind} title={description}>
      {name}
    </Tag>
  );
}

/** A bar of the leased memory with a pattern for each kind of holder, and a legend below it. */
function HoldingsBar(props: ITextContext & { readonly device: IDevice }): React.JSX.Element {
  const { device, trans, language } = props;
  const holdings = device.holdings.filter(holding => holding.memory_bytes > 0);
  const held = (mine: boolean) =>
    holdings
      .filter(holding => holding.mine === mine)
      .reduce((sum, holding) => sum + holding.memory_bytes, 0);
  const [own, others, free] = [held(true), held(false), device.memory_free_bytes];
  const legend = [
    { kind: 'mine', bytes: own, name: trans.__('yours') },
    { kind: 'other', bytes: others, name: trans.__('others') },
    { kind: 'free', bytes: free, name: isGranting(device) ? trans.__('free') : trans.__('not granted') }
  ].filter(entry => entry.bytes > 0 || entry.kind === 'free');
  const description = legend
    .map(entry => `${formatMemory(entry.bytes, language)} ${entry.name}`)
    .join(', ');
  // Leases without a memory limit may add up to more than the device; the bar then shows proportions.
  const total = Math.max(device.memory_bytes, own + others, 1);
  return (
    <div className="fg-Holdings">
      <div
        className="fg-Holdings-bar"
        role="img"
        aria-label={trans.__('Leased memory: %1', description)}
      >
        {sortedByOwner(holdings).map((holding, index) => (
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
