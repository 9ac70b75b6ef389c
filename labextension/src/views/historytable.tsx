/**
 * A history as a table: what its chart shows, for those who listen and for those who would rather read.
 */

import * as React from 'react';

import { formatMemory, formatPercent, formatPower, formatTemperature } from '../texts/format';
import { rowTime, tableCaption } from '../texts/history';
import type { IFigures, IHistory, ISubject, Range } from '../leases/history';
import { figures, rows } from '../leases/history';
import type { IWriting } from './textcontext';

interface IColumn {
  readonly name: string;
  /** What fits into a narrow panel. */
  readonly short?: string;
  readonly value: (seen: IFigures) => number | null;
  readonly format: (value: number) => string;
}

export function HistoryTable(
  props: IWriting & {
    readonly history: IHistory;
    readonly range: Range;
    readonly of: ISubject;
    /** Of the lease's notebook or of the device. */
    readonly name: string;
  }
): React.JSX.Element {
  const { history, range, of, name, trans, language } = props;
  const caption = tableCaption(name, range, of, trans, language);
  const columns = columnsOf(figures(history), of, props);
  return (
    // It scrolls by itself, so it must be reached by the keyboard, and named there.
    <div className="fg-Table" role="region" aria-label={trans.__('Table of %1', name)} tabIndex={0}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">{range === 'week' ? trans.__('Hour') : trans.__('Minute')}</th>
            {columns.map(column => (
              <th key={column.name} scope="col" title={column.name} aria-label={column.name}>
                {column.short ?? column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows(history, range).map(({ at, seen }) => (
            <tr key={at}>
              <th scope="row">{rowTime(at, range, language)}</th>
              {columns.map(({ name: key, value, format }) => {
                const found = value(seen);
                return (
                  <td key={key}>{found === null ? <Unknown trans={trans} /> : format(found)}</td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Unknown(props: Pick<IWriting, 'trans'>): React.JSX.Element {
  return (
    <>
      <span className="fg-dim" aria-hidden="true">
        –
      </span>
      <span className="fg-only-read">{props.trans.__('unknown')}</span>
    </>
  );
}

/** Power and temperature only where something is known of them: a column of gaps says nothing. */
function columnsOf(
  all: IFigures,
  of: ISubject,
  { trans, language }: IWriting
): ReadonlyArray<IColumn> {
  const columns: IColumn[] = [
    {
      name: trans.__('GPU'),
      value: seen => seen.utilizationMean,
      format: value => formatPercent(value, language)
    },
    {
      name: trans.__('Memory'),
      value: seen => seen.memoryMax,
      format: value => formatMemory(value, language)
    },
    {
      name: trans.__('Power'),
      value: seen => seen.powerMean,
      format: value => formatPower(value, language)
    },
    {
      name: trans.__('Temperature'),
      short: trans.__('Temp.'),
      value: seen => seen.temperatureMean,
      format: value => formatTemperature(value, language)
    }
  ];
  return columns.filter((column, index) => index < 2 || column.value(all) !== null);
}
