/**
 * What a lease used, as a chart: of the GPU and of its memory, over some minutes, an hour or a week.
 *
 * It asks for readings while it is open and there is a connection, and only for those that it does not know yet. The
 * library that draws is loaded when the first chart is opened.
 */

import * as React from 'react';
import type uPlot from 'uplot';

import {
  formatDayTime,
  formatMemory,
  formatMemoryOf,
  formatPercent,
  formatTick,
  formatTime
} from '../format';
import type { IHistory, Range, Resolution } from '../leases/history';
import { columns, figures, isolated, join, missingSince, RANGE, RANGES } from '../leases/history';
import type { ILease } from '../leases/lease';
import { historyNote, rangeName } from '../texts';
import type { IWriting } from './context';

const HEIGHT = 116;

export type LoadHistory = (
  leaseId: string,
  resolution: Resolution,
  since: number
) => Promise<IHistory>;

interface IChartProps extends IWriting {
  readonly lease: ILease;
  readonly live: boolean;
  readonly now: number;
  readonly onLoadHistory: LoadHistory;
}

/** A fold with the chart in it; what is folded asks for nothing. */
export function LeaseHistory(props: IChartProps & { readonly name: string }): React.JSX.Element {
  const [open, setOpen] = React.useState(false);
  const { trans } = props;
  return (
    <details
      className="fg-History"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary aria-label={trans.__('History of %1', props.name)}>{trans.__('History')}</summary>
      {open && <LeaseChart {...props} />}
    </details>
  );
}

function LeaseChart(props: IChartProps): React.JSX.Element {
  const { lease, trans, language } = props;
  const [range, setRange] = React.useState<Range>('minutes');
  const { history, failure } = useHistory(props, range);
  const [at, setAt] = React.useState<number | null>(null);
  const group = React.useId();
  const seen = history === null ? null : figures(history);
  const empty = seen !== null && seen.memoryMax === null && seen.utilizationMax === null;
  const note = seen === null ? '' : historyNote(seen, range, lease.memory_bytes, trans, language);
  return (
    <div className="fg-Chart">
      <div className="fg-Chart-ranges" role="radiogroup" aria-label={trans.__('Time shown')}>
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
      {history === null || empty ? (
        <p className="fg-Chart-empty" role="status">
          {failure ?? (history === null ? trans.__('Loading…') : trans.__('Nothing is known of this time.'))}
        </p>
      ) : (
        <>
          <Plot
            history={history}
            range={range}
            memoryBytes={lease.memory_bytes}
            now={props.now}
            language={language}
            label={note}
            onPoint={setAt}
          />
          <Legend history={history} at={at} lease={lease} trans={trans} language={language} />
          {failure === null ? (
            <p className="fg-Chart-note" aria-hidden="true">
              {at === null ? note : timeOf(history, at, language)}
            </p>
          ) : (
            <p className="fg-Chart-note" role="status">
              {failure}
            </p>
          )}
        </>
      )}
    </div>
  );
}

/** What is known of the range; a new range begins with nothing. */
function useHistory(
  props: IChartProps,
  range: Range
): { readonly history: IHistory | null; readonly failure: string | null } {
  const { lease, live, now, onLoadHistory } = props;
  const [state, setState] = React.useState<{ of: string; history: IHistory | null; failure: string | null }>({
    of: '',
    history: null,
    failure: null
  });
  const wanted = `${lease.id} ${range}`;
  const current = state.of === wanted ? state : { history: null, failure: null };
  const latest = React.useRef({ history: current.history, now, onLoadHistory });
  latest.current = { history: current.history, now, onLoadHistory };
  const turn = Math.floor(now / RANGE[range].refreshMs);
  React.useEffect(() => {
    if (!live) {
      return;
    }
    let over = false;
    const asked = latest.current;
    void asked
      .onLoadHistory(lease.id, RANGE[range].resolution, missingSince(asked.history, range, asked.now))
      .then(
        newer => ({ history: join(asked.history, newer, range, asked.now), failure: null }),
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
  }, [lease.id, range, live, turn, wanted]);
  return current;
}

/** The drawing itself. Its colours are those that the style gives to its legend, so a theme changes both. */
function Plot(props: {
  readonly history: IHistory;
  readonly range: Range;
  readonly memoryBytes: number | null;
  readonly now: number;
  readonly language: string;
  readonly label: string;
  readonly onPoint: (index: number | null) => void;
}): React.JSX.Element {
  const { history, range, memoryBytes, now, language, onPoint } = props;
  const node = React.useRef<HTMLDivElement>(null);
  const plot = React.useRef<uPlot | null>(null);
  const [ready, setReady] = React.useState(false);

  React.useEffect(() => {
    let over = false;
    let observer: ResizeObserver | null = null;
    void import('uplot').then(({ default: Plotter }) => {
      const target = node.current;
      if (over || target === null) {
        return;
      }
      const drawn = new Plotter(options(target, range, language, onPoint), [[], [], []], target);
      plot.current = drawn;
      observer = new ResizeObserver(() => {
        if (target.clientWidth > 0 && target.clientWidth !== drawn.width) {
          drawn.setSize({ width: target.clientWidth, height: HEIGHT });
        }
      });
      observer.observe(target);
      setReady(true);
    });
    return () => {
      over = true;
      observer?.disconnect();
      plot.current?.destroy();
      plot.current = null;
      setReady(false);
      onPoint(null);
    };
  }, [range, language, onPoint]);

  React.useEffect(() => {
    const drawn = plot.current;
    if (ready && drawn !== null) {
      drawn.setData(columns(history, memoryBytes), false);
      drawn.setScale('x', { min: (now - RANGE[range].spanMs) / 1000, max: now / 1000 });
    }
  }, [ready, history, memoryBytes, now, range]);

  return <div ref={node} className="fg-Chart-plot" role="img" aria-label={props.label} />;
}

function options(
  target: HTMLElement,
  range: Range,
  language: string,
  onPoint: (index: number | null) => void
): uPlot.Options {
  const colour = (name: string) => () =>
    getComputedStyle(target).getPropertyValue(name).trim() || 'currentColor';
  const axis = {
    stroke: colour('--fg-chart-text'),
    // Fainter than the lines also where a theme has one colour for all borders.
    grid: { stroke: colour('--fg-chart-grid'), width: 1, dash: [1, 3] },
    ticks: { show: false },
    font: `10px ${getComputedStyle(target).fontFamily}`
  };
  // A reading between two gaps is no line: without a point it would not be seen.
  const points = {
    show: true,
    size: 4,
    filter: (drawn: uPlot, series: number) => isolated(drawn.data[series])
  };
  return {
    width: target.clientWidth || 200,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { size: 6 } },
    scales: { x: { time: true, auto: false }, y: { range: (_, __, max) => [0, Math.max(100, max ?? 0)] } },
    axes: [
      {
        ...axis,
        size: 20,
        gap: 4,
        space: range === 'week' ? 36 : 72,
        values: (_, splits) => splits.map(at => formatTick(1000 * at, range === 'week', language))
      },
      { ...axis, size: 38, gap: 4, splits: () => [0, 50, 100], values: (_, all) => all.map(one => formatPercent(one, language)) }
    ],
    series: [
      {},
      { stroke: colour('--fg-chart-gpu'), width: 1.5, points },
      { stroke: colour('--fg-chart-memory'), width: 1.5, dash: [5, 3], points }
    ],
    hooks: {
      setCursor: [drawn => onPoint((drawn.cursor.left ?? -1) >= 0 ? (drawn.cursor.idx ?? null) : null)]
    }
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
    readonly at: number | null;
    readonly lease: ILease;
  }
): React.JSX.Element {
  const { history, at, lease, trans, language } = props;
  const index = at ?? history.utilization_percent.length - 1;
  const percent = history.utilization_percent[index] ?? null;
  const used = history.memory_used_bytes[index] ?? null;
  const limit = lease.memory_bytes;
  const unknown = trans.__('unknown');
  const memory =
    used === null ? unknown : limit === null ? formatMemory(used, language) : formatMemoryOf(used, limit, language);
  return (
    <ul className="fg-Legend fg-Chart-legend" aria-hidden="true">
      <li>
        <span className="fg-Chart-swatch" data-kind="gpu" />
        {trans.__('GPU')} {percent === null ? unknown : formatPercent(percent, language)}
      </li>
      <li>
        <span className="fg-Chart-swatch" data-kind="memory" />
        {trans.__('Memory')} {memory}
      </li>
    </ul>
  );
}
