/** Tables as CSV. Pure. */

/** A cell that begins with one of these is a formula for a spreadsheet; the last four are their full-width forms. */
const FORMULA = /^[=+\-@\uff1d\uff0b\uff0d\uff20]/;

/** Return rows as CSV; null is an empty cell, and no text becomes a formula. */
export function csvText(rows: ReadonlyArray<ReadonlyArray<string | number | null>>): string {
  return rows.map(row => `${row.map(cellText).join(',')}\r\n`).join('');
}

function cellText(value: string | number | null): string {
  if (typeof value !== 'string') {
    return value === null ? '' : String(value);
  }
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
