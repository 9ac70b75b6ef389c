/** The rows of a list with groups that can be folded, filtered and sorted. Pure. */

/** The heading of a group with its totals, or an item. */
export type Row<G extends string, T> =
  | {
      readonly kind: 'group';
      readonly group: G;
      readonly count: number;
      /** What its items cost an hour now. */
      readonly rateMicro: number;
      readonly folded: boolean;
    }
  | { readonly kind: 'item'; readonly item: T };

export interface IRowOptions<G extends string, T> {
  /** The groups, in the order of their headings. */
  readonly groups: ReadonlyArray<G>;
  readonly folded: ReadonlySet<G>;
  /** Words that a listed item has all; empty for all items. */
  readonly filter: string;
  /** Return the group of an item; null for one that is listed before the groups. */
  readonly groupOf: (item: T) => G | null;
  /** Return the text of an item in which words of the filter are found. */
  readonly textOf: (item: T) => string;
  /** Return what an item costs an hour now. */
  readonly rateOf: (item: T) => number;
  /** Return how the items of a group are sorted. */
  readonly comparison: (group: G) => (a: T, b: T) => number;
}

/** Return the rows of the list. A filter opens all groups, so that each match is seen. */
export function groupedRows<G extends string, T>(
  items: ReadonlyArray<T>,
  options: IRowOptions<G, T>
): ReadonlyArray<Row<G, T>> {
  const { groups, folded, filter, groupOf, textOf, rateOf, comparison } = options;
  const words = filter.toLowerCase().split(/\s+/).filter(word => word !== '');
  const members = new Map<G, T[]>();
  const rows: Row<G, T>[] = [];
  for (const item of items) {
    if (words.length > 0) {
      const text = textOf(item).toLowerCase();
      if (!words.every(word => text.includes(word))) {
        continue;
      }
    }
    const group = groupOf(item);
    if (group === null) {
      rows.push({ kind: 'item', item });
    } else {
      const found = members.get(group);
      if (found === undefined) {
        members.set(group, [item]);
      } else {
        found.push(item);
      }
    }
  }
  for (const group of groups) {
    const found = members.get(group);
    if (found === undefined) {
      continue;
    }
    const isFolded = words.length === 0 && folded.has(group);
    const rateMicro = found.reduce((sum, item) => sum + rateOf(item), 0);
    rows.push({ kind: 'group', group, count: found.length, rateMicro, folded: isFolded });
    if (!isFolded) {
      rows.push(...found.sort(comparison(group)).map((item): Row<G, T> => ({ kind: 'item', item })));
    }
  }
  return rows;
}

/** Return the key of a row, which stays the same as long as the row exists. */
export function rowKey<G extends string, T>(row: Row<G, T>, keyOf: (item: T) => string): string {
  return row.kind === 'group' ? `group ${row.group}` : keyOf(row.item);
}
