/**
 * The parser of the text/event-stream format and the delays between reconnections, without I/O.
 */

/** The largest event; a larger one is treated as an error of the server. */
export const EVENT_CHARS_MAX = 16 * 1024 * 1024;

/** The shortest and the longest delay before the next attempt. */
export const RETRY_MS_MIN = 500;
export const RETRY_MS_MAX = 30_000;

/**
 * Parses a stream into the data of its events.
 *
 * The stream can be divided at any character, also inside a line end. Fields other than `data:` and comments are
 * ignored, as the format requires. An incomplete event is buffered until the rest arrives.
 */
export class EventStreamParser {
  /** Return the data of the events that this part of the stream completes. */
  push(text: string): string[] {
    // Only the new part is searched for line ends: an event of megabytes comes in many parts. A CR at the end may be the
    // first half of a CR LF, so it is searched again with the next part.
    const start = this._pendingCR ? '\r' : '';
    const part = start + text;
    this._pendingCR = part.endsWith('\r');
    const lines = part.slice(0, this._pendingCR ? -1 : undefined).split(/\r\n|\n|\r/);
    const events: string[] = [];
    lines.forEach((end, index) => {
      this._line.push(end);
      this._size += end.length;
      if (index < lines.length - 1) {
        this._endLine(events);
      }
    });
    if (this._size > EVENT_CHARS_MAX) {
      throw new RangeError('an event of the stream is too large');
    }
    return events;
  }

  private _endLine(events: string[]): void {
    const line = this._line.join('');
    this._line = [];
    if (line === '') {
      if (this._data.length > 0) {
        events.push(this._data.join('\n'));
      }
      this._data = [];
      this._size = 0;
    } else if (line.startsWith('data:')) {
      this._data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
    }
  }

  /** The parts of the line that is not complete. */
  private _line: string[] = [];
  private _data: string[] = [];
  /** The length of the lines of the event so far. */
  private _size = 0;
  private _pendingCR = false;
}

/**
 * Return the delay before the next attempt, in milliseconds.
 *
 * It doubles with each consecutive failure and is then reduced by up to half at random, so that the pages of many users
 * do not reconnect to a restarted server at the same instant.
 *
 * @param failures - The number of consecutive failures, at least one.
 * @param random - A number from 0 to 1.
 */
export function retryDelay(failures: number, random: number): number {
  const exponent = Math.min(Math.max(failures, 1) - 1, 10);
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (exponent + 1));
  return Math.max(RETRY_MS_MIN, Math.round(ceiling * (0.5 + random / 2)));
}
