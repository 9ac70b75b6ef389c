/** The actions of a lease, and its release, which asks first and keeps the lease by default. */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import type { LeaseAction } from '../leases/actions';
import { availableActions, LEASE_ACTIONS } from '../leases/actions';
import { isOnCluster, isParkedOrReturning, isReleasable } from '../leases/lease';
import { releaseDialogTexts } from '../texts/lease';
import { rateText } from '../texts/size';
import type { IActing } from './hooks';
import type { IControlsProps } from './leasecontrols';

export function LeaseActions(
  props: IControlsProps & {
    readonly lease: LeaseView;
    readonly live: boolean;
    readonly acting: IActing;
  }
): React.JSX.Element {
  const { lease, live, acting, title, trans } = props;
  const [isAsking, setIsAsking] = React.useState(false);
  const release = React.useRef<HTMLButtonElement>(null);
  const leavesQueue = lease.state === 'waiting' && !isParkedOrReturning(lease);
  if (isAsking && isReleasable(lease)) {
    return (
      <ReleaseQuestion
        {...props}
        onAnswer={accepted => {
          setIsAsking(false);
          window.requestAnimationFrame(() => release.current?.focus());
          if (accepted) {
            void acting.act('release', undefined);
          }
        }}
      />
    );
  }
  return (
    <div className="fg-Controls-foot">
      {props.onOpenPanel !== undefined && (
        <button type="button" className="fg-Link" onClick={props.onOpenPanel}>
          {trans.__('Open panel')}
        </button>
      )}
      <div className="fg-Buttons" role="group" aria-label={trans.__('Actions for %1', title)}>
        {availableActions(lease).map(action => (
          <button
            key={action}
            type="button"
            className="fg-Button"
            disabled={!live}
            title={LEASE_ACTIONS[action].texts(title, trans).title}
            onClick={() => void acting.act(action, undefined)}
          >
            {actionLabel(action, props)}
          </button>
        ))}
        {leavesQueue && props.onResize !== undefined && !isOnCluster(lease) && (
          <button type="button" className="fg-Button" disabled={!live} onClick={props.onResize}>
            {trans.__('Resize…')}
          </button>
        )}
        {isReleasable(lease) && (
          <button
            ref={release}
            type="button"
            className="fg-Button"
            disabled={!live}
            onClick={() => setIsAsking(true)}
          >
            {leavesQueue ? trans.__('Cancel request…') : trans.__('Release…')}
          </button>
        )}
      </div>
    </div>
  );
}

/** Return the label of an action; one that begins to be billed names the rate. */
function actionLabel(
  action: LeaseAction,
  { lease, title, trans, language }: IControlsProps & { readonly lease: LeaseView }
): string {
  const { currency, rate_micro_per_hour } = lease.money;
  return action === 'resume' && rate_micro_per_hour !== null
    ? trans.__('Resume · %1', rateText(rate_micro_per_hour, currency, trans, language))
    : LEASE_ACTIONS[action].texts(title, trans).label;
}

/** The question before a release. The focus is on the answer that changes nothing. */
function ReleaseQuestion(
  props: IControlsProps & {
    readonly lease: LeaseView;
    readonly live: boolean;
    readonly onAnswer: (accepted: boolean) => void;
  }
): React.JSX.Element {
  const { lease, live, trans, onAnswer } = props;
  const { title, body, accept } = releaseDialogTexts(lease, trans);
  const id = React.useId();
  const cancel = React.useRef<HTMLButtonElement>(null);
  React.useEffect(() => cancel.current?.focus(), []);
  return (
    <div
      className="fg-Controls-section fg-Question"
      role="alertdialog"
      aria-labelledby={`${id}-title`}
      aria-describedby={`${id}-body`}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          onAnswer(false);
        }
      }}
    >
      <h3 id={`${id}-title`}>{title}</h3>
      <p id={`${id}-body`}>{body}</p>
      <div className="fg-Buttons">
        <button ref={cancel} type="button" className="fg-Button" onClick={() => onAnswer(false)}>
          {trans.__('Cancel')}
        </button>
        <button
          type="button"
          className="fg-Button fg-mod-warn"
          disabled={!live}
          onClick={() => onAnswer(true)}
        >
          {accept}
        </button>
      </div>
    </div>
  );
}
