/**
 * The JupyterLab extension of FastGPU: one plugin for each feature, so that each can be disabled separately.
 */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { commandsPlugin } from './plugins/commands';
import { currentLeasePlugin } from './plugins/currentlease';
import { managerPlugin } from './plugins/manager';
import { notificationsPlugin } from './plugins/notifications';
import { panelPlugin } from './plugins/panel';
import { runningPlugin } from './plugins/running';
import { startPlugin } from './plugins/start';
import { statusPlugin } from './plugins/status';

export { CommandIDs } from './commands';
export { ICurrentLease, IKernelStart, ILeaseManager } from './tokens';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  managerPlugin,
  currentLeasePlugin,
  commandsPlugin,
  panelPlugin,
  statusPlugin,
  runningPlugin,
  notificationsPlugin,
  startPlugin
];

export default plugins;
