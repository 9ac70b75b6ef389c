/** What a click on each card of the launcher gives: the size of the kernelspec, when it starts, and what it costs. */

import type { ISizesQuery } from '../controls/source';
import type { SizeOption, SizeOptions } from '../generated/api';
import type { IChoice } from './choice';
import { modelOf, queryOf, unitOf } from './form';

/** The sizes are asked for at most this often, and only while a launcher is visible. */
export const ITEMS_REFRESH_MS = 5_000;

/** A kernelspec as a card shows it. */
export interface ILauncherItem {
  readonly kernel: string;
  readonly name: string;
  readonly choice: IChoice;
}

/** What is known of the start of a card: an option, that it is being asked for, or that it is unknown. */
export type ItemState =
  | { readonly kind: 'known'; readonly option: SizeOption }
  | { readonly kind: 'checking' | 'unknown' };

/** The state of all cards. */
export class LauncherItems {
  constructor(load: (query: ISizesQuery) => Promise<SizeOptions>) {
    this._load = load;
  }

  stateOf(item: ILauncherItem): ItemState {
    return this._states.get(item.kernel) ?? { kind: 'checking' };
  }

  /** Ask for the sizes of all cards, each question once; resolves with whether a card has changed. */
  async refresh(items: ReadonlyArray<ILauncherItem>): Promise<boolean> {
    const answers = new Map<string, Promise<SizeOptions | null>>();
    for (const item of items) {
      const query = itemQuery(item);
      const key = JSON.stringify(query);
      if (!answers.has(key)) {
        answers.set(key, this._load(query).catch(() => null));
      }
    }
    let isChanged = false;
    for (const item of items) {
      const sizes = await answers.get(JSON.stringify(itemQuery(item)));
      const option = sizes?.options.find(({ size }) => size === item.choice.size);
      const state: ItemState = option === undefined ? { kind: 'unknown' } : { kind: 'known', option };
      isChanged ||= JSON.stringify(state) !== JSON.stringify(this._states.get(item.kernel));
      this._states.set(item.kernel, state);
    }
    return isChanged;
  }

  private readonly _load: (query: ISizesQuery) => Promise<SizeOptions>;
  private readonly _states = new Map<string, ItemState>();
}

function itemQuery({ choice }: ILauncherItem): ISizesQuery {
  return queryOf(choice, modelOf(choice.size), unitOf(choice.size));
}
