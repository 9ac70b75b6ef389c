/**
 * The text/event-stream format and the rhythm of reconnecting, without any I/O.
 */

/** A single event larger than this is a fault, not a pool. */
export const EVENT_CHARS_MAX = 16 * 1024 * 1024;

/** The shortest and the longest pause before another attempt. */
export const RETRY_MS_MIN = 500;
export const RETRY_MS_MAX = 30_000;

/**
 * Takes the stream apart into the data of its events.
 *
 * Fed with pieces cut anywhere, also in the middle of a line end. Knows `data:` lines and comments; other fields are
 * ignored, as the format asks. An event that has begun but not ended is kept until the rest comes.
 */
export class EventStreamParser {
  /** @returns The data of the events that this piece completes. */
  push(piece: string): string[] {
    const text = this._rest + piece;
    // A CR at the very end may be the first half of a CR LF: leave it for the next piece.
    const usable = text.endsWith('\r') ? text.length - 1 : text.length;
    const lines = text.slice(0, usable).split(/\r\n|\n|\r/);
    this._rest = (lines.pop() ?? '') + text.slice(usable);

    const events: string[] = [];
    for (const line of lines) {
      if (line === '') {
        if (this._data.length > 0) {
          events.push(this._data.join('\n'));
        }
        this._data = [];
        this._size = 0;
      } else if (line.startsWith('data:')) {
        const data = line.slice(line.startsWith('data: ') ? 6 : 5);
        this._data.push(data);
        this._size += data.length;
      }
    }
    if (this._rest.length + this._size > EVENT_CHARS_MAX) {
      throw new RangeError('an event of the stream is too large');
    }
    return events;
  }

  private _rest = '';
  private _data: string[] = [];
  private _size = 0;
}

/**
 * How long to wait before the next attempt.
 *
 * Doubles with each failure in a row; then a random half is taken off, so that the pages of many users do not come back
 * to a restarted server in the same instant.
 *
 * @param failures - How many attempts have failed in a row, one or more.
 * @param random - A number from 0 to 1.
 */
export function retryDelay(failures: number, random: number): number {
  const exponent = Math.min(Math.max(failures, 1) - 1, 10);
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (exponent + 1));
  return Math.max(RETRY_MS_MIN, Math.round(ceiling * (0.5 + random / 2)));
}
