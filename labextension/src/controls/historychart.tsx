/**
 * The usage history of a lease or a device, over minutes, an hour or a week, as charts or as a table.
 *
 * Samples are requested only while the view is open and connected, and only those that are missing.
 */

import * as React from 'react';

import {
  formatDayTime,
  formatPercent,
  formatPower,
  formatTemperature,
  formatTime
} from '../texts/format';
import { historyNote, formatMemoryWithLimit, missingNote, timeRangeName } from '../texts/history';
import type { HistoryView } from '../generated/api';
import type { IHistorySummary, IHistorySubject, TimeRange, Resolution } from '../leases/history';
import {
  axisMaximum,
  summarize,
  isContinuation,
  isEmptySummary,
  memoryPercents,
  mergeHistory,
  missingSince,
  sampleTimes,
  TIME_RANGES,
  TIME_RANGE_NAMES
} from '../leases/history';
import type { ITextContext } from './textcontext';
import { HistoryTable } from './historytable';
import { FormattedText } from './components';
import type { IPlotSeries, IPlotScale } from './plot';
import { Plot } from './plot';

const HEIGHT = 116;

/** The height of a chart with a single line, below the first chart. */
const HEIGHT_SMALL = 56;

export type LoadHistory = (subject: IHistorySubject, resolution: Resolution, since: number) => Promise<HistoryView>;

export interface IHistoryProps extends ITextContext {
  readonly subject: IHistorySubject;
  /** The name of the lease's notebook or of the device. */
  readonly name: string;
  readonly live: boolean;
  readonly now: number;
  /** Whether a table is shown until the user selects a chart. */
  readonly asTable: boolean;
  readonly onLoadHistory: LoadHistory;
}

/** A collapsed history; it requests no samples until it is opened. */
export function HistoryDetails(props: IHistoryProps): React.JSX.Element {
  const [open, setOpen] = React.useState(false);
  const { trans } = props;
  return (
    <details
      className="fg-Collapsible"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary aria-label={trans.__('History of %1', props.name)}>{trans.__('History')}</summary>
      {open && <HistoryChart {...props} />}
    </details>
  );
}

/** The history with its controls: the time range, and chart or table. */
export function HistoryChart(props: IHistoryProps): React.JSX.Element {
  const { name, trans } = props;
  const [range, setRange] = React.useState<TimeRange>('minutes');
  const [table, setTable] = React.useState(props.asTable);
  const { history, failure } = useHistory(props, range);
  const group = React.useId();
  const summary = React.useMemo(() => (history === null ? null : summarize(history)), [history]);
  return (
    <div className="fg-Chart">
      <div className="fg-Chart-head">
        <div
          className="fg-Chart-ranges"
          role="radiogroup"
          aria-label={trans.__('Time range of %1', name)}
        >
          {TIME_RANGE_NAMES.map(choice => (
            <label key={choice} className="fg-Chart-range">
              <input
                type="radio"
                name={group}
                checked={choice === range}
                onChange={() => setRange(choice)}
              />
              <span>{timeRangeName(choice, trans)}</span>
            </label>
          ))}
        </div>
        <button
          type="button"
          className="fg-Button fg-Chart-toggle"
          aria-pressed={table}
          title={trans.__('Show the same samples as a table')}
          onClick={() => setTable(!table)}
        >
          {trans.__('Table')}
        </button>
      </div>
      {history === null || summary === null || isEmptySummary(summary) ? (
        <p className="fg-Chart-empty" role="status">
          {failure ?? (history === null ? trans.__('Loading…') : trans.__('No data for this time range.'))}
        </p>
      ) : (
        <>
          {table ? (
            <HistoryTable {...props} history={history} range={range} />
          ) : (
            <HistoryPlots {...props} history={history} summary={summary} range={range} group={group} />
          )}
          {failure !== null && (
            <p className="fg-Note" data-kind="warning" role="status">
              <FormattedText text={failure} />
            </p>
          )}
        </>
      )}
    </div>
  );
}

/** Return the samples of the range that are loaded so far; a new range begins without samples. */
function useHistory(
  props: IHistoryProps,
  range: TimeRange
): { readonly history: HistoryView | null; readonly failure: string | null } {
  const { subject, live, now, onLoadHistory } = props;
  const [state, setState] = React.useState<{
    key: string;
    history: HistoryView | null;
    failure: string | null;
  }>({ key: '', history: null, failure: null });
  const key = `${subject.kind} ${subject.id} ${range}`;
  const current = state.key === key ? state : { history: null, failure: null };
  const latest = React.useRef({ subject, history: current.history, now, onLoadHistory });
  latest.current = { subject, history: current.history, now, onLoadHistory };
  // The effect runs again when this number changes, which is once for each refresh interval.
  const refreshCount = Math.floor(now / TIME_RANGES[range].refreshMs);
  React.useEffect(() => {
    if (!live) {
      return;
    }
    let cancelled = false;
    const input = latest.current;
    void load(input.history, range, input.now, since =>
      input.onLoadHistory(input.subject, TIME_RANGES[range].resolution, since)
    )
      .then(
        history => ({ history, failure: null }),
        (reason: unknown) => ({
          history: input.history,
          failure: reason instanceof Error ? reason.message : String(reason)
        })
      )
      .then(result => {
        if (!cancelled) {
          setState({ key, ...result });
        }
      });
    return () => {
      cancelled = true;
    };
  }, [range, live, refreshCount, key]);
  return current;
}

/** Request the missing samples and merge them with the known ones; reload the whole range if they do not connect. */
async function load(
  known: HistoryView | null,
  range: TimeRange,
  now: number,
  request: (since: number) => Promise<HistoryView>
): Promise<HistoryView> {
  const newer = await request(missingSince(known, range, now));
  return known === null || isContinuation(known, newer)
    ? mergeHistory(known, newer, range, now)
    : mergeHistory(null, await request(missingSince(null, range, now)), range, now);
}

/** Utilization and memory in one chart; power and temperature, if known, in separate charts below it. */
function HistoryPlots(
  props: IHistoryProps & {
    readonly history: HistoryView;
    readonly summary: IHistorySummary;
    readonly range: TimeRange;
    readonly group: string;
  }
): React.JSX.Element {
  const { history, summary, range, subject, trans, language } = props;
  const [pointed, setPointed] = React.useState<number | null>(null);
  const note = historyNote(summary, range, subject, trans, language);
  const missing = missingNote(summary, subject, trans);
  const index = pointed ?? history.utilization_percent.length - 1;
  const series = React.useMemo(
    () => plotSeries(history, subject.memoryBytes),
    [history, subject.memoryBytes]
  );
  const times = React.useMemo(() => sampleTimes(history), [history]);
  const shared = { ...props, times, onPoint: setPointed };
  const percent: IPlotScale = {
    // Where the limit is not enforced, a lease may use more memory than its limit.
    maximum: series.utilization[1].values.reduce<number>(
      (maximum, value) => Math.max(maximum, value ?? 0),
      100
    ),
    ticks: [0, 50, 100],
    format: value => formatPercent(value, language)
  };
  const watts = axisMaximum((summary.powerMax ?? 0) / 1000);
  const power: IPlotScale = {
    maximum: watts,
    ticks: [0, watts / 2, watts],
    format: value => formatPower(1000 * value, language)
  };
  const temperature: IPlotScale = {
    maximum: Math.max(100, summary.temperatureMax ?? 0),
    ticks: [0, 50, 100],
    format: value => formatTemperature(value, language)
  };
  return (
    <>
      <Plot {...shared} series={series.utilization} scale={percent} height={HEIGHT} hasTimes label={note} />
      <Legend history={history} index={index} subject={subject} trans={trans} language={language} />
      {summary.powerMax !== null && (
        <SmallPlot
          {...shared}
          series={series.power}
          scale={power}
          title={trans.__('Power')}
          value={series.power[0].values[index] ?? null}
        />
      )}
      {summary.temperatureMax !== null && (
        <SmallPlot
          {...shared}
          series={series.temperature}
          scale={temperature}
          title={trans.__('Temperature')}
          value={series.temperature[0].values[index] ?? null}
        />
      )}
      {missing !== null && <p className="fg-Chart-missing">{missing}</p>}
      {/* The time under the pointer replaces the note without changing the height of the line. */}
      <p className="fg-Chart-note" aria-hidden="true" data-pointed={pointed !== null}>
        <span>{note}</span>
        {pointed !== null && (
          <span className="fg-Chart-time">{formatSampleTime(history, pointed, language)}</span>
        )}
      </p>
    </>
  );
}

/** A small chart of a single quantity, with its value in the title. */
function SmallPlot(
  props: Omit<React.ComponentProps<typeof Plot>, 'height' | 'hasTimes' | 'label'> &
    ITextContext & {
      readonly title: string;
      readonly value: number | null;
    }
): React.JSX.Element {
  const { title, value, scale, trans } = props;
  return (
    <div>
      <p className="fg-Chart-title" aria-hidden="true">
        {title} {value === null ? trans.__('unknown') : scale.format(value)}
      </p>
      {/* The label of the chart above already contains these values. */}
      <Plot {...props} height={HEIGHT_SMALL} hasTimes={false} label={title} />
    </div>
  );
}

/** Return the plotted series of each chart. */
function plotSeries(
  history: HistoryView,
  memoryBytes: number | null
): Readonly<Record<'utilization' | 'power' | 'temperature', ReadonlyArray<IPlotSeries>>> {
  return {
    utilization: [
      { kind: 'gpu', values: history.utilization_percent },
      { kind: 'memory', values: memoryPercents(history, memoryBytes) }
    ],
    power: [
      {
        kind: 'power',
        values: history.power_milliwatt.map(value => (value === null ? null : value / 1000))
      }
    ],
    temperature: [{ kind: 'temperature', values: history.temperature_celsius }]
  };
}

/** Format the time of a sample, to the minute or to the second, depending on the resolution. */
function formatSampleTime(history: HistoryView, index: number, language: string): string {
  const time = history.started_at + index * history.resolution_ms;
  return history.resolution_ms >= 60_000
    ? formatDayTime(time, language)
    : formatTime(time, language);
}

/** The legend of the first chart, with the values under the pointer or the latest ones. */
function Legend(
  props: ITextContext & {
    readonly history: HistoryView;
    readonly index: number;
    readonly subject: IHistorySubject;
  }
): React.JSX.Element {
  const { history, index, subject, trans, language } = props;
  const percent = history.utilization_percent[index] ?? null;
  const used = history.memory_used_bytes[index] ?? null;
  const unknown = trans.__('unknown');
  return (
    <ul className="fg-Legend fg-Chart-legend" aria-hidden="true">
      <li>
        <span className="fg-Chart-swatch" data-kind="gpu" />
        {trans.__('GPU')} {percent === null ? unknown : formatPercent(percent, language)}
      </li>
      <li>
        <span className="fg-Chart-swatch" data-kind="memory" />
        {trans.__('Memory')} {used === null ? unknown : formatMemoryWithLimit(used, subject.memoryBytes, language)}
      </li>
    </ul>
  );
}
