/** Notifications of the browser, and where the choice of what is announced is kept. */

import type { IStateDB } from '@jupyterlab/statedb';

import type { IChoiceStore } from '../leases/notifier';

/** Ask, on the user's action, whether notifications may be shown; without them the application's own are. */
export function askForPermission(): void {
  if ('Notification' in window && Notification.permission === 'default') {
    void Notification.requestPermission().catch(() => undefined);
  }
}

/** Show a notification of the browser if that is allowed; `tag` makes several pages show one. */
export function notifyInBrowser(text: string, tag: string, open: () => void): void {
  if (!('Notification' in window) || Notification.permission !== 'granted') {
    return;
  }
  try {
    const shown = new Notification('FastGPU', { body: text, tag: `fastgpu-${tag}` });
    shown.onclick = () => {
      window.focus();
      shown.close();
      open();
    };
  } catch {
    // Some browsers allow notifications only from a service worker; the application's own is shown.
  }
}

/** Return a store of choices in the application's state, or one that lasts as long as the page without it. */
export function choiceStore(database: IStateDB | null, id: string): IChoiceStore {
  if (database === null) {
    return { load: () => Promise.resolve([]), save: () => Promise.resolve() };
  }
  return {
    load: async () => {
      const value = await database.fetch(id);
      return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
    },
    save: async ids => {
      await database.save(id, [...ids]);
    }
  };
}
