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
  /** Open or close the controls of the current notebook's GPU in its toolbar. */
  export const showControls = 'fastgpu:show-controls';
  /** Arguments: `{leaseId?, size?}`; the default is the lease of the current notebook, and a dialog asks for the size. */
  export const resize = 'fastgpu:resize';
  /** Arguments: `{kernelId?, size?}`; the default is the current kernel, and a dialog asks for the size. */
  export const getGPU = 'fastgpu:get-gpu';
  /** A command of the notebook: select another kernel for it. */
  export const changeKernel = 'notebook:change-kernel';
  /** Arguments: none; opens the dashboard, or shows it if it is open. */
  export const openDashboard = 'fastgpu:open-dashboard';
  /** Arguments: `{kernel, cwd?}`; creates a notebook with the defaults of a FastGPU kernel. */
  export const startNotebook = 'fastgpu:start-notebook';
  /** Arguments: `{jobId?}`; shows the jobs in the panel, and opens the one that is named. */
  export const openJobs = 'fastgpu:open-jobs';
  /** Arguments of the commands about one job: `{jobId}`, which is required, so they are not in the palette. */
  export const cancelJob = 'fastgpu:cancel-job';
  export const rerunJob = 'fastgpu:rerun-job';
  export const openJobLog = 'fastgpu:open-job-log';
  export const openJobResult = 'fastgpu:open-job-result';
  export const explainJob = 'fastgpu:explain-job';
  /** Arguments: none; asks which results of ended jobs to delete. */
  export const deleteOldResults = 'fastgpu:delete-old-results';
}
