/**
 * What a lease or a device used, over some minutes, an hour or a week: as charts, or as a table.
 *
 * It asks for readings while it is open and there is a connection, and only for those that it does not know yet.
 */

import * as React from 'react';

import {
  formatDayTime,
  formatPercent,
  formatPower,
  formatTemperature,
  formatTime
} from '../texts/format';
import { historyNote, memoryOf, missingNote, rangeName } from '../texts/history';
import type { IFigures, IHistory, ISubject, Range, Resolution } from '../leases/history';
import {
  axisEnd,
  figures,
  follows,
  isEmpty,
  join,
  memoryPercents,
  missingSince,
  RANGE,
  RANGES,
  times
} from '../leases/history';
import type { IWriting } from './textcontext';
import { HistoryTable } from './historytable';
import { Said } from './components';
import type { ILine, IScale } from './plot';
import { Plot } from './plot';

const HEIGHT = 116;

/** Of a chart with one line, below the first. */
const HEIGHT_SMALL = 56;

export type LoadHistory = (of: ISubject, resolution: Resolution, since: number) => Promise<IHistory>;

export interface IHistoryProps extends IWriting {
  readonly of: ISubject;
  /** Of the lease's notebook or of the device. */
  readonly name: string;
  readonly live: boolean;
  readonly now: number;
  /** Whether a table is shown before anybody has chosen. */
  readonly asTable: boolean;
  readonly onLoadHistory: LoadHistory;
}

/** A fold with the chart in it; what is folded asks for nothing. */
export function HistoryFold(props: IHistoryProps): React.JSX.Element {
  const [open, setOpen] = React.useState(false);
  const { trans } = props;
  return (
    <details
      className="fg-Fold"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary aria-label={trans.__('History of %1', props.name)}>{trans.__('History')}</summary>
      {open && <HistoryChart {...props} />}
    </details>
  );
}

export function HistoryChart(props: IHistoryProps): React.JSX.Element {
  const { name, trans } = props;
  const [range, setRange] = React.useState<Range>('minutes');
  const [table, setTable] = React.useState(props.asTable);
  const { history, failure } = useHistory(props, range);
  const group = React.useId();
  const seen = React.useMemo(() => (history === null ? null : figures(history)), [history]);
  return (
    <div className="fg-Chart">
      <div className="fg-Chart-head">
        <div
          className="fg-Chart-ranges"
          role="radiogroup"
          aria-label={trans.__('Time shown of %1', name)}
        >
          {RANGES.map(one => (
            <label key={one} className="fg-Chart-range">
              <input
                type="radio"
                name={group}
                checked={one === range}
                onChange={() => setRange(one)}
              />
              <span>{rangeName(one, trans)}</span>
            </label>
          ))}
        </div>
        <button
          type="button"
          className="fg-Button fg-Chart-toggle"
          aria-pressed={table}
          title={trans.__('The same readings as a table')}
          onClick={() => setTable(!table)}
        >
          {trans.__('Table')}
        </button>
      </div>
      {history === null || seen === null || isEmpty(seen) ? (
        <p className="fg-Chart-empty" role="status">
          {failure ?? (history === null ? trans.__('Loading…') : trans.__('Nothing is known of this time.'))}
        </p>
      ) : (
        <>
          {table ? (
            <HistoryTable {...props} history={history} range={range} />
          ) : (
            <Charts {...props} history={history} seen={seen} range={range} group={group} />
          )}
          {failure !== null && (
            <p className="fg-Note" data-kind="warning" role="status">
              <Said text={failure} />
            </p>
          )}
        </>
      )}
    </div>
  );
}

/** What is known of the range; a new range begins with nothing. */
function useHistory(
  props: IHistoryProps,
  range: Range
): { readonly history: IHistory | null; readonly failure: string | null } {
  const { of, live, now, onLoadHistory } = props;
  const [state, setState] = React.useState<{ of: string; history: IHistory | null; failure: string | null }>({
    of: '',
    history: null,
    failure: null
  });
  const wanted = `${of.kind} ${of.id} ${range}`;
  const current = state.of === wanted ? state : { history: null, failure: null };
  const latest = React.useRef({ of, history: current.history, now, onLoadHistory });
  latest.current = { of, history: current.history, now, onLoadHistory };
  const turn = Math.floor(now / RANGE[range].refreshMs);
  React.useEffect(() => {
    if (!live) {
      return;
    }
    let over = false;
    const asked = latest.current;
    void load(asked.history, range, asked.now, since =>
      asked.onLoadHistory(asked.of, RANGE[range].resolution, since)
    )
      .then(
        history => ({ history, failure: null }),
        (reason: unknown) => ({
          history: asked.history,
          failure: reason instanceof Error ? reason.message : String(reason)
        })
      )
      .then(found => {
        if (!over) {
          setState({ of: wanted, ...found });
        }
      });
    return () => {
      over = true;
    };
  }, [range, live, turn, wanted]);
  return current;
}

/** What is missing, joined to what is known; all of the range again where the two do not fit together. */
async function load(
  known: IHistory | null,
  range: Range,
  now: number,
  ask: (since: number) => Promise<IHistory>
): Promise<IHistory> {
  const newer = await ask(missingSince(known, range, now));
  return known === null || follows(known, newer)
    ? join(known, newer, range, now)
    : join(null, await ask(missingSince(null, range, now)), range, now);
}

/** Use and memory in one chart, power and temperature below in their own, where they are known. */
function Charts(
  props: IHistoryProps & {
    readonly history: IHistory;
    readonly seen: IFigures;
    readonly range: Range;
    readonly group: string;
  }
): React.JSX.Element {
  const { history, seen, range, of, trans, language } = props;
  const [at, setAt] = React.useState<number | null>(null);
  const note = historyNote(seen, range, of, trans, language);
  const missing = missingNote(seen, of, trans);
  const index = at ?? history.utilization_percent.length - 1;
  const lines = React.useMemo(() => linesOf(history, of.memoryBytes), [history, of.memoryBytes]);
  const shared = { ...props, times: React.useMemo(() => times(history), [history]), onPoint: setAt };
  const percent: IScale = {
    // A lease may use more memory than it has, until somebody does something about it.
    end: lines.use[1].values.reduce<number>((most, value) => Math.max(most, value ?? 0), 100),
    named: [0, 50, 100],
    format: value => formatPercent(value, language)
  };
  const watts = axisEnd((seen.powerMax ?? 0) / 1000);
  const power: IScale = {
    end: watts,
    named: [0, watts / 2, watts],
    format: value => formatPower(1000 * value, language)
  };
  const temperature: IScale = {
    end: Math.max(100, seen.temperatureMax ?? 0),
    named: [0, 50, 100],
    format: value => formatTemperature(value, language)
  };
  return (
    <>
      <Plot {...shared} lines={lines.use} scale={percent} height={HEIGHT} hasTimes label={note} />
      <Legend history={history} index={index} of={of} trans={trans} language={language} />
      {seen.powerMax !== null && (
        <SmallPlot
          {...shared}
          lines={lines.power}
          scale={power}
          title={trans.__('Power')}
          value={lines.power[0].values[index] ?? null}
        />
      )}
      {seen.temperatureMax !== null && (
        <SmallPlot
          {...shared}
          lines={lines.temperature}
          scale={temperature}
          title={trans.__('Temperature')}
          value={lines.temperature[0].values[index] ?? null}
        />
      )}
      {missing !== null && <p className="fg-Chart-missing">{missing}</p>}
      {/* The time under the pointer stands in the note's place, which stays as high as the note. */}
      <p className="fg-Chart-note" aria-hidden="true" data-pointed={at !== null}>
        <span>{note}</span>
        {at !== null && <span className="fg-Chart-time">{timeOf(history, at, language)}</span>}
      </p>
    </>
  );
}

function SmallPlot(
  props: Omit<React.ComponentProps<typeof Plot>, 'height' | 'hasTimes' | 'label'> &
    IWriting & {
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
      {/* Its figures are in the label of the chart above. */}
      <Plot {...props} height={HEIGHT_SMALL} hasTimes={false} label={title} />
    </div>
  );
}

function linesOf(
  history: IHistory,
  memoryBytes: number | null
): Readonly<Record<'use' | 'power' | 'temperature', ReadonlyArray<ILine>>> {
  return {
    use: [
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

/** The time of a reading: a minute of the week, or a second. */
function timeOf(history: IHistory, index: number, language: string): string {
  const at = history.started_at + index * history.resolution_ms;
  return history.resolution_ms >= 60_000 ? formatDayTime(at, language) : formatTime(at, language);
}

/** Which line is which, and what each says under the pointer, or now. */
function Legend(
  props: IWriting & {
    readonly history: IHistory;
    readonly index: number;
    readonly of: ISubject;
  }
): React.JSX.Element {
  const { history, index, of, trans, language } = props;
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
        {trans.__('Memory')} {used === null ? unknown : memoryOf(used, of.memoryBytes, language)}
      </li>
    </ul>
  );
}
