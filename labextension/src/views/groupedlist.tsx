/**
 * A list whose items are lines that can be opened, in groups that can be folded, with a filter and an order.
 *
 * The list has one Tab stop. The arrow keys move through its lines and within them; Enter opens a line.
 */

import { FilterBox, HTMLSelect } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import type { Row } from '../leases/rows';
import { rowKey } from '../leases/rows';
import type { ItemAttributes } from './virtuallist';
import { VirtualList } from './virtuallist';

/** The height of a line, in pixels, as in the style sheet. */
export const ROW_HEIGHT = 28;

/** A list with fewer items has no filter. */
export const FILTER_ITEMS_MIN = 5;

/** The texts of a list. */
export interface IListTexts<G extends string, O extends string> {
  readonly label: string;
  readonly placeholder: string;
  readonly order: string;
  readonly noMatch: string;
  readonly orderName: (order: O) => string;
  readonly groupName: (group: G) => string;
  readonly groupNote: (row: Extract<Row<G, never>, { kind: 'group' }>) => string;
}

export interface IGroupedListProps<G extends string, O extends string, T> extends ITextContext {
  readonly texts: IListTexts<G, O>;
  /** Whether there are so many items that a filter and an order help. */
  readonly hasFilter: boolean;
  readonly orders: ReadonlyArray<O>;
  readonly order: O;
  readonly onOrder: (order: O) => void;
  /** Return the rows for the words of the filter. */
  readonly rowsOf: (filter: string) => ReadonlyArray<Row<G, T>>;
  readonly keyOf: (item: T) => string;
  /** The height of an open item before it is measured, in pixels. */
  readonly openHeight: number;
  readonly isExpanded: (item: T) => boolean;
  readonly attributesOf: (item: T) => ItemAttributes;
  readonly onToggleGroup: (group: G) => void;
  /** Return the line of an item, and what is below it if it is open. */
  readonly render: (item: T, isTabStop: boolean) => React.ReactNode;
}

export function GroupedList<G extends string, O extends string, T>(
  props: IGroupedListProps<G, O, T>
): React.JSX.Element {
  const { texts, hasFilter, trans } = props;
  const [filter, setFilter] = React.useState('');
  const [cleared, setCleared] = React.useState(0);
  const [active, setActive] = React.useState<string | null>(null);
  const node = React.useRef<HTMLDivElement>(null);
  const keyOf = (row: Row<G, T>) => rowKey(row, props.keyOf);

  const rows = props.rowsOf(hasFilter ? filter : '');
  const keys = rows.map(keyOf);
  const tabStop = active !== null && keys.includes(active) ? active : (keys[0] ?? null);
  const onFilter = React.useCallback((_: unknown, query?: string) => setFilter(query ?? ''), []);
  /** Make the row of an element the Tab stop; a click on a button does not focus it in every browser. */
  const activate = ({ target }: React.SyntheticEvent<HTMLElement>) =>
    setActive((target as HTMLElement).closest('li')?.dataset.key ?? null);
  const onKeyDown = (event: React.KeyboardEvent<HTMLElement>) => {
    const target = nextRow(event, keys);
    if (target !== null) {
      event.preventDefault();
      setActive(target);
      focusRow(node.current, target);
    }
  };

  return (
    <div ref={node}>
      {hasFilter && (
        <div className="fg-ListHead">
          <FilterBox
            key={cleared}
            placeholder={texts.placeholder}
            useFuzzyFilter={false}
            updateFilter={onFilter}
          />
          <HTMLSelect
            value={props.order}
            aria-label={texts.order}
            onChange={({ target }) => props.onOrder(target.value as O)}
          >
            {props.orders.map(order => (
              <option key={order} value={order}>
                {texts.orderName(order)}
              </option>
            ))}
          </HTMLSelect>
        </div>
      )}
      {rows.length === 0 ? (
        <div className="fg-Empty" role="status">
          <p>{texts.noMatch}</p>
          <button
            type="button"
            className="fg-Button"
            onClick={() => {
              setFilter('');
              setCleared(cleared + 1);
            }}
          >
            {trans.__('Clear')}
          </button>
        </div>
      ) : (
        <div onKeyDown={onKeyDown} onFocus={activate} onClick={activate}>
          <VirtualList
            label={texts.label}
            className="fg-GroupedList"
            items={rows}
            keyOf={keyOf}
            heightOf={row =>
              row.kind === 'item' && props.isExpanded(row.item) ? props.openHeight : ROW_HEIGHT
            }
            attributesOf={row =>
              row.kind === 'group'
                ? { 'data-group': row.group }
                : { className: 'fg-Item', tabIndex: -1, ...props.attributesOf(row.item) }
            }
            kept={[tabStop]}
            render={row =>
              row.kind === 'group' ? (
                <GroupLine
                  name={texts.groupName(row.group)}
                  note={texts.groupNote(row)}
                  folded={row.folded}
                  isTabStop={keyOf(row) === tabStop}
                  onToggle={() => props.onToggleGroup(row.group)}
                />
              ) : (
                props.render(row.item, keyOf(row) === tabStop)
              )
            }
          />
        </div>
      )}
    </div>
  );
}

/** The heading of a group, with the number of its items and what they cost an hour. */
function GroupLine(props: {
  readonly name: string;
  readonly note: string;
  readonly folded: boolean;
  readonly isTabStop: boolean;
  readonly onToggle: () => void;
}): React.JSX.Element {
  const { name, note } = props;
  return (
    <button
      type="button"
      className="fg-GroupRow"
      tabIndex={props.isTabStop ? 0 : -1}
      aria-expanded={!props.folded}
      aria-label={`${name}: ${note}`}
      onClick={props.onToggle}
    >
      <span className="fg-Section-caret" aria-hidden="true" />
      <span className="fg-ellipsis">{name}</span>
      <span className="fg-GroupRow-note">{note}</span>
    </button>
  );
}

/** Return a set with one more or one less entry. */
export function toggled<G>(set: ReadonlySet<G>, entry: G): ReadonlySet<G> {
  const changed = new Set(set);
  if (!changed.delete(entry)) {
    changed.add(entry);
  }
  return changed;
}

/** Return the key of the row to which a key press moves; the focus within a row is moved here. */
function nextRow(event: React.KeyboardEvent<HTMLElement>, keys: ReadonlyArray<string>): string | null {
  const target = event.target as HTMLElement;
  const line = target.closest<HTMLElement>('.fg-ListRow, .fg-GroupRow');
  const key = target.closest('li')?.dataset.key;
  if (line === null || key === undefined || event.ctrlKey || event.altKey || event.metaKey) {
    return null;
  }
  const index = keys.indexOf(key);
  switch (event.key) {
    case 'ArrowDown':
      return keys[Math.min(index + 1, keys.length - 1)];
    case 'ArrowUp':
      return keys[Math.max(index - 1, 0)];
    case 'Home':
      return keys[0];
    case 'End':
      return keys[keys.length - 1];
    case 'ArrowRight':
    case 'ArrowLeft':
    case 'Escape':
      moveInLine(event, line, target);
      return null;
    default:
      return null;
  }
}

/** Move from a line to its buttons and back; a group is unfolded and folded. */
function moveInLine(
  event: React.KeyboardEvent<HTMLElement>,
  line: HTMLElement,
  target: HTMLElement
): void {
  if (line.matches('.fg-GroupRow')) {
    if (event.key !== 'Escape' && (line.getAttribute('aria-expanded') === 'true') === (event.key === 'ArrowLeft')) {
      event.preventDefault();
      line.click();
    }
    return;
  }
  const stops = [...line.querySelectorAll<HTMLElement>('button:not(:disabled)')].filter(
    button => button.offsetParent !== null
  );
  const index = stops.indexOf(target);
  const next = event.key === 'Escape' ? 0 : index + (event.key === 'ArrowRight' ? 1 : -1);
  if (next >= 0 && next < stops.length && next !== index) {
    event.preventDefault();
    stops[next].focus();
  }
}

/** Focus a row once it is rendered. */
export function focusRow(node: HTMLElement | null, key: string): void {
  window.requestAnimationFrame(() => {
    const row = [...(node?.querySelectorAll<HTMLElement>('li') ?? [])].find(
      item => item.dataset.key === key
    );
    const button = row?.querySelector<HTMLElement>('.fg-ListRow-toggle, .fg-GroupRow');
    button?.focus({ preventScroll: true });
    button?.scrollIntoView({ block: 'nearest' });
  });
}
