/** The text of a log as it is shown: without the codes of terminals, and with the last state of a line. Pure. */

/** Codes that terminals understand: colours, movements of the cursor, titles. */
const TERMINAL_CODES =
  // eslint-disable-next-line no-control-regex
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f\u007f]/g;

/** A longer line without an end is cut into lines, so that it is not kept as a whole. */
const LINE_MAX = 16_384;

/** Divides the parts of a log into lines. A carriage return begins the line again, as progress bars use it. */
export class LogText {
  /** The line that has no end yet. */
  get open(): string {
    return visible(this._rest);
  }

  /** Return the lines that a part of the log completes, each with its end. */
  push(part: string): string {
    const lines = (this._rest + part).replace(/\r\n/g, '\n').split('\n');
    this._rest = lines.pop() ?? '';
    let complete = lines.map(line => `${visible(line)}\n`).join('');
    if (this._rest.length > LINE_MAX) {
      complete += `${visible(this._rest)}\n`;
      this._rest = '';
    }
    return complete;
  }

  private _rest = '';
}

/** Return a whole text as a terminal shows it. */
export function plainText(text: string): string {
  const lines = new LogText();
  return lines.push(text) + lines.open;
}

/** Return what a terminal shows of a line in the end. */
function visible(line: string): string {
  const overwritten = line.replace(/\r+$/, '');
  return overwritten.slice(overwritten.lastIndexOf('\r') + 1).replace(TERMINAL_CODES, '');
}
