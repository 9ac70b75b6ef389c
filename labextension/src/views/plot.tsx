/**
 * Lines over time, drawn by uPlot, which is loaded when the first of them is drawn.
 *
 * Its colours are those that the style gives to its legend, so a theme changes both.
 */

import * as React from 'react';
import type uPlot from 'uplot';

import { formatTick } from '../texts/format';
import type { Range } from '../leases/history';
import { isolated, RANGE } from '../leases/history';

/** In pixels: how wide the axis at the left is, and the text of a time. */
const AXIS = 38;
const TICK = 52;

/** The scale of a chart: its numbers from zero to `end`, and those that its axis names. */
export interface IScale {
  readonly end: number;
  readonly named: ReadonlyArray<number>;
  readonly format: (value: number) => string;
}

export interface ILine {
  /** What the style colours it by. */
  readonly kind: string;
  readonly values: ReadonlyArray<number | null>;
}

interface IPlotProps {
  /** In seconds since 1970. */
  readonly times: ReadonlyArray<number>;
  readonly lines: ReadonlyArray<ILine>;
  readonly scale: IScale;
  readonly range: Range;
  readonly now: number;
  readonly language: string;
  /** What it shows, in words. */
  readonly label: string;
  /** In pixels. */
  readonly height: number;
  /** Whether it names the times; one below another need not. */
  readonly hasTimes: boolean;
  /** The pointer in one chart of a group is in all of them. */
  readonly group: string;
  readonly onPoint: (index: number | null) => void;
}

export function Plot(props: IPlotProps): React.JSX.Element {
  const { times, lines, scale, range, now, language, height, hasTimes, group, onPoint } = props;
  const node = React.useRef<HTMLDivElement>(null);
  const plot = React.useRef<uPlot | null>(null);
  const latest = React.useRef(scale);
  latest.current = scale;
  const [ready, setReady] = React.useState(false);
  const kinds = lines.map(line => line.kind).join(' ');

  React.useEffect(() => {
    let over = false;
    let observer: ResizeObserver | null = null;
    void import('uplot').then(({ default: Plotter }) => {
      const target = node.current;
      if (over || target === null) {
        return;
      }
      const shape = { target, kinds: kinds.split(' '), range, language, height, hasTimes, group };
      const empty: uPlot.AlignedData = [[], ...shape.kinds.map((): number[] => [])];
      const drawn = new Plotter(options(shape, latest, onPoint), empty, target);
      plot.current = drawn;
      observer = new ResizeObserver(() => {
        if (target.clientWidth > 0 && target.clientWidth !== drawn.width) {
          drawn.setSize({ width: target.clientWidth, height });
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
  }, [kinds, range, language, height, hasTimes, group, onPoint]);

  React.useEffect(() => {
    const drawn = plot.current;
    if (ready && drawn !== null) {
      drawn.setData([[...times], ...lines.map(line => [...line.values])], false);
      drawn.setScale('x', { min: (now - RANGE[range].spanMs) / 1000, max: now / 1000 });
      drawn.setScale('y', { min: 0, max: scale.end });
    }
  }, [ready, times, lines, scale.end, now, range]);

  return (
    <div
      ref={node}
      className="fg-Chart-plot"
      style={{ minHeight: height }}
      role="img"
      aria-label={props.label}
    />
  );
}

function options(
  shape: Pick<IPlotProps, 'range' | 'language' | 'height' | 'hasTimes' | 'group'> & {
    readonly target: HTMLElement;
    readonly kinds: ReadonlyArray<string>;
  },
  scale: { readonly current: IScale },
  onPoint: (index: number | null) => void
): uPlot.Options {
  const { target, kinds, range, language } = shape;
  const colour = (name: string) => () =>
    getComputedStyle(target).getPropertyValue(`--fg-chart-${name}`).trim() || 'currentColor';
  const axis = {
    stroke: colour('text'),
    // Fainter than the lines also where a theme has one colour for all borders.
    grid: { stroke: colour('grid'), width: 1, dash: [1, 3] },
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
    height: shape.height,
    padding: [8, 8, shape.hasTimes ? 0 : 6, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false, setScale: false },
      points: { size: 6 },
      sync: { key: shape.group }
    },
    scales: { x: { time: true, auto: false }, y: { auto: false } },
    axes: [
      {
        ...axis,
        size: shape.hasTimes ? 20 : 0,
        gap: 4,
        space: range === 'week' ? 36 : 72,
        // The usual ones have nothing between one minute and five, of which a narrow chart may name none.
        incrs: [1, 2, 5, 10, 20, 30, 60, 1440, 2880].map(minutes => 60 * minutes),
        values: (drawn, splits) => {
          const isWhole = (at: number) => drawn.valToPos(at, 'x') <= drawn.width - AXIS - TICK / 2;
          return splits.map(at =>
            shape.hasTimes && isWhole(at) ? formatTick(1000 * at, range === 'week', language) : null
          );
        }
      },
      {
        ...axis,
        size: AXIS,
        gap: 4,
        splits: () => [...scale.current.named],
        values: (_, all) => all.map(one => scale.current.format(one))
      }
    ],
    series: [
      {},
      ...kinds.map((kind, index) => ({
        stroke: colour(kind),
        width: 1.5,
        // The second of two lines is told from the first without their colours, too.
        ...(index > 0 ? { dash: [5, 3] } : {}),
        points
      }))
    ],
    hooks: {
      setCursor: [drawn => onPoint((drawn.cursor.left ?? -1) >= 0 ? (drawn.cursor.idx ?? null) : null)]
    }
  };
}
