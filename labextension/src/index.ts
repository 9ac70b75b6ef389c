/**
 * The JupyterLab extension of FastGPU: one plugin for each feature, so that each can be disabled separately.
 */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { chooseSizePlugin } from './plugins/choosesize';
import { clusterPlugin } from './plugins/cluster';
import { commandsPlugin } from './plugins/commands';
import { currentLeasePlugin } from './plugins/currentlease';
import { jobCellPlugin } from './plugins/jobcell';
import { jobCommandsPlugin } from './plugins/jobcommands';
import { jobLogPlugin } from './plugins/joblog';
import { jobNotificationsPlugin } from './plugins/jobnotifications';
import { jobResultPlugin } from './plugins/jobresult';
import { jobsPlugin } from './plugins/jobs';
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
export {
  ICurrentLease,
  IGrantNotifier,
  IJobNotifier,
  IJobs,
  IKernelStart,
  ILeaseManager
} from './tokens';

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
  launcherPlugin,
  clusterPlugin,
  jobsPlugin,
  jobCommandsPlugin,
  jobNotificationsPlugin,
  jobCellPlugin,
  jobLogPlugin,
  jobResultPlugin
];

export default plugins;
