/**
 * The bar above a notebook whose kernel waits for a GPU of a cluster, or has lost it.
 *
 * It is in the header of the document, which JupyterLab and Notebook 7 have, and moves nothing else.
 */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import { FormattedText } from '../controls/components';
import type { INotifyChoice } from '../controls/notifybutton';
import { NotifyButton } from '../controls/notifybutton';
import type { MarkShape } from '../controls/statemark';
import { StateShape } from '../controls/statemark';
import type { IBarTexts } from '../texts/clusterrequest';
import { FocusRestorer } from './focus';
import { Ticker } from './ticker';
import type { TranslationBundle } from '@jupyterlab/translation';

/** A button of the bar; at most one is the primary one. */
export interface IBarAction {
  readonly id: string;
  readonly label: string;
  readonly title?: string;
  readonly isPrimary?: boolean;
  readonly run: () => Promise<unknown>;
}

/** What the bar shows. */
export interface IBarContent extends IBarTexts {
  readonly shape: MarkShape;
  readonly kind: 'waiting' | 'offer' | 'error' | 'info';
  /** What is known of the cluster itself, such as that it does not answer. */
  readonly warnings: ReadonlyArray<string>;
  readonly actions: ReadonlyArray<IBarAction>;
  readonly notify: INotifyChoice | undefined;
  /** Whether actions are possible now; they are shown all the same. */
  readonly isLive: boolean;
}

export class ClusterBar extends ReactWidget {
  constructor(
    private readonly _content: () => IBarContent | null,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('fg-ClusterBar');
    this.node.tabIndex = -1;
    this._focus = new FocusRestorer(this.node);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._observer.disconnect();
      this._ticker.stop();
      this._focus.dispose();
      super.dispose();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._ticker.start();
  }

  protected override onBeforeDetach(msg: Message): void {
    this._ticker.stop();
    super.onBeforeDetach(msg);
  }

  protected override render(): React.JSX.Element | null {
    this._ticker.onRendered();
    const content = this._content();
    return content === null ? null : (
      <div
        className="fg-ClusterBar-body fg-Controls"
        ref={element => {
          if (element !== null) {
            this._observer.observe(element);
          }
        }}
      >
        <Bar content={content} trans={this._trans} />
      </div>
    );
  }

  /** The header gives a widget the height that it asks for: that of its text, which wraps. */
  private _resize(height: number): void {
    const wanted = `${Math.ceil(height)}px`;
    if (this.node.style.minHeight !== wanted) {
      this.node.style.minHeight = wanted;
      const { parent } = this;
      if (parent !== null) {
        MessageLoop.postMessage(parent, Widget.Msg.FitRequest);
      }
    }
  }

  private readonly _focus: FocusRestorer;
  private readonly _ticker = new Ticker(() => this.update());
  private readonly _observer = new ResizeObserver(([entry]) => this._resize(entry.borderBoxSize[0].blockSize));
}

function Bar({ content, trans }: {
  readonly content: IBarContent;
  readonly trans: TranslationBundle;
}): React.JSX.Element {
  const { heading, details, warnings, shape, kind, actions, notify, isLive } = content;
  const [busy, setBusy] = React.useState<string | null>(null);
  const [failure, setFailure] = React.useState<string | null>(null);
  const id = React.useId();
  const run = async (action: IBarAction) => {
    setBusy(action.id);
    setFailure(null);
    try {
      await action.run();
    } catch (reason) {
      setFailure(reason instanceof Error ? reason.message : String(reason));
    } finally {
      setBusy(null);
    }
  };
  return (
    <section className="fg-ClusterBar-section" aria-labelledby={id} data-kind={kind}>
      <div className="fg-ClusterBar-text">
        <p className="fg-ClusterBar-heading">
          <StateShape shape={shape} />
          <strong id={id} role="status">
            {heading}
          </strong>
        </p>
        <p className="fg-ClusterBar-details">
          {details.map((text, index) => (
            <React.Fragment key={index}>
              {index > 0 && ' '}
              <FormattedText text={text} />
            </React.Fragment>
          ))}
        </p>
        {warnings.map(text => (
          <p key={text} className="fg-Note" data-kind="warning" role="status">
            <FormattedText text={text} />
          </p>
        ))}
        {failure !== null && (
          <p className="fg-Note" data-kind="error" role="alert">
            <FormattedText text={failure} />
          </p>
        )}
      </div>
      <div className="fg-Buttons" role="group" aria-label={heading}>
        {actions.map(action => (
          <button
            key={action.id}
            type="button"
            className={`fg-Button${action.isPrimary === true ? ' fg-mod-primary' : ''}`}
            title={action.title}
            disabled={!isLive || busy !== null}
            onClick={() => void run(action)}
          >
            {action.label}
          </button>
        ))}
        {notify !== undefined && <NotifyButton notify={notify} trans={trans} />}
      </div>
    </section>
  );
}
