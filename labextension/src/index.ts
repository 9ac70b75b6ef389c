/**
 * FastGPU in the browser: one plugin for each feature, so that each can be switched off by itself.
 */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { commandsPlugin } from './plugins/commands';
import { currentPlugin } from './plugins/current';
import { managerPlugin } from './plugins/manager';
import { noticesPlugin } from './plugins/notifications';
import { panelPlugin } from './plugins/panel';
import { runningPlugin } from './plugins/running';
import { statusPlugin } from './plugins/status';

export { CommandIDs } from './commands';
export { ICurrentLease, ILeaseManager } from './tokens';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  managerPlugin,
  currentPlugin,
  commandsPlugin,
  panelPlugin,
  statusPlugin,
  runningPlugin,
  noticesPlugin
];

export default plugins;
