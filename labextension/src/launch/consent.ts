/** What the user has agreed to that notebooks ask for beyond the defaults; kept with the state of the application. */

import type { IStateDB } from '@jupyterlab/statedb';

import type { IChoice } from './choice';

const KEY = 'fastgpu-jupyter:consent';

/** The oldest is forgotten; the user is then asked again. */
const CONSENTS_MAX = 200;

export class Consent {
  constructor(state: IStateDB | null) {
    this._state = state;
  }

  /** Return whether the user has agreed to exactly this choice for this kernel of this document. */
  async has(path: string, kernel: string, choice: IChoice): Promise<boolean> {
    return (await this._load()).includes(keyOf(path, kernel, choice));
  }

  async add(path: string, kernel: string, choice: IChoice): Promise<void> {
    const key = keyOf(path, kernel, choice);
    const others = (await this._load()).filter(one => one !== key);
    this._known = [...others, key].slice(-CONSENTS_MAX);
    await this._state?.save(KEY, { known: this._known });
  }

  private async _load(): Promise<ReadonlyArray<string>> {
    if (this._known === null) {
      const saved = (await this._state?.fetch(KEY).catch(() => undefined)) as
        | { readonly known?: unknown }
        | undefined;
      const known: unknown[] = Array.isArray(saved?.known) ? saved.known : [];
      this._known = known.filter(one => typeof one === 'string');
    }
    return this._known;
  }

  private readonly _state: IStateDB | null;
  private _known: ReadonlyArray<string> | null = null;
}

function keyOf(path: string, kernel: string, choice: IChoice): string {
  const { size, priority, hold, budget, partition, account, qos, time } = choice;
  const cluster = [partition, account, qos, time];
  return JSON.stringify([path, kernel, size, priority, hold, budget, ...(cluster.some(Boolean) ? cluster : [])]);
}
