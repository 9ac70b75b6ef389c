/** The ids of the commands, for this extension and for those who call it. */
export namespace CommandIDs {
  export const openPanel = 'fastgpu:open-panel';
  /** Arguments: `{leaseId?}`; without one, the lease of the current notebook. */
  export const releaseLease = 'fastgpu:release-lease';
  export const refresh = 'fastgpu:refresh';
  /** Arguments: `{leaseId}`. Not in the palette: it needs to know which. */
  export const openNotebook = 'fastgpu:open-notebook';
}
