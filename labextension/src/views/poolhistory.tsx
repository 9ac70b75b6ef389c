/**
 * The leased memory and the waiting requests over time, as charts with one axis of time or as a table.
 */

import * as React from 'react';

import type { IPlotScale } from '../controls/plot';
import { Plot } from '../controls/plot';
import type { ITextContext } from '../controls/textcontext';
import type { TimeRange } from '../leases/history';
import { axisMaximum, TIME_RANGES } from '../leases/history';
import type { IPoolSample } from '../leases/record';
import { SAMPLE_MS } from '../leases/record';
import { formatAxisTime, formatMemory, formatNumber, formatTime } from '../texts/format';
import { timeRangeName } from '../texts/history';
import type { IDashboardProps } from './dashboard';

const GIB = 1024 ** 3;

/** What was leased and what waited, as charts with one axis of time, or as a table. */
export function PoolHistory(props: IDashboardProps & { readonly totalBytes: number }): React.JSX.Element {
  const { samples, range, asTable, now, totalBytes, trans, language } = props;
  const group = React.useId();
  const [pointed, setPointed] = React.useState<number | null>(null);
  // Often enough for the oldest samples to leave, and not at each tick.
  const until = SAMPLE_MS * Math.floor(now / SAMPLE_MS);
  const shown = React.useMemo(
    () => samples.filter(({ at }) => at >= until - TIME_RANGES[range].spanMs),
    [samples, range, until]
  );
  const times = React.useMemo(() => shown.map(({ at }) => at / 1000), [shown]);
  const memory = React.useMemo(
    () => [
      { kind: 'gpu', values: shown.map(one => one.ownBytes) },
      { kind: 'memory', values: shown.map(one => one.leasedBytes) }
    ],
    [shown]
  );
  const waiting = React.useMemo(
    () => [{ kind: 'power', values: shown.map(one => one.waiting) }],
    [shown]
  );
  const gib = Math.max(1, axisMaximum(totalBytes / GIB));
  const memoryScale: IPlotScale = {
    maximum: gib * GIB,
    ticks: [0, (gib * GIB) / 2, gib * GIB],
    format: value => formatNumber(value / GIB, 0, 0, language)
  };
  const longest = axisMaximum(Math.max(1, ...shown.map(one => one.waiting ?? 0)));
  const waitingScale: IPlotScale = {
    maximum: longest,
    ticks: [0, longest],
    format: value => formatNumber(value, 0, 0, language)
  };
  const point = shown[pointed ?? shown.length - 1];
  const bytes = (value: number | null | undefined) =>
    value === null || value === undefined ? trans.__('unknown') : formatMemory(value, language);
  const count = (value: number | null | undefined) =>
    value === null || value === undefined ? trans.__('unknown') : formatNumber(value, 0, 0, language);
  const shared = { times, range, now, language, group, onPoint: setPointed };
  return (
    <section className="fg-Chart fg-Dashboard-history" aria-label={trans.__('History')}>
      <div className="fg-Dashboard-head">
        <h2>{trans.__('Leased memory')}</h2>
        <span className="fg-dim">
          {samples.length > 0 &&
            trans.__('as this page has seen it since %1', formatTime(samples[0].at, language))}
        </span>
        <button
          type="button"
          className="fg-Button fg-Chart-toggle"
          aria-pressed={asTable}
          onClick={() => props.onChoose({ asTable: !asTable })}
        >
          {trans.__('Table')}
        </button>
      </div>
      {shown.length === 0 ? (
        <p className="fg-Chart-empty" role="status">
          {trans.__('No history yet: this page records what it sees while it is open.')}
        </p>
      ) : asTable ? (
        <HistoryRows {...props} shown={shown} bytes={bytes} count={count} />
      ) : (
        <>
          <Plot
            {...shared}
            series={memory}
            scale={memoryScale}
            height={130}
            hasTimes
            label={trans.__('Leased memory: %1 yours of %2', bytes(point?.ownBytes), bytes(point?.leasedBytes))}
          />
          <ul className="fg-Legend fg-Chart-legend">
            <li>
              <span className="fg-Chart-swatch" data-kind="gpu" aria-hidden="true" />
              {trans.__('yours')} {bytes(point?.ownBytes)}
            </li>
            <li>
              <span className="fg-Chart-swatch" data-kind="memory" aria-hidden="true" />
              {trans.__('all leases')} {bytes(point?.leasedBytes)}
            </li>
            <li>{point !== undefined && formatTime(point.at, language)}</li>
          </ul>
          <h2>{trans.__('Waiting requests')}</h2>
          <Plot
            {...shared}
            series={waiting}
            scale={waitingScale}
            height={60}
            hasTimes={false}
            label={trans.__('Waiting requests: %1', count(point?.waiting))}
          />
        </>
      )}
    </section>
  );
}

/** The samples as a table, one row a minute, the newest first. */
function HistoryRows(
  props: ITextContext & {
    readonly shown: ReadonlyArray<IPoolSample>;
    readonly range: TimeRange;
    readonly bytes: (value: number | null) => string;
    readonly count: (value: number | null) => string;
  }
): React.JSX.Element {
  const { shown, range, bytes, count, trans, language } = props;
  const minutes = new Map<number, IPoolSample>();
  for (const sample of shown) {
    minutes.set(Math.floor(sample.at / 60_000), sample);
  }
  return (
    <div className="fg-Table" role="region" aria-label={trans.__('Table of %1', trans.__('Leased memory'))} tabIndex={0}>
      <table>
        <caption>{trans.__('Last %1, at the end of each minute.', timeRangeName(range, trans))}</caption>
        <thead>
          <tr>
            <th scope="col">{trans.__('Minute')}</th>
            <th scope="col">{trans.__('yours')}</th>
            <th scope="col">{trans.__('all leases')}</th>
            <th scope="col">{trans.__('Waiting requests')}</th>
          </tr>
        </thead>
        <tbody>
          {[...minutes].reverse().map(([minute, sample]) => (
            <tr key={minute}>
              <th scope="row">{formatAxisTime(60_000 * minute, false, language)}</th>
              <td>{bytes(sample.ownBytes)}</td>
              <td>{bytes(sample.leasedBytes)}</td>
              <td>{count(sample.waiting)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
