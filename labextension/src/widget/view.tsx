/** The widget: the controls of its kernel's lease, or that the kernel has ended. */

import * as React from 'react';

import { LeaseControls } from '../controls/leasecontrols';
import type { ILeaseSource } from '../controls/source';
import { StateMark } from '../controls/statemark';
import type { ITextContext } from '../controls/textcontext';
import { useSource } from '../controls/hooks';
import { formatMoney, formatTime } from '../texts/format';
import { stateName } from '../texts/lease';
import { leaseFacts } from '../texts/size';
import { CommSource } from './commsource';
import type { IModel } from './commsource';
import type { IWidgetPage } from './page';
import { findPage, PAGE_EVENT } from './page';
import { bundleOf } from './texts';

/** Return the page's object, also if it is set later than the widget is rendered. */
function usePage(): IWidgetPage | null {
  const [page, setPage] = React.useState(findPage);
  React.useEffect(() => {
    const find = () => setPage(findPage());
    find();
    window.addEventListener(PAGE_EVENT, find);
    return () => window.removeEventListener(PAGE_EVENT, find);
  }, []);
  return page;
}

/** Return whether the kernel is known not to run any more. */
function useEnded(page: IWidgetPage, kernelId: string): boolean {
  const [ended, setEnded] = React.useState(false);
  React.useEffect(() => {
    const look = () => setEnded(page.isRunning(kernelId) === false);
    look();
    return page.kernelsChanged(look);
  }, [page, kernelId]);
  return ended;
}

export function Widget({ model }: { readonly model: IModel }): React.JSX.Element {
  const page = usePage();
  const { kernel_id: kernelId } = model.get('_initial');
  return page !== null && kernelId !== null ? (
    <PageWidget page={page} kernelId={kernelId} />
  ) : (
    <CommWidget model={model} />
  );
}

/** The widget in JupyterLab and Notebook 7. `data-live` hides the table below it. */
function PageWidget(props: { readonly page: IWidgetPage; readonly kernelId: string }): React.JSX.Element {
  const { page, kernelId } = props;
  const source = React.useMemo(() => page.source(kernelId), [page, kernelId]);
  const ended = useEnded(page, kernelId);
  const { trans, language } = page;
  return (
    <div className="fg-Widget-body" data-live={!ended}>
      {ended ? (
        <Ended source={source} trans={trans} language={language} />
      ) : (
        <LeaseControls source={source} title={trans.__('GPU lease')} trans={trans} language={language} />
      )}
    </div>
  );
}

/** The widget elsewhere: what the kernel's last message told, with its time, and a button that asks again. */
function CommWidget({ model }: { readonly model: IModel }): React.JSX.Element {
  const initial = model.get('_initial');
  const language = initial.language ?? (document.documentElement.lang || navigator.language);
  const trans = React.useMemo(() => bundleOf(initial.translations), [initial]);
  const source = React.useMemo(() => new CommSource(model, trans, language), [model, trans, language]);
  React.useEffect(() => () => source.dispose(), [source]);
  useSource(source);
  if (source.isEnded) {
    return (
      <div className="fg-Widget-body">
        <Ended source={source} trans={trans} language={language} />
      </div>
    );
  }
  return (
    <div className="fg-Widget-body">
      <LeaseControls source={source} title={trans.__('GPU lease')} trans={trans} language={language}>
        <p className="fg-Note fg-Widget-time">
          {trans.__(
            'As of %1. While a cell runs, the table below follows the lease.',
            formatTime(source.updatedAt, language)
          )}{' '}
          <button
            type="button"
            className="fg-Button"
            disabled={source.isPending}
            onClick={() => source.refresh()}
          >
            {trans.__('Refresh')}
          </button>
        </p>
      </LeaseControls>
    </div>
  );
}

/** What is left of a widget whose kernel has ended. */
function Ended(props: ITextContext & { readonly source: ILeaseSource }): React.JSX.Element {
  const { source, trans, language } = props;
  useSource(source);
  const { lease } = source;
  const facts =
    lease === null
      ? []
      : [
          ...leaseFacts(lease, trans, language),
          ...(lease.times.ended_at === null
            ? []
            : [trans.__('lease ended at %1', formatTime(lease.times.ended_at, language))])
        ];
  const cost =
    lease === null
      ? null
      : trans.__('%1 in total', formatMoney(lease.money.cost_micro, lease.money.currency, language));
  return (
    <div className="fg-Controls" data-state="ended">
      <header className="fg-Controls-head">
        <h2>{trans.__('GPU lease')}</h2>
        <span role="status">
          <StateMark mark={{ shape: 'dashed', word: stateName('ended', trans) }} />
        </span>
      </header>
      <p className="fg-Facts">
        {facts.map((fact, index) => (
          <span key={index}>{fact}</span>
        ))}
        {cost !== null && <span className="fg-mod-strong">{cost}</span>}
      </p>
      <p className="fg-Note">
        {trans.__(
          "This widget belongs to a kernel that has ended. Run the cell again to show the new kernel's lease."
        )}
      </p>
    </div>
  );
}
