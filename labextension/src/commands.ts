import type { LeaseAction } from './leases/lease';

/** The ids of the commands, which other extensions can execute. */
export namespace CommandIDs {
  export const openPanel = 'fastgpu:open-panel';
  /** Arguments: `{leaseId?}`; the default is the lease of the current notebook. */
  export const releaseLease = 'fastgpu:release-lease';
  /** The next four take the same arguments as `releaseLease`. */
  export const parkLease = 'fastgpu:park-lease';
  export const resumeLease = 'fastgpu:resume-lease';
  export const migrateLease = 'fastgpu:migrate-lease';
  /** Pins a lease, or unpins one that is pinned. */
  export const togglePin = 'fastgpu:toggle-pin';
  export const refresh = 'fastgpu:refresh';
  /** Arguments: `{leaseId}`, which is required, so the command is not in the palette. */
  export const openNotebook = 'fastgpu:open-notebook';
}

/** Return the id of the command that requests an action. */
export function actionCommand(action: LeaseAction): string {
  switch (action) {
    case 'migrate':
      return CommandIDs.migrateLease;
    case 'park':
      return CommandIDs.parkLease;
    case 'resume':
      return CommandIDs.resumeLease;
    case 'pin':
    case 'unpin':
      return CommandIDs.togglePin;
  }
}
