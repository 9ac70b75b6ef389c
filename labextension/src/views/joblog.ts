/** The text of a log: it follows the end, as long as the user does not scroll up, and keeps what fits its limit. */

import { Widget } from '@lumino/widgets';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { JobLog } from '../generated/api';
import { LogText } from '../jobs/logtext';

/** So much of the end of a log is loaded first. */
const FIRST_BYTES = 1024 * 1024;

/** More text is not kept; the browser searches what is kept. */
const CHARS_MAX = 4_000_000;

/** The end is in view up to this distance, in pixels. */
const END_MARGIN = 24;

export class LogContent extends Widget {
  constructor(private readonly _load: (offset: number) => Promise<JobLog>) {
    super();
    this.addClass('fg-Log');
    this._note.className = 'fg-Log-note';
    this._note.hidden = true;
    this._text.className = 'fg-Log-text';
    this._text.tabIndex = 0;
    this._text.setAttribute('role', 'log');
    // Lines that come every second would be read without end.
    this._text.setAttribute('aria-live', 'off');
    this._text.append(this._open);
    this.node.append(this._note, this._text);
    this._text.addEventListener('scroll', this._onScroll, { passive: true });
  }

  /** The accessible name. */
  set label(value: string) {
    this._text.setAttribute('aria-label', value);
  }

  /** Whether the end of the log stays in view. */
  get isFollowing(): boolean {
    return this._isFollowing;
  }

  set isFollowing(value: boolean) {
    if (value !== this._isFollowing) {
      this._isFollowing = value;
      this._changed.emit();
    }
    this._scrollToEnd();
  }

  /** Why the log could not be loaded; null if it could. */
  get failure(): string | null {
    return this._failure;
  }

  /** The bytes before what is kept; null before the first part has come. */
  get skippedBytes(): number | null {
    return this._start;
  }

  /** Emitted when the log, `isFollowing` or `failure` has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Show a sentence above the text; nothing if it is empty. */
  set note(text: string) {
    this._note.textContent = text;
    this._note.hidden = text === '';
  }

  /** Load what has been written up to a number of bytes. */
  loadTo(bytes: number): void {
    this._wanted = Math.max(this._wanted, bytes);
    if (!this._isLoading && (this._end === null || this._end < this._wanted)) {
      void this._loadParts();
    }
  }

  /** Load again after a failure. */
  retry(): void {
    if (!this._isLoading) {
      void this._loadParts();
    }
  }

  override dispose(): void {
    this._text.removeEventListener('scroll', this._onScroll);
    Signal.clearData(this);
    super.dispose();
  }

  private async _loadParts(): Promise<void> {
    this._isLoading = true;
    this._failure = null;
    try {
      for (;;) {
        const part = await this._load(this._end ?? -FIRST_BYTES);
        if (this.isDisposed) {
          return;
        }
        this._start ??= part.offset;
        this._end = part.end;
        this._append(part.text);
        if (part.end >= part.size || part.end === part.offset) {
          return;
        }
      }
    } catch (reason) {
      this._failure = reason instanceof Error ? reason.message : String(reason);
    } finally {
      this._isLoading = false;
      if (!this.isDisposed) {
        this._changed.emit();
      }
    }
  }

  private _append(part: string): void {
    const complete = this._lines.push(part);
    if (complete !== '') {
      this._open.before(complete);
      this._chars += complete.length;
    }
    while (this._chars > CHARS_MAX && this._text.firstChild instanceof Text) {
      const first = this._text.firstChild;
      this._chars -= first.data.length;
      this._start = (this._start ?? 0) + new TextEncoder().encode(first.data).length;
      first.remove();
    }
    this._open.data = this._lines.open;
    this._scrollToEnd();
    this._changed.emit();
  }

  private _scrollToEnd(): void {
    if (this._isFollowing) {
      this._text.scrollTop = this._text.scrollHeight;
    }
  }

  private readonly _onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = this._text;
    const isAtEnd = scrollHeight - clientHeight - scrollTop < END_MARGIN;
    // The text is scrolled to its start while the tab is not shown.
    if (clientHeight > 0 && isAtEnd !== this._isFollowing) {
      this._isFollowing = isAtEnd;
      this._changed.emit();
    }
  };

  private readonly _note = document.createElement('p');
  private readonly _text = document.createElement('pre');
  private readonly _open = document.createTextNode('');
  private readonly _lines = new LogText();
  private readonly _changed = new Signal<this, void>(this);
  private _isFollowing = true;
  private _isLoading = false;
  private _failure: string | null = null;
  private _wanted = 0;
  private _start: number | null = null;
  private _end: number | null = null;
  private _chars = 0;
}
