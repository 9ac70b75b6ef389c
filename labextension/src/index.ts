/**
 * The JupyterLab extension of FastGPU: one plugin for each feature, so that each can be disabled separately.
 */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { chooseSizePlugin } from './plugins/choosesize';
import { commandsPlugin } from './plugins/commands';
import { currentLeasePlugin } from './plugins/currentlease';
import { launcherPlugin } from './plugins/launcher';
import { dashboardPlugin } from './plugins/dashboard';
import { managerPlugin } from './plugins/manager';
import { notificationsPlugin } from './plugins/notifications';
import { notifierPlugin } from './plugins/notifier';
import { pagePlugin } from './plugins/page';
import { panelPlugin } from './plugins/panel';
import { resizePlugin } from './plugins/resize';
import { runningPlugin } from './plugins/running';
import { startPlugin } from './plugins/start';
import { statusPlugin } from './plugins/status';
import { toolbarPlugin } from './plugins/toolbar';
import { waitingPlugin } from './plugins/waiting';

export { CommandIDs } from './commands';
export { ICurrentLease, IGrantNotifier, IKernelStart, ILeaseManager } from './tokens';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  managerPlugin,
  pagePlugin,
  currentLeasePlugin,
  commandsPlugin,
  panelPlugin,
  dashboardPlugin,
  statusPlugin,
  runningPlugin,
  notificationsPlugin,
  startPlugin,
  notifierPlugin,
  resizePlugin,
  toolbarPlugin,
  waitingPlugin,
  chooseSizePlugin,
  launcherPlugin
];

export default plugins;
