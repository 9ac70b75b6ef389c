/** What the chosen size is, what it costs and when it starts; and what is offered in its place. */

import * as React from 'react';

import { FormattedText } from '../controls/components';
import { EffectMark } from '../controls/sizeslider';
import type { SizeOption } from '../generated/api';
import type { ITextContext } from '../controls/textcontext';
import { largestThatFits, startKind } from '../launch/form';
import { formatDuration, formatMemory, shortModel } from '../texts/format';
import { messageText } from '../texts/message';
import { rateText, smallerNow } from '../texts/size';
import type { IAnswer } from './choosesizes';

export function Answer(
  props: ITextContext & {
    readonly answer: IAnswer;
    readonly option: SizeOption | null;
    readonly size: string;
    readonly options: ReadonlyArray<SizeOption>;
    readonly currency: string;
    readonly isCluster: boolean;
    readonly onChoose: (size: string) => void;
  }
): React.JSX.Element {
  const { answer, option, size, options, currency, onChoose, trans, language } = props;
  if (answer.failure !== null) {
    return (
      <p className="fg-Note" data-kind="error" role="alert">
        <FormattedText text={answer.failure} />
      </p>
    );
  }
  if (answer.sizes === null) {
    return (
      <p className="fg-Note" role="status">
        {answer.isChecking ? trans.__('checking…') : '\u00a0'}
      </p>
    );
  }
  // A size without a model, which a cluster serves with any that it has.
  const isAny = props.isCluster && option === null;
  const kind = isAny ? 'wait' : startKind(option);
  const smaller = kind === 'wait' ? smallerNow(options, size) : null;
  const largest = kind === 'impossible' ? largestThatFits(options) : null;
  const offer = smaller ?? largest;
  const facts =
    option === null
      ? [size]
      : [
          size,
          option.model === null
            ? formatMemory(option.memory_bytes, language)
            : trans.__('%1 of %2', formatMemory(option.memory_bytes, language), shortModel(option.model))
        ];
  return (
    <>
      <div className="fg-Answer" role="status" data-stale={answer.isChecking}>
        <p className="fg-Answer-head">
          <strong>{facts.join(' · ')}</strong>
          <strong>{rateText(option?.rate_micro ?? null, currency, trans, language)}</strong>
        </p>
        <p className="fg-Answer-start">
          {option !== null && <EffectMark effect={option.effect} />}
          <span>
            <strong>
              {answer.isChecking
                ? trans.__('checking…')
                : isAny
                  ? trans.__('Any model that the cluster has.')
                  : startText(option, props)}
            </strong>{' '}
            {kind === 'wait' &&
              (props.isCluster
                ? trans.__(
                    'The kernel starts when the GPU is granted; until then the notebook can use the CPU of this machine. Waiting costs nothing.'
                  )
                : trans.__('The kernel starts at once; its first cell waits for the GPU. Waiting costs nothing.'))}
            {kind === 'impossible' && option !== null && option.reason !== null && (
              <FormattedText text={messageText(option.reason, trans, language)} />
            )}
            {kind === 'unknown' &&
              trans.__('This size is none of the steps, so that its start and its rate are not known.')}
          </span>
        </p>
        {option !== null && option.estimate !== null && option.effect !== 'unavailable' && (
          <p className="fg-dim">{messageText(option.estimate.basis, trans, language)}</p>
        )}
      </div>
      {offer !== null && (
        <div className="fg-Note fg-Offered" data-kind="offer">
          <EffectMark effect={offer.effect} />
          <span>
            {smaller !== null
              ? trans.__(
                  '%1 starts now, %2. Resize to %3 later; variables stay.',
                  offer.size,
                  rateText(offer.rate_micro, currency, trans, language),
                  size
                )
              : trans.__(
                  '%1 is the largest size that can be had, %2.',
                  offer.size,
                  rateText(offer.rate_micro, currency, trans, language)
                )}
          </span>
          <button type="button" className="fg-Button" onClick={() => onChoose(offer.size)}>
            {trans.__('Choose %1', offer.size)}
          </button>
        </div>
      )}
    </>
  );
}

/** Return when a size starts, as a sentence. */
function startText(option: SizeOption | null, { trans, language }: ITextContext): string {
  if (option === null) {
    return trans.__('Its start is unknown.');
  }
  const wait = option.estimate?.wait_ms ?? null;
  switch (option.effect) {
    case 'now':
      return trans.__('Starts now.');
    case 'after_parking':
      return trans.__('Starts after idle leases are parked.');
    case 'queued':
      if (option.position === null) {
        // A cluster decides; what of it is free is not known.
        return option.reason === null ? trans.__('Waits in the queue.') : messageText(option.reason, trans, language);
      }
      return wait === null
        ? trans.__('Position %1.', option.position)
        : trans.__('Position %1, about %2.', option.position, formatDuration(wait));
    case 'needs_restart':
    case 'unavailable':
      return trans.__('Not available.');
  }
}
