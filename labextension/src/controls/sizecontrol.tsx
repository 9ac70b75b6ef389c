/** The sizes of a lease: slider, what is requested beside what is applied, and the refusal of the last request. */

import * as React from 'react';

import { formatMoney } from '../texts/format';
import { messageText } from '../texts/message';
import { rateText } from '../texts/size';
import { FormattedText } from './components';
import { textOf, useSizes } from './hooks';
import { PendingChange } from './pendingchange';
import { SizeSlider } from './sizeslider';
import { SizesNote } from './sizesnote';
import type { ILeaseSource } from './source';
import type { ITextContext } from './textcontext';
import type { LeaseView, SizeOption } from '../generated/api';

/** Return what of a lease changes the sizes that it can have; usage does not. */
export function sizesVersion(source: ILeaseSource): string {
  const { lease } = source;
  return `${lease?.id} ${lease?.version} ${source.queueLength}`;
}

/** The size that the user chose, and the size that the lease had then. */
interface IChoice {
  readonly size: string;
  readonly seen: string;
  /** Whether it was applied, so that it is shown only until the sizes follow. */
  readonly isApplied?: boolean;
}

export function SizeControl(
  props: ITextContext & {
    readonly source: ILeaseSource;
    readonly lease: LeaseView;
    /** Whether the size can be changed now: connected, allowed, and no request is pending. */
    readonly live: boolean;
    /** Whether the slider takes the focus when it appears. */
    readonly takesFocus?: boolean;
    /** Called when a size was applied. */
    readonly onApplied?: () => void;
  }
): React.JSX.Element {
  const { source, lease, live, trans, language } = props;
  const [choice, setChoice] = React.useState<IChoice | null>(null);
  const [refusal, setRefusal] = React.useState<{ size: string; reason: string } | null>(null);
  const [isSending, setIsSending] = React.useState(false);
  const [applications, setApplications] = React.useState(0);
  const known = useSizes(
    source,
    lease.id,
    sizesVersion(source),
    source.connection.kind === 'connected',
    // A change of the size is rare, and the slider must not show the former one.
    `${lease.request.size} ${applications}`
  );
  const { sizes } = known;
  // The choice that was applied stays in the slider until the sizes follow.
  React.useEffect(
    () => setChoice(current => (current?.isApplied === true ? null : current)),
    [sizes?.applied, sizes?.requested]
  );
  const { currency } = lease.money;
  if (sizes === null || sizes.options.length === 0) {
    return <SizesNote known={known} none={trans.__('The sizes of this lease are unknown.')} trans={trans} />;
  }
  const find = (size: string | null): SizeOption | null =>
    sizes.options.find(option => option.size === size) ?? null;
  // The lease is newer than the sizes, which are asked for again after a while; it may write a size in another way.
  const held = find(lease.request.size)?.size ?? sizes.applied ?? sizes.requested;
  const deferred = lease.size.requested;
  const kept = deferred === null ? held : (find(deferred)?.size ?? sizes.requested);
  const applied = lease.gpu === null ? null : find(held);
  const requested = find(choice?.size ?? kept);
  const isChange =
    choice !== null && choice.isApplied !== true && choice.size !== kept && requested !== null;
  const apply = async ({ size, seen }: IChoice) => {
    setRefusal(null);
    setIsSending(true);
    try {
      await source.act('resize', { size, seen });
      setApplications(count => count + 1);
      setChoice({ size, seen: size, isApplied: true });
      props.onApplied?.();
    } catch (reason) {
      setRefusal({ size, reason: textOf(reason) });
      setChoice(null);
    }
    setIsSending(false);
  };
  return (
    <>
      <SizeSlider
        options={sizes.options}
        applied={applied?.size ?? null}
        requested={requested?.size ?? null}
        onRequest={size => {
          // The size that the user saw first: another page may change it before this choice is applied.
          const seen = choice === null || choice.isApplied === true ? lease.request.size : choice.seen;
          setChoice({ size, seen });
          setRefusal(null);
        }}
        disabled={!live || isSending}
        label={trans.__('Size')}
        takesFocus={props.takesFocus}
        trans={trans}
        language={language}
      />
      {isChange ? (
        <PendingChange
          applied={applied}
          requested={requested}
          currency={currency}
          disabled={!live || isSending}
          onApply={() => void apply(choice)}
          onKeep={() => setChoice(null)}
          keeps={kept}
          trans={trans}
          language={language}
        />
      ) : (
        lease.size.message !== null && (
          <>
            <p className="fg-Note" data-kind="warning">
              <FormattedText text={messageText(lease.size.message, trans, language)} />
            </p>
            {deferred !== null && held !== null && (
              <div className="fg-Buttons">
                <button
                  type="button"
                  className="fg-Button"
                  disabled={!live || isSending}
                  onClick={() => void apply({ size: held, seen: lease.request.size })}
                >
                  {trans.__('Keep %1', held)}
                </button>
              </div>
            )}
          </>
        )
      )}
      {refusal !== null && (
        <div className="fg-Note fg-Refusal" data-kind="error" role="alert">
          <p>
            <strong>{trans.__('Resize to %1 refused.', refusal.size)}</strong>{' '}
            <FormattedText text={refusal.reason} />{' '}
            {kept !== null && trans.__('The size stays %1.', kept)}
          </p>
          <div className="fg-Buttons">
            <button type="button" className="fg-Button" onClick={() => setRefusal(null)}>
              {trans.__('Dismiss')}
            </button>
          </div>
        </div>
      )}
    </>
  );
}

/** What a lease has cost so far, and what it costs for each hour; that nothing is billed while it holds no GPU. */
export function CostLine(props: ITextContext & { readonly lease: LeaseView }): React.JSX.Element {
  const { lease, trans, language } = props;
  const { cost_micro, currency, rate_micro_per_hour, billed_micro_per_hour } = lease.money;
  const isBilled = billed_micro_per_hour > 0 || lease.state === 'active';
  const facts = [
    ...(cost_micro > 0 || isBilled
      ? [trans.__('%1 so far', formatMoney(cost_micro, currency, language))]
      : []),
    isBilled
      ? rateText(rate_micro_per_hour, currency, trans, language)
      : trans.__('nothing is billed')
  ];
  return <span className="fg-dim">{facts.join(' · ')}</span>;
}

