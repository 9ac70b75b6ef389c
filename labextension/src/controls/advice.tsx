/** The advice on the size of a lease: its measured basis, one button that applies it, one that silences it. */

import * as React from 'react';

import type { AdviceView, LeaseView } from '../generated/api';
import { notebookName } from '../texts/lease';
import { messageText } from '../texts/message';
import { rateText } from '../texts/size';
import { FormattedText } from './components';
import type { IActing } from './hooks';
import { loadRepeatedly, useActing, useSource } from './hooks';
import type { ILeaseSource } from './source';
import type { ITextContext } from './textcontext';

/** Advice changes slowly: it is asked for again at most this often. */
const REFRESH_MS = 300_000;
/** A list has advice for so many leases at most; each is asked for by itself. */
const LISTED_MAX = 5;

/** The advice for one lease; nothing where there is none, or while it is unknown. */
export function AdviceNote(
  props: ITextContext & {
    readonly source: ILeaseSource;
    readonly lease: LeaseView;
    readonly live: boolean;
    readonly acting: IActing;
    /** Whether the notebook is named, where the note stands among others. */
    readonly isNamed?: boolean;
  }
): React.JSX.Element | null {
  const { source, lease, live, acting, isNamed, trans, language } = props;
  const { view, silence } = useAdvice(source, lease);
  const advice = view?.advice ?? null;
  if (advice === null) {
    return null;
  }
  const { currency } = lease.money;
  const apply =
    advice.rate_micro === null
      ? trans.__('Use %1', advice.size)
      : trans.__('Use %1 · %2', advice.size, rateText(advice.rate_micro, currency, trans, language));
  return (
    <div className="fg-Note fg-Advice" data-kind="advice">
      <p>
        {isNamed === true && <strong>{notebookName(lease.holder, trans)}: </strong>}
        <FormattedText text={messageText(advice.basis, trans, language)} />
      </p>
      <div className="fg-Buttons">
        {lease.cluster === null && (
          <button
            type="button"
            className="fg-Button"
            disabled={!live}
            onClick={() => void acting.act('resize', { size: advice.size }, lease.id)}
          >
            {apply}
          </button>
        )}
        {source.silenceAdvice !== undefined && (
          <button type="button" className="fg-Button" disabled={!live} onClick={silence}>
            {trans.__('Not for this notebook')}
          </button>
        )}
      </div>
    </div>
  );
}

/** The advice for all active leases of a source, with the names of the notebooks and what a refusal says. */
export function AdviceList(
  props: ITextContext & { readonly source: ILeaseSource }
): React.JSX.Element {
  const { source, trans } = props;
  useSource(source);
  const acting = useActing(source);
  const live = source.connection.kind === 'connected' && source.canAct;
  return (
    <>
      {source.leases
        .filter(({ state }) => state === 'active')
        .slice(0, LISTED_MAX)
        .map(lease => (
          <AdviceNote key={lease.id} {...props} lease={lease} live={live} acting={acting} isNamed />
        ))}
      {acting.failure !== null && (
        <p className="fg-Note" data-kind="error" role="alert">
          <FormattedText text={acting.failure} />{' '}
          <button type="button" className="fg-Link" onClick={() => acting.setFailure(null)}>
            {trans.__('Dismiss')}
          </button>
        </p>
      )}
    </>
  );
}

/** Return the advice for a lease, which is asked for when it is shown, and again with another size. */
function useAdvice(
  source: ILeaseSource,
  lease: LeaseView
): { readonly view: AdviceView | null; readonly silence: () => void } {
  const [view, setView] = React.useState<AdviceView | null>(null);
  const { id, state } = lease;
  const { size } = lease.request;
  const isAsked = state === 'active' && source.connection.kind === 'connected';
  React.useEffect(() => {
    const { loadAdvice } = source;
    if (loadAdvice === undefined || !isAsked) {
      setView(null);
      return;
    }
    // Advice that cannot be had now is not shown.
    return loadRepeatedly(() => loadAdvice(id), REFRESH_MS, setView);
  }, [source, id, size, isAsked]);
  const silence = () => {
    void source.silenceAdvice?.(id, true).then(setView, () => undefined);
  };
  return { view, silence };
}
