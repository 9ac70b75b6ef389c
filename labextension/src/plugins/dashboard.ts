/** Adds the dashboard of the pool in the main area, which is restored with the layout. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { fastgpuIcon } from '../icon';
import { PoolRecord } from '../leases/record';
import { ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { DASHBOARD_RANGES } from '../views/dashboard';
import { DashboardWidget } from '../views/dashboardwidget';

const DASHBOARD_ID = 'fastgpu-dashboard';

export const dashboardPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:dashboard',
  description: 'Adds a dashboard of all GPUs and the queue.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ITranslator, ILayoutRestorer, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null
  ): void => {
    const { commands, shell } = app;
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const record = new PoolRecord({
      manager,
      storage: window.sessionStorage,
      key: `fastgpu-jupyter:record ${app.serviceManager.serverSettings.baseUrl}`
    });
    const tracker = new WidgetTracker<DashboardWidget>({ namespace: DASHBOARD_ID });
    commands.addCommand(CommandIDs.openDashboard, {
      label: trans.__('GPU Dashboard'),
      caption: trans.__('Show all GPUs, their history and the queue in the main area'),
      icon: fastgpuIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            range: {
              type: 'string',
              enum: [...DASHBOARD_RANGES],
              description: trans.__('The time range of the history.')
            },
            asTable: {
              type: 'boolean',
              description: trans.__('Whether the history is shown as a table.')
            }
          }
        }
      },
      execute: async args => {
        let widget = tracker.find(() => true);
        if (widget === undefined) {
          widget = new DashboardWidget({
            manager,
            record,
            trans,
            language: used.languageCode,
            choices: {
              range: DASHBOARD_RANGES.find(range => range === args.range) ?? 'minutes',
              asTable: args.asTable === true
            },
            onOpenNotebook: lease => {
              void commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
            }
          });
          widget.id = DASHBOARD_ID;
          widget.title.label = trans.__('GPU Dashboard');
          widget.title.icon = fastgpuIcon;
          widget.title.closable = true;
          widget.choicesChanged.connect(changed => void tracker.save(changed));
          shell.add(widget, 'main', { type: 'FastGPU' });
          await tracker.add(widget);
        }
        shell.activateById(widget.id);
        return widget;
      }
    });
    palette?.addItem({ command: CommandIDs.openDashboard, category: trans.__('FastGPU') });
    if (restorer !== null) {
      void restorer.restore(tracker, {
        command: CommandIDs.openDashboard,
        args: widget => ({ ...widget.choices }),
        name: () => DASHBOARD_ID
      });
    }
  }
};
