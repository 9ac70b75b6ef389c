/** A widget that React renders by a function of its owner. */

import { ReactWidget } from '@jupyterlab/ui-components';
import type * as React from 'react';

export class Part extends ReactWidget {
  constructor(private readonly _draw: () => React.JSX.Element | null) {
    super();
  }

  protected override render(): React.JSX.Element | null {
    return this._draw();
  }
}
