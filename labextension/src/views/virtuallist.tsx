/**
 * A list that renders only the items in view, so that its cost does not depend on its length.
 *
 * It scrolls with the nearest element of the class `fg-Scroll`. Heights are estimated until an item is rendered, and
 * measured while it is.
 */

import * as React from 'react';

/** The class of the element with which lists scroll. */
export const SCROLL_CLASS = 'fg-Scroll';

/** So many pixels above and below the view are rendered as well. */
const MARGIN = 200;

/** The height of the view before it is known, in pixels. */
const INITIAL_HEIGHT = 600;

interface IView {
  readonly top: number;
  readonly height: number;
}

/** The attributes of an item's element. */
export type ItemAttributes = React.LiHTMLAttributes<HTMLLIElement> & {
  readonly [name: `data-${string}`]: string | number | boolean | undefined;
};

export interface IVirtualListProps<T> {
  readonly items: ReadonlyArray<T>;
  readonly keyOf: (item: T) => string;
  /** The height of an item that is not measured yet, in pixels. */
  readonly heightOf: (item: T) => number;
  readonly attributesOf?: (item: T) => ItemAttributes;
  readonly render: (item: T) => React.ReactNode;
  /** The keys of items that are rendered wherever they are, such as that with the focus. */
  readonly kept?: ReadonlyArray<string | null>;
  readonly label: string;
  readonly className?: string;
}

/** The list. Items are absolutely positioned, so that those out of view take no part in the layout. */
export function VirtualList<T>(props: IVirtualListProps<T>): React.JSX.Element {
  const { items, keyOf, heightOf, kept } = props;
  const list = React.useRef<HTMLUListElement>(null);
  const [view, setView] = React.useState<IView>({ top: 0, height: INITIAL_HEIGHT });
  const [, setMeasured] = React.useState(0);
  const [heights] = React.useState(() => new Map<string, number>());
  const observer = useHeights(heights, setMeasured);

  React.useLayoutEffect(() => {
    const node = list.current;
    const scroller = node?.closest(`.${SCROLL_CLASS}`);
    if (!node || !scroller) {
      return;
    }
    const look = () => {
      const top = scroller.getBoundingClientRect().top - node.getBoundingClientRect().top;
      // A smaller move stays within the margin that is rendered.
      setView(known =>
        Math.abs(known.top - top) < MARGIN / 2 && known.height === scroller.clientHeight
          ? known
          : { top, height: scroller.clientHeight }
      );
    };
    scroller.addEventListener('scroll', look, { passive: true });
    const resized = new ResizeObserver(look);
    resized.observe(scroller);
    return () => {
      scroller.removeEventListener('scroll', look);
      resized.disconnect();
    };
  }, []);

  const keys = items.map(keyOf);
  const tops: number[] = [];
  let total = 0;
  items.forEach((item, index) => {
    tops.push(total);
    total += heights.get(keys[index]) ?? heightOf(item);
  });
  const isShown = (index: number) =>
    kept?.includes(keys[index]) ||
    (tops[index] < view.top + view.height + MARGIN &&
      (tops[index + 1] ?? total) > view.top - MARGIN);
  if (heights.size > 2 * items.length + 100) {
    const present = new Set(keys);
    for (const key of heights.keys()) {
      if (!present.has(key)) {
        heights.delete(key);
      }
    }
  }
  return (
    <ul
      ref={list}
      className={`fg-VirtualList ${props.className ?? ''}`}
      role="list"
      aria-label={props.label}
      style={{ height: total }}
    >
      {items.map((item, index) =>
        isShown(index) ? (
          <Item
            key={keys[index]}
            name={keys[index]}
            top={tops[index]}
            position={index + 1}
            size={items.length}
            attributes={props.attributesOf?.(item)}
            observer={observer}
          >
            {props.render(item)}
          </Item>
        ) : null
      )}
    </ul>
  );
}

function Item(props: {
  readonly name: string;
  readonly top: number;
  readonly position: number;
  readonly size: number;
  readonly attributes: ItemAttributes | undefined;
  readonly observer: ResizeObserver;
  readonly children: React.ReactNode;
}): React.JSX.Element {
  const { name, observer } = props;
  const node = React.useRef<HTMLLIElement>(null);
  React.useLayoutEffect(() => {
    const element = node.current;
    if (element === null) {
      return;
    }
    element.dataset.key = name;
    observer.observe(element);
    return () => observer.unobserve(element);
  }, [name, observer]);
  return (
    <li
      {...props.attributes}
      ref={node}
      aria-posinset={props.position}
      aria-setsize={props.size}
      style={{ top: props.top }}
    >
      {props.children}
    </li>
  );
}

/** Return an observer that keeps the measured heights by key, and renders the list after a change. */
function useHeights(
  heights: Map<string, number>,
  setMeasured: React.Dispatch<React.SetStateAction<number>>
): ResizeObserver {
  const [observer] = React.useState(
    () =>
      new ResizeObserver(entries => {
        let changed = false;
        for (const { target, borderBoxSize } of entries) {
          const key = (target as HTMLElement).dataset.key;
          const height = Math.ceil(borderBoxSize[0]?.blockSize ?? 0);
          if (key !== undefined && height > 0 && heights.get(key) !== height) {
            heights.set(key, height);
            changed = true;
          }
        }
        if (changed) {
          setMeasured(count => count + 1);
        }
      })
  );
  React.useEffect(() => () => observer.disconnect(), [observer]);
  return observer;
}
