/** The button that connects again and reloads all data. */

import { refreshIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';

export function RefreshButton({
  trans,
  onRefresh
}: Pick<ITextContext, 'trans'> & { readonly onRefresh: () => void }): React.JSX.Element {
  return (
    <button
      type="button"
      className="fg-IconButton"
      title={trans.__('Reconnect and reload all data')}
      aria-label={trans.__('Refresh')}
      onClick={onRefresh}
    >
      <refreshIcon.react tag="span" width="16px" height="16px" />
    </button>
  );
}
