/**
 * The widget of the dashboard in the main area, with its toolbar.
 */

import { MainAreaWidget } from '@jupyterlab/apputils';
import type { Message } from '@lumino/messaging';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import { csvText } from '../leases/csv';
import { dashboardRows } from '../leases/dashboard';
import type { PoolRecord } from '../leases/record';
import { timeRangeName } from '../texts/history';
import type { ILeaseManager } from '../tokens';
import type { IDashboardChoices, IDashboardProps } from './dashboard';
import { Dashboard, DASHBOARD_RANGES } from './dashboard';
import { FocusRestorer } from './focus';
import { Part } from './part';
import { RefreshButton } from './refreshbutton';
import { saveFile } from './savefile';
import { Ticker } from './ticker';

/** The controls above the content. */
function DashboardTools(
  props: Pick<IDashboardProps, 'trans' | 'range' | 'state' | 'onChoose' | 'onRefresh'>
): React.JSX.Element {
  const { trans, range, state } = props;
  const name = React.useId();
  // Of a cluster the page has neither devices nor a record of them.
  const hasDevices = (state.pool?.cluster ?? null) === null;
  return (
    <div className="fg-Dashboard-tools fg-Chart">
      {hasDevices && (
        <>
          <div className="fg-Chart-ranges" role="radiogroup" aria-label={trans.__('Time range')}>
            {DASHBOARD_RANGES.map(choice => (
              <label key={choice} className="fg-Chart-range">
                <input
                  type="radio"
                  name={name}
                  checked={choice === range}
                  onChange={() => props.onChoose({ range: choice })}
                />
                <span>{timeRangeName(choice, trans)}</span>
              </label>
            ))}
          </div>
          <button
            type="button"
            className="fg-Button"
            disabled={state.pool === null}
            title={trans.__('Save the devices and the leases on them as a table')}
            onClick={() => {
              const text = `\ufeff${csvText(dashboardRows(state))}`;
              saveFile(new Blob([text], { type: 'text/csv' }), 'fastgpu-devices.csv');
            }}
          >
            {trans.__('Export CSV')}
          </button>
        </>
      )}
      <RefreshButton trans={trans} onRefresh={props.onRefresh} />
    </div>
  );
}

/** The widget of the main area; it is not rendered while it is hidden. */
export class DashboardWidget extends MainAreaWidget<Part> {
  constructor(options: DashboardWidget.IOptions) {
    super({ content: new Part(() => this._renderContent()) });
    this._options = options;
    this._choices = options.choices;
    this.addClass('fg-Dashboard');
    this.content.addClass('fg-Dashboard-content');
    this._tools = new Part(() => this._renderTools());
    this.toolbar.addItem('tools', this._tools);
    this._focus = new FocusRestorer(this.node);
    options.manager.changed.connect(this._render, this);
    options.record.changed.connect(this._render, this);
    this._ticker.start();
  }

  get choices(): IDashboardChoices {
    return this._choices;
  }

  /** Emitted when the user has chosen something else. */
  get choicesChanged(): ISignal<this, void> {
    return this._choicesChanged;
  }

  override dispose(): void {
    this._ticker.stop();
    this._focus.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._render();
  }

  private _render(): void {
    if (!this.isDisposed && this.isVisible && document.visibilityState === 'visible') {
      this._ticker.onRendered();
      this.content.update();
      this._tools.update();
    }
  }

  private _choose(choices: Partial<IDashboardChoices>): void {
    this._choices = { ...this._choices, ...choices };
    this._choicesChanged.emit();
    this._render();
  }

  private _props(): IDashboardProps {
    const { manager, record } = this._options;
    return {
      ...this._options,
      ...this._choices,
      state: manager.state,
      connection: manager.connection,
      updatedAt: manager.updatedAt,
      now: manager.now(),
      samples: record.samples,
      onChoose: choices => this._choose(choices),
      onRefresh: () => manager.refresh()
    };
  }

  private _renderContent(): React.JSX.Element {
    return <Dashboard {...this._props()} />;
  }

  private _renderTools(): React.JSX.Element {
    return <DashboardTools {...this._props()} />;
  }

  private readonly _options: DashboardWidget.IOptions;
  private readonly _choicesChanged = new Signal<this, void>(this);
  private readonly _focus: FocusRestorer;
  private readonly _tools: Part;
  private readonly _ticker = new Ticker(() => this._render());
  private _choices: IDashboardChoices;
}

export namespace DashboardWidget {
  export interface IOptions extends ITextContext, Pick<IDashboardProps, 'onOpenNotebook'> {
    readonly manager: ILeaseManager;
    readonly record: PoolRecord;
    readonly choices: IDashboardChoices;
  }
}
