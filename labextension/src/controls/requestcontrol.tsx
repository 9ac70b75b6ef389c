/** The sizes of a new request for a running kernel: the slider, what the choice gives, and the button that requests it. */

import * as React from 'react';

import { effectText, offeredSize, optionText, rateText } from '../texts/size';
import { FormattedText } from './components';
import { useActing, useSizes, useSource } from './hooks';
import { isApplicable } from './pendingchange';
import { EffectMark, SizeSlider } from './sizeslider';
import { SizesNote } from './sizesnote';
import type { ILeaseSource } from './source';
import type { ITextContext } from './textcontext';

export function RequestControl(
  props: ITextContext & {
    readonly source: ILeaseSource;
    /** Called when a lease was requested. */
    readonly onRequested: () => void;
  }
): React.JSX.Element {
  const { source, trans, language } = props;
  useSource(source);
  const acting = useActing(source);
  const [chosen, setChosen] = React.useState<string | null>(null);
  const isConnected = source.connection.kind === 'connected';
  const known = useSizes(
    source,
    null,
    `${source.queueLength} ${source.leases.map(({ version }) => version).join(' ')}`,
    isConnected
  );
  const { sizes } = known;
  const currency = source.pool?.currency ?? '';
  const live = isConnected && source.canAct && !source.isPending;
  if (sizes === null || sizes.options.length === 0) {
    return <SizesNote known={known} none={trans.__('This pool has no GPUs that could be requested.')} trans={trans} />;
  }
  const { options } = sizes;
  const option =
    options.find(({ size }) => size === chosen) ?? offeredSize(options) ?? options[options.length - 1];
  const request = async () => {
    if (await acting.act('request', { size: option.size })) {
      props.onRequested();
    }
  };
  return (
    <>
      <SizeSlider
        options={options}
        applied={null}
        requested={option.size}
        onRequest={setChosen}
        disabled={!live}
        label={trans.__('Size')}
        takesFocus
        trans={trans}
        language={language}
      />
      <p className="fg-Offer" role="status">
        <EffectMark effect={option.effect} />
        <span>
          <strong>{optionText(option, currency, trans, language)}</strong>
          {`: ${effectText(option, trans, language).join('; ')}`}
        </span>
      </p>
      {acting.failure !== null && (
        <p className="fg-Note" data-kind="error" role="alert">
          <FormattedText text={acting.failure} />
        </p>
      )}
      {!source.canAct && (
        <p className="fg-Note">{trans.__('You can see the leases of this server, but not change them.')}</p>
      )}
      <div className="fg-Buttons">
        <button
          type="button"
          className="fg-Button fg-mod-primary"
          disabled={!live || !isApplicable(option)}
          onClick={() => void request()}
        >
          {trans.__('Get %1 · %2', option.size, rateText(option.rate_micro, currency, trans, language))}
        </button>
      </div>
    </>
  );
}
