/** A kernel without a lease: that its cells run on the CPU, and what a GPU would cost, with the button that gets it. */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import { shortModel } from '../texts/format';
import { endReason } from '../texts/lease';
import { effectText, offeredSize, rateText } from '../texts/size';
import { FormattedText } from './components';
import type { IActing } from './hooks';
import { useSizes } from './hooks';
import type { IControlsProps } from './leasecontrols';
import { EffectMark } from './sizeslider';

export function NoLease(
  props: IControlsProps & {
    /** The lease that ended last; null if there was none. */
    readonly lease: LeaseView | null;
    readonly live: boolean;
    readonly acting: IActing;
  }
): React.JSX.Element {
  const { source, lease, live, acting, trans, language } = props;
  // A kernel that runs here cannot move to a cluster: its GPU comes with another kernel.
  const isCluster = (source.pool?.cluster ?? null) !== null;
  const canRequest = source.isGated !== false && !isCluster;
  const { sizes, failure } = useSizes(
    source,
    null,
    `${source.queueLength} ${source.leases.map(({ version }) => version).join(' ')}`,
    source.connection.kind === 'connected' && canRequest
  );
  const offer = sizes === null ? null : offeredSize(sizes.options);
  const currency = source.pool?.currency ?? '';
  return (
    <>
      {lease !== null && (
        <p className="fg-Note" data-kind="info">
          <FormattedText
            text={trans.__('The GPU lease of this kernel has ended. %1', endReason(lease, trans, language))}
          />
        </p>
      )}
      <p className="fg-Note">
        {isCluster
          ? trans.__(
              'Cells of this notebook run on the CPU of this machine. The GPUs are on a cluster, where a new kernel starts; the variables of this one are lost then.'
            )
          : canRequest
          ? trans.__('Cells of this notebook run on the CPU. Variables stay when a GPU is added.')
          : trans.__(
              'This kernel is not a FastGPU kernel, so that it cannot get a GPU lease. Another kernel can; the variables of this one are lost then.'
            )}
      </p>
      {canRequest && failure !== null && (
        <p className="fg-Note" data-kind="warning">
          <FormattedText text={failure} />
        </p>
      )}
      {canRequest && offer !== null && (
        <p className="fg-Offer">
          <EffectMark effect={offer.effect} />
          <span>
            <strong>{offer.size}</strong>
            {[
              offer.model === null ? '' : ` ${trans.__('of %1', shortModel(offer.model))}`,
              effectText(offer, trans, language).join(', '),
              rateText(offer.rate_micro, currency, trans, language)
            ].join(', ').replace(/^, /, ' ')}
          </span>
        </p>
      )}
      <div className="fg-Buttons">
        {canRequest && props.onGetGPU !== undefined && (
          <button type="button" className="fg-Button" disabled={!live} onClick={props.onGetGPU}>
            {trans.__('Get a GPU…')}
          </button>
        )}
        {canRequest && offer !== null && (
          <button
            type="button"
            className="fg-Button fg-mod-primary"
            disabled={!live}
            onClick={() => void acting.act('request', { size: offer.size })}
          >
            {trans.__('Get %1', offer.size)}
          </button>
        )}
        {!canRequest && props.onChangeKernel !== undefined && (
          <button type="button" className="fg-Button" onClick={props.onChangeKernel}>
            {isCluster ? trans.__('Choose size…') : trans.__('Change kernel…')}
          </button>
        )}
      </div>
    </>
  );
}
