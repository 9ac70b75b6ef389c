/** How long a lease is idle, which step of the idle policy follows, and the menu that puts it off. */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import { formatTime } from '../texts/format';
import { idleMessage, idleProgress, idleText, SNOOZES_MS, snoozeText, stepTexts } from '../texts/idle';
import { messageText } from '../texts/message';
import { FormattedText } from './components';
import type { IActing } from './hooks';
import type { ILeaseSource } from './source';
import type { ITextContext } from './textcontext';

/** The section of one lease; nothing where no step applies to it. */
export function IdleSection(
  props: ITextContext & {
    readonly source: ILeaseSource;
    readonly lease: LeaseView;
    readonly live: boolean;
    readonly acting: IActing;
  }
): React.JSX.Element | null {
  const { source, lease, live, acting, trans, language } = props;
  const { idle } = lease;
  if (idle.steps.length === 0) {
    return null;
  }
  const text = idleText(lease, source.now(), trans);
  const message = idleMessage(lease, source.now());
  const progress = idleProgress(lease, source.now());
  return (
    <section className="fg-Controls-section fg-Idle" aria-label={trans.__('Idle')}>
      <div className="fg-Controls-title">
        <h3>{trans.__('Idle')}</h3>
        <span className="fg-Idle-next">{text}</span>
        <SnoozeButton
          disabled={!live}
          onSnooze={for_ms => void acting.act('snooze', { for_ms }, lease.id)}
          trans={trans}
          language={language}
        />
      </div>
      {progress !== null && (
        <div
          className="fg-Meter fg-Idle-bar"
          role="meter"
          aria-label={trans.__('Idle')}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(100 * progress.part)}
          aria-valuetext={text}
        >
          <div className="fg-Meter-fill" style={{ width: `${100 * progress.part}%` }} />
          {progress.marks.map(at => (
            <div key={at} className="fg-Idle-mark" style={{ insetInlineStart: `${100 * at}%` }} />
          ))}
        </div>
      )}
      {message !== null && (
        <p className="fg-Note" data-kind="warning">
          <FormattedText text={messageText(message, trans, language)} />
        </p>
      )}
      <p className="fg-Note">
        <span className="fg-Idle-steps">
          {stepTexts(idle.steps, trans).map(step => (
            <span key={step}>{step}</span>
          ))}
          {idle.snoozed_until !== null && (
            <span>{trans.__('Snoozed until %1.', formatTime(idle.snoozed_until, language))}</span>
          )}
        </span>
      </p>
    </section>
  );
}

/** A button with a small menu of times. Escape closes it and returns the focus. */
export function SnoozeButton(
  props: ITextContext & {
    readonly disabled: boolean;
    readonly onSnooze: (forMs: number) => void;
  }
): React.JSX.Element {
  const { disabled, onSnooze, trans } = props;
  const [isOpen, setIsOpen] = React.useState(false);
  const root = React.useRef<HTMLSpanElement>(null);
  const button = React.useRef<HTMLButtonElement>(null);
  const menu = React.useRef<HTMLSpanElement>(null);
  const close = (refocus: boolean) => {
    setIsOpen(false);
    if (refocus) {
      button.current?.focus();
    }
  };
  React.useEffect(() => {
    const element = menu.current;
    if (!isOpen || element === null) {
      return;
    }
    const items = [...element.querySelectorAll('button')];
    items[0].focus();
    const onPointerDown = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) {
        setIsOpen(false);
      }
    };
    // Not React's event, which comes after those of the popover around: Escape would close that as well.
    const onKeyDown = (event: KeyboardEvent) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === 'Escape') {
        close(true);
      } else if (step !== undefined) {
        const at = items.indexOf(document.activeElement as HTMLButtonElement);
        items[(at + step + items.length) % items.length].focus();
      } else {
        return;
      }
      event.stopPropagation();
      event.preventDefault();
    };
    document.addEventListener('pointerdown', onPointerDown, true);
    element.addEventListener('keydown', onKeyDown);
    return () => {
      document.removeEventListener('pointerdown', onPointerDown, true);
      element.removeEventListener('keydown', onKeyDown);
    };
  }, [isOpen]);

  return (
    <span ref={root} className="fg-Snooze">
      <button
        ref={button}
        type="button"
        className="fg-Button"
        aria-haspopup="menu"
        aria-expanded={isOpen}
        disabled={disabled}
        onClick={() => setIsOpen(!isOpen)}
      >
        {trans.__('Snooze')}
        <span className="fg-Snooze-caret" aria-hidden="true" />
      </button>
      {isOpen && (
        <span
          ref={menu}
          className="fg-Snooze-menu"
          role="menu"
          aria-label={trans.__('Snooze')}
        >
          {SNOOZES_MS.map(forMs => (
            <button
              key={forMs}
              type="button"
              role="menuitem"
              tabIndex={-1}
              onClick={() => {
                close(true);
                onSnooze(forMs);
              }}
            >
              {snoozeText(forMs)}
            </button>
          ))}
        </span>
      )}
    </span>
  );
}
