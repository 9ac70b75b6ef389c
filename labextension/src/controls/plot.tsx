/**
 * A line chart over time, drawn by uPlot, which is loaded when the first chart is drawn.
 *
 * The colours are CSS variables that the legend uses as well, so that a theme changes both.
 */

import * as React from 'react';
import type uPlot from 'uplot';

import { formatAxisTime } from '../texts/format';
import type { TimeRange } from '../leases/history';
import { isolatedIndices, TIME_RANGES } from '../leases/history';

/** The width of the vertical axis, in pixels. */
const AXIS_WIDTH = 38;

/** The width of a time label, in pixels. */
const TIME_LABEL_WIDTH = 52;

/** The vertical scale of a chart, from zero to `maximum`, with the values that have a label. */
export interface IPlotScale {
  readonly maximum: number;
  readonly ticks: ReadonlyArray<number>;
  readonly format: (value: number) => string;
}

export interface IPlotSeries {
  /** The name of its colour's CSS variable. */
  readonly kind: string;
  readonly values: ReadonlyArray<number | null>;
}

interface IPlotProps {
  /** In seconds since 1970. */
  readonly times: ReadonlyArray<number>;
  readonly series: ReadonlyArray<IPlotSeries>;
  readonly scale: IPlotScale;
  readonly range: TimeRange;
  readonly now: number;
  readonly language: string;
  /** The accessible description. */
  readonly label: string;
  /** In pixels. */
  readonly height: number;
  /** Whether the time axis has labels. */
  readonly hasTimes: boolean;
  /** Charts with the same group share their cursor. */
  readonly group: string;
  /** Called with the index of the sample under the pointer; null if there is none. */
  readonly onPoint: (index: number | null) => void;
}

/** A chart that is drawn again when its size, its series or its range change. */
export function Plot(props: IPlotProps): React.JSX.Element {
  const { times, series, scale, range, now, language, height, hasTimes, group, onPoint } = props;
  const node = React.useRef<HTMLDivElement>(null);
  const plot = React.useRef<uPlot | null>(null);
  const latest = React.useRef(scale);
  latest.current = scale;
  const [ready, setReady] = React.useState(false);
  const kinds = series.map(line => line.kind).join(' ');

  React.useEffect(() => {
    let cancelled = false;
    let observer: ResizeObserver | null = null;
    void import('uplot').then(({ default: Plotter }) => {
      const target = node.current;
      if (cancelled || target === null) {
        return;
      }
      const shape = { target, kinds: kinds.split(' '), range, language, height, hasTimes, group };
      const empty: uPlot.AlignedData = [[], ...shape.kinds.map((): number[] => [])];
      const chart = new Plotter(plotOptions(shape, latest, onPoint), empty, target);
      plot.current = chart;
      observer = new ResizeObserver(() => {
        if (target.clientWidth > 0 && target.clientWidth !== chart.width) {
          chart.setSize({ width: target.clientWidth, height });
        }
      });
      observer.observe(target);
      setReady(true);
    });
    return () => {
      cancelled = true;
      observer?.disconnect();
      plot.current?.destroy();
      plot.current = null;
      setReady(false);
      onPoint(null);
    };
  }, [kinds, range, language, height, hasTimes, group, onPoint]);

  React.useEffect(() => {
    const chart = plot.current;
    if (ready && chart !== null) {
      chart.setData([[...times], ...series.map(line => [...line.values])], false);
      chart.setScale('x', { min: (now - TIME_RANGES[range].spanMs) / 1000, max: now / 1000 });
      chart.setScale('y', { min: 0, max: scale.maximum });
    }
  }, [ready, times, series, scale.maximum, now, range]);

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

/** Return the options of a chart for uPlot. */
function plotOptions(
  shape: Pick<IPlotProps, 'range' | 'language' | 'height' | 'hasTimes' | 'group'> & {
    readonly target: HTMLElement;
    readonly kinds: ReadonlyArray<string>;
  },
  scale: { readonly current: IPlotScale },
  onPoint: (index: number | null) => void
): uPlot.Options {
  const { target, kinds, range, language } = shape;
  const colour = (name: string) => () =>
    getComputedStyle(target).getPropertyValue(`--fg-chart-${name}`).trim() || 'currentColor';
  const axis = {
    stroke: colour('text'),
    // Dashed, so that the grid is fainter than the series even if a theme has a single colour for borders.
    grid: { stroke: colour('grid'), width: 1, dash: [1, 3] },
    ticks: { show: false },
    font: `10px ${getComputedStyle(target).fontFamily}`
  };
  // A sample between two gaps has no line; it is visible only as a point.
  const points = {
    show: true,
    size: 4,
    filter: (chart: uPlot, index: number) => isolatedIndices(chart.data[index])
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
        // The default steps have none between one and five minutes, so a narrow chart might have no label at all.
        incrs: [1, 2, 5, 10, 20, 30, 60, 1440, 2880].map(minutes => 60 * minutes),
        values: (chart, splits) => {
          const end = chart.width - AXIS_WIDTH - TIME_LABEL_WIDTH / 2;
          return splits.map(time =>
            shape.hasTimes && chart.valToPos(time, 'x') <= end
              ? formatAxisTime(1000 * time, range === 'week', language)
              : null
          );
        }
      },
      {
        ...axis,
        size: AXIS_WIDTH,
        gap: 4,
        splits: () => [...scale.current.ticks],
        values: (_, ticks) => ticks.map(tick => scale.current.format(tick))
      }
    ],
    series: [
      {},
      ...kinds.map((kind, index) => ({
        stroke: colour(kind),
        width: 1.5,
        // The second series is dashed, so that colour is not the only difference.
        ...(index > 0 ? { dash: [5, 3] } : {}),
        points
      }))
    ],
    hooks: {
      setCursor: [chart => onPoint((chart.cursor.left ?? -1) >= 0 ? (chart.cursor.idx ?? null) : null)]
    }
  };
}
