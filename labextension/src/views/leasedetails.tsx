/**
 * Details of a lease that are rarely needed: its GPU, its mechanism and why it was chosen, its memory limit.
 */

import * as React from 'react';

import { formatDayTime, shortModel } from '../texts/format';
import type { DeviceView, LeaseView, LogicalGPUView, MessageView } from '../generated/api';
import { mechanismName, memoryLimitText, scrubNote } from '../texts/lease';
import { messageText } from '../texts/message';
import type { ITextContext } from '../controls/textcontext';
import { FormattedText } from '../controls/components';

/** A collapsed list of the details of a lease. */
export function LeaseDetails(
  props: ITextContext & {
    readonly lease: LeaseView;
    readonly gpu: LogicalGPUView;
    readonly name: string;
    readonly devices: ReadonlyArray<DeviceView>;
  }
): React.JSX.Element {
  const { lease, gpu, name, devices, trans, language } = props;
  const { message: accessMessage, restricted } = lease.device_access;
  const text = (message: MessageView | null) =>
    message === null ? null : messageText(message, trans, language);
  const facts: ReadonlyArray<readonly [string, string | null]> = [
    [trans.__('Device'), deviceName(gpu, devices, trans)],
    [
      trans.__('Mechanism'),
      [mechanismName(gpu, trans), text(gpu.mechanism_reason)].filter(Boolean).join('. ')
    ],
    [trans.__('Memory limit'), memoryLimitText(lease, trans) || null],
    [
      trans.__('Device files'),
      restricted ? trans.__('The kernel can open only those of its own GPU.') : text(accessMessage)
    ],
    [trans.__('Granted'), lease.times.granted_at === null ? null : formatDayTime(lease.times.granted_at, language)],
    [trans.__('Parking'), text(lease.parking.obstacle)],
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

/** Return the indices and the model of the devices; only the model if the devices are not listed. */
function deviceName(
  gpu: LogicalGPUView,
  devices: ReadonlyArray<DeviceView>,
  trans: ITextContext['trans']
): string {
  const indices = devices
    .filter(device => gpu.device_ids.includes(device.id))
    .map(device => device.index);
  const model = shortModel(gpu.model ?? gpu.device_ids[0]);
  return indices.length === 0 ? model : trans.__('GPU %1: %2', indices.join(', '), model);
}
