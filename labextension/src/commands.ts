import type { Change } from './leases/lease';

/** The ids of the commands, for this extension and for those who call it. */
export namespace CommandIDs {
  export const openPanel = 'fastgpu:open-panel';
  /** Arguments: `{leaseId?}`; without one, the lease of the current notebook. */
  export const releaseLease = 'fastgpu:release-lease';
  /** Arguments as above; so for the next three. */
  export const parkLease = 'fastgpu:park-lease';
  export const resumeLease = 'fastgpu:resume-lease';
  export const moveLease = 'fastgpu:move-lease';
  /** Pins a lease, or unpins one that is pinned. */
  export const togglePin = 'fastgpu:toggle-pin';
  export const refresh = 'fastgpu:refresh';
  /** Arguments: `{leaseId}`. Not in the palette: it needs to know which. */
  export const openNotebook = 'fastgpu:open-notebook';
}

/** The command that asks for a change. */
export function changeCommand(change: Change): string {
  switch (change) {
    case 'move':
      return CommandIDs.moveLease;
    case 'park':
      return CommandIDs.parkLease;
    case 'resume':
      return CommandIDs.resumeLease;
    case 'pin':
    case 'unpin':
      return CommandIDs.togglePin;
  }
}
