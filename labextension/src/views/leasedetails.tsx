/**
 * What a user asks of a lease now and then: which GPU it is, how it is served and why, who keeps its limit.
 */

import * as React from 'react';

import { formatDayTime, shortModel } from '../texts/format';
import type { IDevice, ILease } from '../leases/lease';
import { enforcement, mechanismName, scrubNote } from '../texts/lease';
import type { IWriting } from './textcontext';
import { Said } from './components';

export function LeaseDetails(
  props: IWriting & {
    readonly lease: ILease;
    readonly name: string;
    readonly devices: ReadonlyArray<IDevice>;
  }
): React.JSX.Element {
  const { lease, name, devices, trans, language } = props;
  const mechanism = [mechanismName(lease, trans), lease.mechanism_reason].filter(Boolean).join('. ');
  const facts: ReadonlyArray<readonly [string, string | null]> = [
    [trans.__('On'), placeName(lease, devices, trans)],
    [trans.__('Served as'), mechanism === '' ? null : mechanism],
    [trans.__('Memory limit'), enforcement(lease, trans) || null],
    [trans.__('Device files'), deviceFiles(lease, trans)],
    [trans.__('Granted'), lease.granted_at === null ? null : formatDayTime(lease.granted_at, language)],
    [trans.__('Memory when parked'), scrubNote(lease, trans, language)],
    [trans.__('Lease'), lease.id]
  ];
  return (
    <details className="fg-Fold">
      <summary aria-label={trans.__('Details of %1', name)}>{trans.__('Details')}</summary>
      <dl className="fg-Details">
        {facts.map(
          ([term, fact]) =>
            fact !== null && (
              <div key={term}>
                <dt>{term}</dt>
                <dd>
                  <Said text={fact} />
                </dd>
              </div>
            )
        )}
      </dl>
    </details>
  );
}

/** Whether its kernel can open other GPUs; null where nobody was told to keep it from that. */
function deviceFiles(lease: ILease, trans: IWriting['trans']): string | null {
  return lease.device_nodes_closed === true
    ? trans.__('Its kernel can open those of its own GPU only.')
    : lease.device_nodes_message;
}

/** By the numbers that the list of devices has; by the model alone where they are not known. */
function placeName(
  lease: ILease,
  devices: ReadonlyArray<IDevice>,
  trans: IWriting['trans']
): string | null {
  if (lease.device_id === null) {
    return null;
  }
  const ids = lease.device_ids.length > 0 ? lease.device_ids : [lease.device_id];
  const indices = devices.filter(device => ids.includes(device.id)).map(device => device.index);
  const model = shortModel(lease.device_model ?? lease.device_id);
  return indices.length === 0 ? model : trans.__('GPU %1: %2', indices.join(', '), model);
}
