/**
 * From samples to the paths of a chart. Pure.
 */

import { HISTORY_MAX } from '../leases/reduce';

/** In the chart's own units; its width is one unit for each step between samples. */
export const CHART_HEIGHT = 24;

/** The paths of the line and of the area under it. */
export function chartPaths(samples: ReadonlyArray<number | null>): {
  readonly line: string;
  readonly area: string;
} {
  const start = HISTORY_MAX - samples.length;
  const runs: [number, number][][] = [];
  let run: [number, number][] = [];
  samples.forEach((sample, index) => {
    if (sample === null) {
      run = [];
      return;
    }
    if (run.length === 0) {
      runs.push(run);
    }
    // One unit is left free above and below, so that the line is not cut at 0 % and 100 %.
    const y = 1 + (1 - sample / 100) * (CHART_HEIGHT - 2);
    run.push([start + index, Math.round(y * 100) / 100]);
  });
  const line = runs.map(points => `M${points.map(([x, y]) => `${x} ${y}`).join('L')}`);
  const area = runs.map((points, index) => {
    const [first, last] = [points[0][0], points[points.length - 1][0]];
    return `${line[index]}L${last} ${CHART_HEIGHT}L${first} ${CHART_HEIGHT}Z`;
  });
  return { line: line.join(''), area: area.join('') };
}
