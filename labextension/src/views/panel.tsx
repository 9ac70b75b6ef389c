/**
 * The side panel: sections for leases, spending, the queue and devices, which are rendered when the model changes, and
 * once a second to update durations.
 *
 * A section that is hidden or folded is not rendered. The panel keeps what is folded, and the order of the leases.
 */

import { ReactWidget, SidePanel } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import type { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import type { QuotaModel } from '../leases/quota';
import type { SpendingModel } from '../leases/spending';
import { formatNumber } from '../texts/format';
import { amountText } from '../texts/spending';
import type { ICurrentLease, ILeaseManager } from '../tokens';
import { DevicesSection } from './devices';
import { FocusRestorer } from './focus';
import type { ILeasesProps, IListChoices } from './leases';
import { LeasesSection } from './leases';
import { PanelHeader } from './panelheader';
import { QueueSection } from './queue';
import { heightShares } from './sectionheights';
import type { ISpendingProps } from './spending';
import { SpendingSection } from './spending';
import { SCROLL_CLASS } from './virtuallist';

const TICK_MS = 1000;

/** The sections, in their order. */
export const SECTIONS = ['leases', 'spending', 'queue', 'devices'] as const;

export type SectionName = (typeof SECTIONS)[number];

/** The parts of the panel's height, where there is not enough for all sections. */
const WEIGHTS: Readonly<Record<SectionName, number>> = { leases: 3, spending: 2, queue: 1, devices: 2 };

/** What the user has chosen, which is kept. */
export interface IPanelChoices extends IListChoices {
  readonly foldedSections: ReadonlySet<SectionName>;
}

export const DEFAULT_CHOICES: IPanelChoices = {
  order: 'newest',
  folded: new Set(['ended']),
  foldedSections: new Set()
};

/** A part of the panel that React renders. */
class Part extends ReactWidget {
  constructor(private readonly _draw: () => React.JSX.Element | null) {
    super();
  }

  protected override render(): React.JSX.Element | null {
    return this._draw();
  }
}

export class FastGPUPanel extends SidePanel {
  constructor(options: FastGPUPanel.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-Panel');
    this.node.tabIndex = -1;
    this._head = new Part(() => this._renderHead());
    this.header.addWidget(this._head);
    const titles = sectionTitles(options.trans);
    for (const name of SECTIONS) {
      const section = new Part(() => this._renderSection(name));
      section.addClass('fg-Section');
      section.node.tabIndex = -1;
      section.node.dataset.section = name;
      section.title.label = titles[name];
      this._sections[name] = section;
      this.addWidget(section);
    }
    this._accordion.expansionToggled.connect(this._onToggled, this);
    this._accordion.handleMoved.connect(() => (this._isSized = true));
    this._focus = new FocusRestorer(this.node);
    options.manager.changed.connect(this._render, this);
    options.current?.changed.connect(this._render, this);
    options.quota?.changed.connect(this._render, this);
    options.spending.changed.connect(this._render, this);
  }

  /** What the user has chosen. */
  get choices(): IPanelChoices {
    return this._choices;
  }

  set choices(value: IPanelChoices) {
    this._choices = value;
    SECTIONS.forEach((name, index) => {
      if (value.foldedSections.has(name)) {
        this._accordion.collapse(index);
      } else {
        this._accordion.expand(index);
      }
    });
    this._render();
  }

  /** Emitted when the user has chosen something else. */
  get choicesChanged(): ISignal<this, void> {
    return this._choicesChanged;
  }

  /** Set whether leases that ended in the last hour are listed. */
  set showEnded(value: boolean) {
    this._showEnded = value;
    this._render();
  }

  /** Set whether histories are first shown as tables. */
  set asTable(value: boolean) {
    this._asTable = value;
    this._render();
  }

  override dispose(): void {
    this._stopTicking();
    this._focus.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._render();
    this._startTicking();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    if (this.isVisible) {
      this._render();
      this._startTicking();
    }
  }

  protected override onBeforeHide(msg: Message): void {
    this._stopTicking();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._stopTicking();
    super.onBeforeDetach(msg);
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    // Focus the panel and not a button in it: Tab continues from here, and a click on the side bar shows no focus ring.
    this.node.focus();
  }

  private get _accordion(): AccordionPanel {
    return this.content as AccordionPanel;
  }

  private _render(): void {
    if (this.isDisposed || !this.isVisible) {
      return;
    }
    const { manager, spending } = this._options;
    const hasPool = manager.state.pool !== null;
    this.node.dataset.stale = String(manager.connection.kind === 'unreachable');
    this.content.setHidden(!hasPool);
    this._head.update();
    for (const name of SECTIONS) {
      if (this._sections[name].isVisible) {
        this._sections[name].update();
      }
    }
    if (hasPool && manager.connection.kind === 'connected' && this._sections.spending.isVisible) {
      spending.refresh(Date.now());
    }
    this._updateTitles();
    this._fit();
  }

  private _renderHead(): React.JSX.Element {
    const { manager } = this._options;
    return (
      <PanelHeader
        {...this._options}
        state={manager.state}
        connection={manager.connection}
        updatedAt={manager.updatedAt}
        browserNow={Date.now()}
      />
    );
  }

  private _renderSection(name: SectionName): React.JSX.Element | null {
    const { manager, trans } = this._options;
    // A list without anything in it to focus is scrolled by the keyboard itself.
    const focusable = name === 'queue' && manager.state.queue.length > 0;
    return (
      <div
        className={SCROLL_CLASS}
        {...(focusable && { tabIndex: 0, role: 'group', 'aria-label': sectionTitles(trans)[name] })}
      >
        <div>{this._sectionContent(name)}</div>
      </div>
    );
  }

  private _sectionContent(name: SectionName): React.JSX.Element | null {
    const { manager, current, quota, spending } = this._options;
    const { state } = manager;
    const live = manager.connection.kind === 'connected';
    const now = manager.now();
    if (state.pool === null) {
      return null;
    }
    switch (name) {
      case 'leases':
        return (
          <LeasesSection
            {...this._options}
            leases={state.leases}
            entitlements={quota?.entitlements ?? []}
            samples={state.samples}
            devices={state.devices}
            pendingReleases={manager.pendingReleases}
            pendingActions={manager.pendingActions}
            unanswered={manager.unanswered}
            currentLeaseId={current?.lease?.id ?? null}
            showEnded={this._showEnded}
            asTable={this._asTable}
            live={live}
            canAct={manager.canAct}
            now={now}
            choices={this._choices}
            onChoose={choices => this._choose(choices)}
          />
        );
      case 'spending':
        return (
          <SpendingSection
            {...this._options}
            spending={spending.view}
            spendingAt={spending.loadedAt}
            spendingFailure={spending.failure}
          />
        );
      case 'queue':
        return <QueueSection {...this._options} queue={state.queue} now={now} />;
      case 'devices':
        return (
          <DevicesSection
            {...this._options}
            devices={state.devices}
            pool={state.pool}
            asTable={this._asTable}
            live={live}
            now={now}
          />
        );
    }
  }

  private _choose(choices: Partial<IPanelChoices>): void {
    this._choices = { ...this._choices, ...choices };
    this._choicesChanged.emit();
    this._render();
  }

  private _onToggled(_: AccordionPanel, index: number): void {
    const foldedSections = new Set(
      SECTIONS.filter(name => this._sections[name].isHidden)
    );
    this._fitted = '';
    this._isSized = false;
    if (foldedSections.has(SECTIONS[index]) !== this._choices.foldedSections.has(SECTIONS[index])) {
      this._choose({ foldedSections });
    }
  }

  /** Show numbers in the titles, which Lumino would replace, with the focus, if their label changed. */
  private _updateTitles(): void {
    const { manager, spending, trans, language } = this._options;
    const { leases, queue, devices } = manager.state;
    const number = (value: number) => formatNumber(value, 0, 0, language);
    const view = spending.view;
    const notes: Record<SectionName, string> = {
      leases: number(leases.filter(({ state }) => state !== 'ended').length),
      spending:
        view === null || view.today_micro === null
          ? ''
          : trans.__('%1 today', amountText(view.today_micro, view.currency, trans, language)),
      queue: number(queue.length),
      devices: number(devices.length)
    };
    SECTIONS.forEach((name, index) => {
      const title = this._accordion.titles[index];
      let note = title.querySelector<HTMLElement>('.fg-Section-count');
      if (note === null) {
        note = document.createElement('span');
        note.className = 'fg-Section-count';
        title.append(note);
        // A heading could not have the state of being expanded.
        title.setAttribute('role', 'button');
      }
      if (note.textContent !== notes[name] || title.dataset.named === undefined) {
        const { label } = this._sections[name].title;
        note.textContent = notes[name];
        title.dataset.named = 'true';
        title.setAttribute('aria-label', notes[name] === '' ? label : `${label}: ${notes[name]}`);
      }
    });
  }

  /** Give each section the height of its content, as far as there is room, until the user moves a handle. */
  private _fit(): void {
    if (this._isSized) {
      return;
    }
    window.requestAnimationFrame(() => {
      if (this.isDisposed || !this.isVisible) {
        return;
      }
      const shown = SECTIONS.filter(name => this._sections[name].isVisible);
      const needed = shown.map(
        name => this._sections[name].node.querySelector(`.${SCROLL_CLASS} > div`)?.clientHeight ?? 0
      );
      const fitted = `${needed.map(height => Math.round(height / 16)).join(' ')} ${this.node.clientHeight}`;
      if (fitted !== this._fitted && needed.some(height => height > 0)) {
        this._fitted = fitted;
        const room = shown.reduce((sum, name) => sum + this._sections[name].node.clientHeight, 0);
        const shares = heightShares(
          needed,
          shown.map(name => WEIGHTS[name]),
          room
        );
        this._accordion.setRelativeSizes(
          SECTIONS.map(name => (shown.includes(name) ? shares[shown.indexOf(name)] : 0))
        );
      }
    });
  }

  private _startTicking(): void {
    this._stopTicking();
    this._ticker = window.setInterval(() => {
      if (document.visibilityState === 'visible') {
        this._render();
      }
    }, TICK_MS);
  }

  private _stopTicking(): void {
    window.clearInterval(this._ticker);
    this._ticker = undefined;
  }

  private readonly _options: FastGPUPanel.IOptions;
  private readonly _focus: FocusRestorer;
  private readonly _head: Part;
  private readonly _sections = {} as Record<SectionName, Part>;
  private readonly _choicesChanged = new Signal<this, void>(this);
  private _choices: IPanelChoices = DEFAULT_CHOICES;
  private _showEnded = true;
  private _asTable = false;
  private _ticker: number | undefined;
  /** Whether the user has moved a handle. */
  private _isSized = false;
  /** The heights to which the sections were fitted. */
  private _fitted = '';
}

export namespace FastGPUPanel {
  export interface IOptions
    extends ITextContext,
      Pick<
        ILeasesProps,
        | 'onRelease'
        | 'onAction'
        | 'onResize'
        | 'onOpenNotebook'
        | 'onOpenLauncher'
        | 'onLoadHistory'
      >,
      Pick<ISpendingProps, 'onStatement' | 'onDashboard' | 'advice'> {
    readonly manager: ILeaseManager;
    readonly current: ICurrentLease | null;
    readonly quota?: QuotaModel;
    readonly spending: SpendingModel;
    readonly onRefresh: () => void;
  }
}

function sectionTitles(trans: ITextContext['trans']): Record<SectionName, string> {
  return {
    leases: trans.__('My leases'),
    spending: trans.__('Spending'),
    queue: trans.__('Queue'),
    devices: trans.__('Devices')
  };
}
