/** The sections of the side panel: their names, what is kept of them, and their content. */

import * as React from 'react';

import type { IJobCallbacks } from '../controls/jobbody';
import type { ITextContext } from '../controls/textcontext';
import type { PoolView } from '../generated/api';
import { countJobs } from '../jobs/grouping';
import type { SpendingModel } from '../leases/spending';
import { formatNumber } from '../texts/format';
import { jobsNote } from '../texts/job';
import { amountText } from '../texts/spending';
import type { IJobNotifier, IJobs, ILeaseManager } from '../tokens';
import { DevicesSection } from './devices';
import type { IJobChoices, IJobsProps } from './jobs';
import { JobsSection } from './jobs';
import type { ILeasesProps, IListChoices } from './leases';
import { LeasesSection } from './leases';
import { QueueSection } from './queue';
import type { ISpendingProps } from './spending';
import { SpendingSection } from './spending';

/** The sections, in their order. */
export const SECTIONS = ['leases', 'spending', 'jobs', 'queue', 'devices'] as const;

export type SectionName = (typeof SECTIONS)[number];

/** The parts of the panel's height, where there is not enough for all sections. */
export const WEIGHTS: Readonly<Record<SectionName, number>> = {
  leases: 3,
  spending: 2,
  jobs: 3,
  queue: 1,
  devices: 2
};

/** What the user has chosen, which is kept. */
export interface IPanelChoices extends IListChoices {
  readonly foldedSections: ReadonlySet<SectionName>;
  readonly jobs: IJobChoices;
}

export const DEFAULT_CHOICES: IPanelChoices = {
  order: 'newest',
  folded: new Set(['ended']),
  foldedSections: new Set(),
  jobs: { order: 'newest', folded: new Set() }
};

/** What the sections call when the user acts. */
export interface ISectionCallbacks
  extends Pick<
      ILeasesProps,
      'onRelease' | 'onAction' | 'onResize' | 'onOpenNotebook' | 'onOpenLauncher' | 'onLoadHistory' | 'renderKept'
    >,
    Pick<ISpendingProps, 'onStatement' | 'onDashboard' | 'advice'>,
    IJobCallbacks,
    Pick<IJobsProps, 'onDeleteOld'> {}

export interface ISectionProps
  extends ITextContext,
    ISectionCallbacks,
    Pick<
      ILeasesProps,
      'entitlements' | 'currentLeaseId' | 'showEnded' | 'asTable'
    >,
    Pick<IJobsProps, 'openedJob' | 'onOpenJob'> {
  readonly name: SectionName;
  readonly manager: ILeaseManager;
  readonly jobs: IJobs | null;
  readonly notifier: IJobNotifier | null;
  readonly spending: SpendingModel;
  readonly pool: PoolView;
  readonly choices: IPanelChoices;
  readonly onChoose: (choices: Partial<IPanelChoices>) => void;
}

/** The content of one section; it is rendered while it is not folded. */
export function SectionContent(props: ISectionProps): React.JSX.Element | null {
  const { name, manager, spending, jobs, choices, onChoose } = props;
  const { state } = manager;
  const live = manager.connection.kind === 'connected';
  const now = manager.now();
  switch (name) {
    case 'leases':
      return (
        <LeasesSection
          {...props}
          leases={state.leases}
          samples={state.samples}
          devices={state.devices}
          pendingReleases={manager.pendingReleases}
          pendingActions={manager.pendingActions}
          unanswered={manager.unanswered}
          live={live}
          canAct={manager.canAct}
          now={now}
        />
      );
    case 'spending':
      return (
        <SpendingSection
          {...props}
          spending={spending.view}
          spendingAt={spending.loadedAt}
          spendingFailure={spending.failure}
        />
      );
    case 'jobs':
      return jobs === null ? null : (
        <JobsSection
          {...props}
          jobs={jobs}
          jobChoices={choices.jobs}
          onChooseJobs={chosen => onChoose({ jobs: chosen })}
        />
      );
    case 'queue':
      return <QueueSection {...props} queue={state.queue} now={now} />;
    case 'devices':
      return <DevicesSection {...props} devices={state.devices} live={live} now={now} />;
  }
}

/** Return the titles of the sections. */
export function sectionTitles(trans: ITextContext['trans']): Record<SectionName, string> {
  return {
    leases: trans.__('My leases'),
    spending: trans.__('Spending'),
    jobs: trans.__('Jobs'),
    queue: trans.__('Queue'),
    devices: trans.__('Devices')
  };
}

/** Return the numbers beside the titles. */
export function sectionNotes({
  manager,
  spending: { view },
  trans,
  language
}: Pick<ISectionProps, 'manager' | 'spending' | 'trans' | 'language'>): Record<SectionName, string> {
  const { leases, queue, devices, jobs, pool } = manager.state;
  // Of a cluster's queue and devices the pool does not know all.
  const isOfPool = (pool?.cluster ?? null) === null;
  const number = (value: number) => formatNumber(value, 0, 0, language);
  return {
    leases: number(leases.filter(({ state }) => state !== 'ended').length),
    spending:
      view === null || view.today_micro === null
        ? ''
        : trans.__('%1 today', amountText(view.today_micro, view.currency, trans, language)),
    jobs: jobs.isKnown ? jobsNote(countJobs(jobs.jobs), trans, language) : '',
    queue: isOfPool || queue.length > 0 ? number(queue.length) : '',
    devices: isOfPool ? number(devices.length) : ''
  };
}
