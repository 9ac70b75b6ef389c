/** The ids of the commands, which other extensions can execute; `leases/actions.ts` has those of the actions. */
export namespace CommandIDs {
  export const openPanel = 'fastgpu:open-panel';
  /** Arguments: `{leaseId?}`; the default is the lease of the current notebook. */
  export const releaseLease = 'fastgpu:release-lease';
  export const refresh = 'fastgpu:refresh';
  /** Arguments: `{leaseId}`, which is required, so the command is not in the palette. */
  export const openNotebook = 'fastgpu:open-notebook';
  /** Arguments: `{kernel?, cwd?, path?, isNew?}`; opens the form, by default for the current notebook. */
  export const chooseSize = 'fastgpu:choose-size';
}
