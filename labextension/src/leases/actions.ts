/**
 * The actions that a user can request for a lease, in addition to its release, as one table.
 *
 * A new action needs an entry here, and in `schema/commands.json` if it belongs into the menus. Buttons, commands and
 * requests are made from the table.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { LeaseView } from '../generated/api';
import { isParkedOrReturning, isPinned, isReleasable } from './lease';

/** The texts of an action: its button, the accessible name of the button, its description, the title of a failure. */
export interface IActionTexts {
  readonly label: string;
  readonly aria: string;
  readonly title: string;
  readonly failed: string;
}

/** A command that requests an action for the current notebook's lease. */
export interface IActionCommand {
  readonly id: string;
  readonly label: string;
  readonly caption: string;
}

interface ILeaseAction {
  /** Whether the action makes sense in the lease's state. */
  readonly isAvailable: (lease: LeaseView) => boolean;
  /** The last part of the request's path, and its body. */
  readonly path: string;
  readonly body: object;
  /** The texts for a lease with this name. */
  readonly texts: (name: string, trans: TranslationBundle) => IActionTexts;
  /** Actions with the same command exclude each other; the command requests the one that is available. */
  readonly command: (trans: TranslationBundle) => IActionCommand;
  /** Whether menus show the command only while it is available. */
  readonly isRare?: boolean;
  /** Whether the command shows that the action has been done, which the other action of the command undoes. */
  readonly isToggle?: boolean;
}

const pinCommand = (trans: TranslationBundle): IActionCommand => ({
  id: 'fastgpu:toggle-pin',
  label: trans.__('Pin GPU'),
  caption: trans.__('Keep the GPU of this notebook while no cell runs; its time is billed')
});

const parkCommand = (trans: TranslationBundle): IActionCommand => ({
  id: 'fastgpu:park-lease',
  label: trans.__('Park GPU'),
  caption: trans.__(
    'Make the GPU of this notebook available to others until its next cell; nothing is lost'
  )
});

const ACTIONS = {
  migrate: {
    isAvailable: ({ state, health }) =>
      state === 'active' && (health.migration === 'live' || health.migration === 'restart'),
    path: 'migrate',
    body: {},
    texts: (name, trans) => ({
      label: trans.__('Migrate'),
      aria: trans.__('Migrate %1 to another GPU', name),
      title: trans.__(
        'Migrate the lease from this GPU, which is unhealthy or drained, to another one. If its memory cannot be migrated, this happens when the kernel restarts, and the contents of GPU memory are lost.'
      ),
      failed: trans.__('The lease was not migrated')
    }),
    command: trans => ({
      id: 'fastgpu:migrate-lease',
      label: trans.__('Migrate to Another GPU'),
      caption: trans.__(
        'Migrate this notebook from its GPU, which is unhealthy or drained, to another one'
      )
    }),
    isRare: true
  },
  park: {
    isAvailable: ({ state, parking }) => state === 'active' && parking.parkable,
    path: 'park',
    body: {},
    texts: (name, trans) => ({
      label: trans.__('Park'),
      aria: trans.__('Park the GPU of %1', name),
      title: trans.__(
        'Make the GPU available to others until the next cell runs. Variables and GPU memory are preserved; parked time is not billed.'
      ),
      failed: trans.__('The GPU was not parked')
    }),
    command: parkCommand
  },
  withdraw: {
    isAvailable: lease => lease.state === 'waiting' && isParkedOrReturning(lease),
    path: 'park',
    body: {},
    texts: (name, trans) => ({
      label: trans.__('Keep parked'),
      aria: trans.__('Keep %1 parked: leave the queue', name),
      title: trans.__(
        'Leave the queue and stay parked. Variables and GPU memory are preserved; the next cell requests a GPU again.'
      ),
      failed: trans.__('The request was not withdrawn')
    }),
    command: parkCommand
  },
  resume: {
    isAvailable: ({ state }) => state === 'parked',
    path: 'resume',
    body: {},
    texts: (name, trans) => ({
      label: trans.__('Resume'),
      aria: trans.__('Resume the GPU of %1', name),
      title: trans.__('Request a GPU again without running a cell.'),
      failed: trans.__('The GPU was not requested')
    }),
    command: trans => ({
      id: 'fastgpu:resume-lease',
      label: trans.__('Resume GPU'),
      caption: trans.__('Request a GPU for this parked notebook without running a cell')
    })
  },
  pin: {
    // A lease that cannot be parked is never parked while idle, so pinning it would have no effect.
    isAvailable: lease =>
      !isPinned(lease) &&
      isReleasable(lease) &&
      (lease.parking.parkable || isParkedOrReturning(lease)),
    path: 'pin',
    body: { pinned: true },
    texts: (name, trans) => ({
      label: trans.__('Pin'),
      aria: trans.__('Pin the GPU of %1', name),
      title: trans.__(
        'Keep the GPU while no cell runs: an idle lease is not parked for others, and its time is billed.'
      ),
      failed: trans.__('The GPU was not pinned')
    }),
    command: pinCommand,
    isToggle: true
  },
  unpin: {
    isAvailable: lease => isPinned(lease) && isReleasable(lease),
    path: 'pin',
    body: { pinned: false },
    texts: (name, trans) => ({
      label: trans.__('Unpin'),
      aria: trans.__('Unpin the GPU of %1', name),
      title: trans.__('Allow the GPU to be parked for others while no cell runs.'),
      failed: trans.__('The GPU was not unpinned')
    }),
    command: pinCommand,
    isToggle: true
  }
} satisfies Record<string, ILeaseAction>;

export type LeaseAction = keyof typeof ACTIONS;

export const LEASE_ACTIONS: Readonly<Record<LeaseAction, ILeaseAction>> = ACTIONS;

/** The names of all actions, in the order of their buttons. */
export const LEASE_ACTION_NAMES = Object.keys(ACTIONS) as ReadonlyArray<LeaseAction>;

/** Return the actions that are available in the lease's state. */
export function availableActions(lease: LeaseView): ReadonlyArray<LeaseAction> {
  return LEASE_ACTION_NAMES.filter(action => LEASE_ACTIONS[action].isAvailable(lease));
}
