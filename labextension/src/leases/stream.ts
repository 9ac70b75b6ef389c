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
    const buffer = this._buffer + text;
    // A CR at the end may be the first half of a CR LF, so it stays in the buffer.
    const end = buffer.endsWith('\r') ? buffer.length - 1 : buffer.length;
    const lines = buffer.slice(0, end).split(/\r\n|\n|\r/);
    this._buffer = (lines.pop() ?? '') + buffer.slice(end);

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
    if (this._buffer.length + this._size > EVENT_CHARS_MAX) {
      throw new RangeError('an event of the stream is too large');
    }
    return events;
  }

  private _buffer = '';
  private _data: string[] = [];
  private _size = 0;
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
