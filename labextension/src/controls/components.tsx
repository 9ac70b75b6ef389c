/**
 * Reusable components: a meter, a sparkline, a tag, a text with inline code.
 *
 * They have no state. Names are text nodes, never markup.
 */

import * as React from 'react';

import { UTILIZATION_SAMPLES_MAX } from '../leases/samples';
import { SPARKLINE_HEIGHT, sparklinePaths } from './sparkline';

/** A sentence of the server, with the text between backticks shown as code. */
export function FormattedText(props: { readonly text: string }): React.JSX.Element {
  // Every second part was between two backticks; a single backtick is shown as it is.
  const parts = props.text.split(/`([^`]+)`/);
  return <>{parts.map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</>;
}

/** A short label with a coloured background. */
export function Tag(props: {
  readonly kind: string;
  readonly title?: string;
  readonly children: React.ReactNode;
}): React.JSX.Element {
  return (
    <span className="fg-Tag" data-kind={props.kind} title={props.title}>
      {props.children}
    </span>
  );
}

/** A bar from 0 to `max`; it is empty while the value is unknown. */
export function Meter(props: {
  readonly label: string;
  readonly value: number | null;
  readonly max: number;
  /** The value as text, for display and for screen readers. */
  readonly text: string;
  readonly title?: string;
  /** Whether a nearly full bar is a warning: it is for memory, not for utilization. */
  readonly warns?: boolean;
}): React.JSX.Element {
  const { label, value, max, text, title, warns } = props;
  const percent = value === null || max <= 0 ? 0 : Math.min(100, (value / max) * 100);
  const level = !warns ? 'normal' : percent >= 95 ? 'full' : percent >= 85 ? 'high' : 'normal';
  return (
    <div className="fg-Row" title={title}>
      <span className="fg-Row-label">{label}</span>
      <div
        className="fg-Meter"
        data-level={level}
        {...(value === null
          ? { role: 'img', 'aria-label': `${label}: ${text}` } // a meter must have a value
          : {
              role: 'meter',
              'aria-label': label,
              'aria-valuemin': 0,
              'aria-valuemax': 100,
              'aria-valuenow': Math.round(percent),
              'aria-valuetext': text
            })}
      >
        <div className="fg-Meter-fill" style={{ width: `${percent}%` }} />
      </div>
      <span className="fg-Row-value">{text}</span>
    </div>
  );
}

/** Utilization over the last two minutes, with the newest sample at the right and gaps for unknown samples. */
export function Sparkline(props: {
  readonly samples: ReadonlyArray<number | null>;
  /** The accessible name; null where what is around says the same. */
  readonly label: string | null;
}): React.JSX.Element {
  const { line, area } = sparklinePaths(props.samples);
  return (
    <svg
      className="fg-Sparkline"
      viewBox={`0 0 ${UTILIZATION_SAMPLES_MAX - 1} ${SPARKLINE_HEIGHT}`}
      preserveAspectRatio="none"
      role={props.label === null ? undefined : 'img'}
      aria-label={props.label ?? undefined}
      aria-hidden={props.label === null}
    >
      <path className="fg-Sparkline-area" d={area} />
      <path className="fg-Sparkline-line" d={line} vectorEffect="non-scaling-stroke" />
    </svg>
  );
}
