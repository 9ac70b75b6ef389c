/**
 * A usage history as a table: the same data as the chart, for screen readers and for reading exact values.
 */

import * as React from 'react';

import { formatMemory, formatPercent, formatPower, formatTemperature } from '../texts/format';
import { formatRowTime, tableCaption } from '../texts/history';
import type { HistoryView } from '../generated/api';
import type { IHistorySummary, IHistorySubject, TimeRange } from '../leases/history';
import { historyRows, summarize } from '../leases/history';
import type { ITextContext } from './textcontext';

interface IColumn {
  readonly name: string;
  /** A shorter name for a narrow panel. */
  readonly shortName?: string;
  readonly value: (summary: IHistorySummary) => number | null;
  readonly format: (value: number) => string;
}

/** The table of a history, with one row for each minute or hour. */
export function HistoryTable(
  props: ITextContext & {
    readonly history: HistoryView;
    readonly range: TimeRange;
    readonly subject: IHistorySubject;
    /** The name of the lease's notebook or of the device. */
    readonly name: string;
  }
): React.JSX.Element {
  const { history, range, subject, name, trans, language } = props;
  const caption = tableCaption(name, range, subject, trans, language);
  const columns = tableColumns(summarize(history), props);
  return (
    // A scrollable region must be reachable by keyboard and have a name.
    <div className="fg-Table" role="region" aria-label={trans.__('Table of %1', name)} tabIndex={0}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">{range === 'week' ? trans.__('Hour') : trans.__('Minute')}</th>
            {columns.map(column => (
              <th key={column.name} scope="col" title={column.name} aria-label={column.name}>
                {column.shortName ?? column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {historyRows(history, range).map(({ start, summary }) => (
            <tr key={start}>
              <th scope="row">{formatRowTime(start, range, language)}</th>
              {columns.map(column => {
                const value = column.value(summary);
                return (
                  <td key={column.name}>
                    {value === null ? <UnknownValue trans={trans} /> : column.format(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A dash for an unknown value, which screen readers read as “unknown”. */
function UnknownValue(props: Pick<ITextContext, 'trans'>): React.JSX.Element {
  return (
    <>
      <span className="fg-dim" aria-hidden="true">
        –
      </span>
      <span className="fg-ScreenReaderOnly">{props.trans.__('unknown')}</span>
    </>
  );
}

/** Return the columns of the table; those of power and temperature only if any of their values are known. */
function tableColumns(
  total: IHistorySummary,
  { trans, language }: ITextContext
): ReadonlyArray<IColumn> {
  const columns: IColumn[] = [
    {
      name: trans.__('GPU'),
      value: summary => summary.utilizationMean,
      format: value => formatPercent(value, language)
    },
    {
      name: trans.__('Memory'),
      value: summary => summary.memoryMax,
      format: value => formatMemory(value, language)
    },
    {
      name: trans.__('Power'),
      value: summary => summary.powerMean,
      format: value => formatPower(value, language)
    },
    {
      name: trans.__('Temperature'),
      shortName: trans.__('Temp.'),
      value: summary => summary.temperatureMean,
      format: value => formatTemperature(value, language)
    }
  ];
  return columns.filter((column, index) => index < 2 || column.value(total) !== null);
}
