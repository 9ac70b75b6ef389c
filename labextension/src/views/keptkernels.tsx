/**
 * The user's kernels that run on without a Jupyter server and that this one has not adopted: what they do, and a button
 * that ends one. Loaded with the panel's first section of leases; nothing is shown where there are none.
 */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import * as React from 'react';

import { loadRepeatedly } from '../controls/hooks';
import type { ITextContext } from '../controls/textcontext';
import type { KeptKernelList, KeptKernelView } from '../generated/api';
import { errorMessage } from '../leases/request';
import type { LeaseAPI } from '../leases/restapi';
import { baseName, formatDayTime, formatMemory } from '../texts/format';

/** They are asked for while the section is shown; the server looks into a folder, which is empty in most cases. */
const REFRESH_MS = 10_000;

export interface IKeptKernelsProps extends ITextContext {
  readonly api: Pick<LeaseAPI, 'keptKernels' | 'endKept'>;
  /** Whether the user may change leases. */
  readonly canAct: boolean;
}

export function KeptKernels(props: IKeptKernelsProps): React.JSX.Element | null {
  const { api, trans } = props;
  const [kernels, setKernels] = React.useState<KeptKernelList['kernels']>([]);
  const [ending, setEnding] = React.useState<string | null>(null);
  const [said, setSaid] = React.useState<{ readonly text: string; readonly fails: boolean } | null>(null);
  const node = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => loadRepeatedly(() => api.keptKernels(), REFRESH_MS, list => setKernels(list.kernels)), [api]);

  const end = async (kernel: KeptKernelView) => {
    const name = nameOf(kernel);
    if (!(await confirmed(name, props))) {
      return;
    }
    setEnding(kernel.kernel_id);
    setSaid(null);
    try {
      setKernels((await api.endKept(kernel.kernel_id)).kernels);
      setSaid({ text: trans.__('The kernel of %1 has ended; its GPU is released.', name), fails: false });
      node.current?.focus();
    } catch (reason) {
      setSaid({ text: errorMessage(reason), fails: true });
    }
    setEnding(null);
  };

  if (kernels.length === 0 && said === null) {
    return null;
  }
  return (
    <div ref={node} className="fg-Note fg-Kept" role="group" tabIndex={-1} aria-label={trans.__('Kernels without a server')}>
      {kernels.length > 0 && (
        <>
          <p>
            {trans.__(
              'These kernels run on without a Jupyter server. A server with the same root folder adopts them when it starts.'
            )}
          </p>
          <ul>
            {kernels.map(kernel => (
              <li key={kernel.kernel_id} data-kernel-id={kernel.kernel_id}>
                <span>
                  <strong title={`${kernel.root} · ${kernel.notebook ?? kernel.kernel_id}`}>{nameOf(kernel)}</strong>{' '}
                  {factsOf(kernel, props).join(' · ')}
                </span>
                <button
                  type="button"
                  className="fg-Button"
                  disabled={!props.canAct || ending !== null}
                  aria-label={trans.__('End the kernel of %1', nameOf(kernel))}
                  onClick={() => void end(kernel)}
                >
                  {ending === kernel.kernel_id ? trans.__('Ending…') : trans.__('End')}
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
      {said !== null && (
        <p className="fg-Note" role={said.fails ? 'alert' : 'status'} {...(said.fails && { 'data-kind': 'error' })}>
          {said.text}
        </p>
      )}
    </div>
  );
}

/** Ask before variables are lost; the default answer keeps the kernel. */
async function confirmed(name: string, { trans }: ITextContext): Promise<boolean> {
  const { button } = await showDialog({
    title: trans.__('End the kernel of %1?', name),
    body: trans.__('Its cell is stopped, its variables are lost, and its GPU is released.'),
    buttons: [Dialog.cancelButton({ label: trans.__('Keep it') }), Dialog.warnButton({ label: trans.__('End') })],
    defaultButton: 0
  });
  return button.accept;
}

function nameOf({ notebook, kernel_id }: KeptKernelView): string {
  return notebook === null ? kernel_id.slice(0, 8) : baseName(notebook);
}

/** Return what is known of a kernel, for one line. */
function factsOf(kernel: KeptKernelView, { trans, language }: ITextContext): ReadonlyArray<string> {
  return [
    stateOf(kernel, trans),
    kernel.since === null
      ? trans.__('since when is unknown')
      : trans.__('since %1', formatDayTime(kernel.since, language)),
    kernel.memory_bytes === null ? trans.__('memory unknown') : formatMemory(kernel.memory_bytes, language)
  ];
}

function stateOf({ state }: KeptKernelView, trans: ITextContext['trans']): string {
  switch (state) {
    case 'starting':
      return trans.__('starting');
    case 'running':
      return trans.__('runs a cell');
    case 'waiting':
      return trans.__('waits for its GPU');
    case 'idle':
      return trans.__('idle');
    default:
      return trans.__('what it does is unknown');
  }
}
