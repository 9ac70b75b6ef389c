/**
 * Details of a lease that are rarely needed: its GPU, its mechanism and why it was chosen, its memory limit.
 */

import * as React from 'react';

import { formatDayTime, shortModel } from '../texts/format';
import type { IDevice, ILease } from '../leases/lease';
import { mechanismName, memoryLimitText, scrubNote } from '../texts/lease';
import type { ITextContext } from './textcontext';
import { FormattedText } from './components';

/** A collapsed list of the details of a lease. */
export function LeaseDetails(
  props: ITextContext & {
    readonly lease: ILease;
    readonly name: string;
    readonly devices: ReadonlyArray<IDevice>;
  }
): React.JSX.Element {
  const { lease, name, devices, trans, language } = props;
  const mechanism = [mechanismName(lease, trans), lease.mechanism_reason].filter(Boolean).join('. ');
  const facts: ReadonlyArray<readonly [string, string | null]> = [
    [trans.__('Device'), deviceName(lease, devices, trans)],
    [trans.__('Mechanism'), mechanism === '' ? null : mechanism],
    [trans.__('Memory limit'), memoryLimitText(lease, trans) || null],
    [trans.__('Device files'), deviceFilesText(lease, trans)],
    [trans.__('Granted'), lease.granted_at === null ? null : formatDayTime(lease.granted_at, language)],
    [trans.__('After parking'), scrubNote(lease, trans, language)],
    [trans.__('Lease'), lease.id]
  ];
  return (
    <details className="fg-Collapsible">
      <summary aria-label={trans.__('Details of %1', name)}>{trans.__('Details')}</summary>
      <dl className="fg-Details">
        {facts.map(
          ([term, fact]) =>
            fact !== null && (
              <div key={term}>
                <dt>{term}</dt>
                <dd>
                  <FormattedText text={fact} />
                </dd>
              </div>
            )
        )}
      </dl>
    </details>
  );
}

/** Return whether the kernel can open the device files of other GPUs; null if access is not restricted. */
function deviceFilesText(lease: ILease, trans: ITextContext['trans']): string | null {
  return lease.device_nodes_closed === true
    ? trans.__('The kernel can open only those of its own GPU.')
    : lease.device_nodes_message;
}

/** Return the indices and the model of a lease's devices; only the model if the devices are not listed. */
function deviceName(
  lease: ILease,
  devices: ReadonlyArray<IDevice>,
  trans: ITextContext['trans']
): string | null {
  if (lease.device_id === null) {
    return null;
  }
  const ids = lease.device_ids.length > 0 ? lease.device_ids : [lease.device_id];
  const indices = devices.filter(device => ids.includes(device.id)).map(device => device.index);
  const model = shortModel(lease.device_model ?? lease.device_id);
  return indices.length === 0 ? model : trans.__('GPU %1: %2', indices.join(', '), model);
}
