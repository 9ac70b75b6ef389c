/**
 * The side panel: sections for leases, spending, the queue and devices, which are rendered when the model changes, and
 * once a second to update durations.
 *
 * A section that is hidden or folded is not rendered. The panel keeps what is folded, and the order of the leases.
 */

import { SidePanel } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import type { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import type { QuotaModel } from '../leases/quota';
import type { SpendingModel } from '../leases/spending';
import type { ICurrentLease, IJobNotifier, IJobs, ILeaseManager } from '../tokens';
import { FocusRestorer } from './focus';
import { focusRow } from './groupedlist';
import { PanelHeader } from './panelheader';
import type { IPanelChoices, ISectionCallbacks, SectionName } from './panelsections';
import { DEFAULT_CHOICES, SectionContent, sectionNotes, SECTIONS, sectionTitles, WEIGHTS } from './panelsections';
import { Part } from './part';
import { heightShares } from './sectionheights';
import { Ticker } from './ticker';
import { SCROLL_CLASS } from './virtuallist';

export class FastGPUPanel extends SidePanel {
  constructor(options: FastGPUPanel.IOptions) {
    super();
    this._options = options;
    this._names = SECTIONS.filter(name => name !== 'jobs' || options.jobs !== null);
    this.addClass('fg-Panel');
    this.node.tabIndex = -1;
    this._head = new Part(() => this._renderHead());
    this.header.addWidget(this._head);
    const titles = sectionTitles(options.trans);
    for (const name of this._names) {
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
    options.jobs?.changed.connect(this._render, this);
    options.notifier?.changed.connect(this._render, this);
    options.quota?.changed.connect(this._render, this);
    options.spending.changed.connect(this._render, this);
  }

  /** What the user has chosen. */
  get choices(): IPanelChoices {
    return this._choices;
  }

  set choices(value: IPanelChoices) {
    this._choices = value;
    this._names.forEach((name, index) => {
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

  /** Unfold the section of jobs, and open the job with a number; focus its line once it is there. */
  showJobs(id: number | null): void {
    const index = this._names.indexOf('jobs');
    if (index < 0) {
      return;
    }
    this._accordion.expand(index);
    if (id === null) {
      this._accordion.titles[index].focus();
      return;
    }
    this._openJob(id);
    const { folded } = this._choices.jobs;
    if (folded.size > 0) {
      this._choose({ jobs: { ...this._choices.jobs, folded: new Set() } });
    }
    window.requestAnimationFrame(() => focusRow(this._sections.jobs.node, `job ${id}`));
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
    this._ticker.start();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    if (this.isVisible) {
      this._render();
      this._ticker.start();
    }
  }

  protected override onBeforeHide(msg: Message): void {
    this._ticker.stop();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._ticker.stop();
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
    this._ticker.onRendered();
    const { manager, spending } = this._options;
    const hasPool = manager.state.pool !== null;
    this.node.dataset.stale = String(manager.connection.kind === 'unreachable');
    this.content.setHidden(!hasPool);
    this._head.update();
    for (const name of this._names) {
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
    // What has nothing in it to focus is scrolled by the keyboard itself.
    const { pool, queue } = manager.state;
    const isOnCluster = (pool?.cluster ?? null) !== null;
    const focusable = (name === 'queue' && (queue.length > 0 || isOnCluster)) || (name === 'devices' && isOnCluster);
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
    const { manager, current, spending } = this._options;
    return manager.state.pool === null ? null : (
      <SectionContent
        {...this._options}
        name={name}
        pool={manager.state.pool}
        entitlements={this._options.quota?.entitlements ?? []}
        currentLeaseId={current?.lease?.id ?? null}
        spending={spending}
        showEnded={this._showEnded}
        asTable={this._asTable}
        openedJob={this._openedJob}
        onOpenJob={id => this._openJob(id)}
        choices={this._choices}
        onChoose={choices => this._choose(choices)}
      />
    );
  }

  private _openJob(id: number | null): void {
    this._openedJob = id;
    this._render();
  }

  private _choose(choices: Partial<IPanelChoices>): void {
    this._choices = { ...this._choices, ...choices };
    this._choicesChanged.emit();
    this._render();
  }

  private _onToggled(_: AccordionPanel, index: number): void {
    const foldedSections = new Set(
      this._names.filter(name => this._sections[name].isHidden)
    );
    this._fitted = '';
    this._isSized = false;
    if (foldedSections.has(this._names[index]) !== this._choices.foldedSections.has(this._names[index])) {
      this._choose({ foldedSections });
    }
  }

  /** Show numbers in the titles, which Lumino would replace, with the focus, if their label changed. */
  private _updateTitles(): void {
    const notes = sectionNotes(this._options);
    this._names.forEach((name, index) => {
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
      const shown = this._names.filter(name => this._sections[name].isVisible);
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
          this._names.map(name => (shown.includes(name) ? shares[shown.indexOf(name)] : 0))
        );
      }
    });
  }

  private readonly _options: FastGPUPanel.IOptions;
  /** The sections that there are, in their order. */
  private readonly _names: ReadonlyArray<SectionName>;
  private readonly _focus: FocusRestorer;
  private readonly _head: Part;
  private readonly _sections = {} as Record<SectionName, Part>;
  private readonly _choicesChanged = new Signal<this, void>(this);
  private _choices: IPanelChoices = DEFAULT_CHOICES;
  private _showEnded = true;
  private _asTable = false;
  private readonly _ticker = new Ticker(() => this._render());
  /** Whether the user has moved a handle. */
  private _isSized = false;
  private _openedJob: number | null = null;
  /** The heights to which the sections were fitted. */
  private _fitted = '';
}

export namespace FastGPUPanel {
  export interface IOptions
    extends ITextContext,
      ISectionCallbacks {
    readonly manager: ILeaseManager;
    readonly current: ICurrentLease | null;
    /** Null without jobs, which then have no section. */
    readonly jobs: IJobs | null;
    readonly notifier: IJobNotifier | null;
    readonly quota?: QuotaModel;
    readonly spending: SpendingModel;
    readonly onRefresh: () => void;
  }
}
