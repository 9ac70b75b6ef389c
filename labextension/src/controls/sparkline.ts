/**
 * Conversion of utilization samples into the paths of a sparkline. Pure.
 */

import { UTILIZATION_SAMPLES_MAX } from '../leases/samples';

/** The height in the sparkline's own units; its width is one unit for each interval between samples. */
export const SPARKLINE_HEIGHT = 24;

/** Return the SVG paths of the line and of the area below it; unknown samples (null) leave gaps. */
export function sparklinePaths(samples: ReadonlyArray<number | null>): {
  readonly line: string;
  readonly area: string;
} {
  const start = UTILIZATION_SAMPLES_MAX - samples.length;
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
    // A margin of one unit above and below keeps the line from being clipped at 0 % and 100 %.
    const y = 1 + (1 - sample / 100) * (SPARKLINE_HEIGHT - 2);
    run.push([start + index, Math.round(y * 100) / 100]);
  });
  const line = runs.map(points => `M${points.map(([x, y]) => `${x} ${y}`).join('L')}`);
  const area = runs.map((points, index) => {
    const [first, last] = [points[0][0], points[points.length - 1][0]];
    return `${line[index]}L${last} ${SPARKLINE_HEIGHT}L${first} ${SPARKLINE_HEIGHT}Z`;
  });
  return { line: line.join(''), area: area.join('') };
}
