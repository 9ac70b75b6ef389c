/**
 * Formatting of quantities. Pure: the language is a parameter, so that the result does not depend on the browser.
 */

const KIB = 1024;
const GIB = KIB ** 3;

/** Format memory in GiB, or in MiB if that would be 0.0. */
export function formatMemory(bytes: number, language?: string): string {
  const [value, unit] = splitMemory(bytes, bytes, language);
  return `${value} ${unit}`;
}

/** Format the size of a file: as memory, but small ones in bytes or KiB. */
export function formatBytes(bytes: number, language?: string): string {
  if (bytes >= 0.1 * KIB ** 2) {
    return formatMemory(bytes, language);
  }
  return bytes < KIB
    ? `${formatNumber(bytes, 0, 0, language)} B`
    : `${formatNumber(bytes / KIB, 0, 1, language)} KiB`;
}

/** Format used and total memory, both in the unit of the total: `12.3 / 80 GiB`. */
export function formatMemoryOf(used: number, total: number, language?: string): string {
  const [totalText, unit] = splitMemory(total, total, language);
  const [usedText] = splitMemory(used, total, language);
  return `${usedText} / ${totalText} ${unit}`;
}

function splitMemory(bytes: number, scale: number, language?: string): [string, string] {
  const [divisor, unit] = scale >= 0.1 * GIB || scale === 0 ? [GIB, 'GiB'] : [KIB ** 2, 'MiB'];
  const value = bytes / divisor;
  // One decimal distinguishes 12.3 from 12.9; above a hundred it carries no information.
  const digits = value >= 100 ? 0 : 1;
  return [formatNumber(value, 0, digits, language), unit];
}

/** Format an amount of money, given in millionths of the currency's unit, as commands and messages do: `1.25 USD`. */
export function formatMoney(micro: number, currency: string, language?: string): string {
  return `${formatAmount(micro, language)} ${currency}`.trim();
}

/**
 * Format an amount of money without its currency.
 *
 * Amounts below one unit have four decimals, so that a growing cost is visible; an amount that would still round to
 * zero is shown as less than the smallest amount.
 */
export function formatAmount(micro: number, language?: string): string {
  if (micro > 0 && micro < 50) {
    return `<${formatNumber(0.0001, 4, 4, language)}`;
  }
  const digits = Math.abs(micro) < 1_000_000 && micro !== 0 ? 4 : 2;
  return formatNumber(micro / 1_000_000, digits, digits, language);
}

/** Format thousandths of GPUs as GPUs: `0.5`, `2`. */
export function formatGPUs(milli: number, language?: string): string {
  return formatNumber(milli / 1000, 0, 3, language);
}

/** Format a percentage without decimals: `37%`. */
export function formatPercent(percent: number, language?: string): string {
  return new Intl.NumberFormat(locale(language), {
    style: 'percent',
    maximumFractionDigits: 0
  }).format(percent / 100);
}

/** Format milliwatts as watts: `212 W`. */
export function formatPower(milliwatt: number, language?: string): string {
  return `${formatNumber(milliwatt / 1000, 0, 0, language)} W`;
}

/** Format a temperature: `61°C`. */
export function formatTemperature(celsius: number, language?: string): string {
  return new Intl.NumberFormat(locale(language), {
    style: 'unit',
    unit: 'celsius',
    maximumFractionDigits: 0
  }).format(celsius);
}

/**
 * Format a duration: `42 s`, `4 min 12 s`, `3 h 05 min`, `2 d 4 h`.
 *
 * A negative duration, the result of two clocks that differ, is shown as zero.
 */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days > 0) {
    return `${days} d ${hours % 24} h`;
  }
  if (hours > 0) {
    return minutes % 60 === 0
      ? `${hours} h`
      : `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  }
  if (minutes > 0) {
    return seconds % 60 === 0
      ? `${minutes} min`
      : `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`;
  }
  return `${seconds} s`;
}

/** Format a duration as minutes and seconds: `1:40`. */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Format the time of day to the second, in the browser's time zone. */
export function formatTime(at: number, language?: string): string {
  return new Intl.DateTimeFormat(locale(language), { timeStyle: 'medium' }).format(at);
}

/** Format a time for an axis: the time of day to the minute, or only the day. */
export function formatAxisTime(at: number, days: boolean, language?: string): string {
  return new Intl.DateTimeFormat(
    locale(language),
    days ? { weekday: 'short' } : { hour: 'numeric', minute: '2-digit' }
  ).format(at);
}

/** Format a day and time to the minute. */
export function formatDayTime(at: number, language?: string): string {
  return new Intl.DateTimeFormat(locale(language), {
    weekday: 'short',
    hour: 'numeric',
    minute: '2-digit'
  }).format(at);
}

/** Return the last component of a path; the whole path if it has none. */
export function baseName(path: string): string {
  const parts = path.split(/[/\\]/).filter(part => part !== '');
  return parts.length > 0 ? parts[parts.length - 1] : path;
}

/** Return a model name without its vendor: `NVIDIA A100-SXM4-80GB` becomes `A100-SXM4-80GB`. */
export function shortModel(model: string): string {
  return model.replace(/^NVIDIA\s+/i, '').trim() || model;
}

/** Format a list of names: `a, b, and c`. */
export function formatList(names: ReadonlyArray<string>, language?: string): string {
  return new Intl.ListFormat(locale(language)).format(names);
}

/** Format a number with a range of decimals. */
export function formatNumber(
  value: number,
  digitsMin: number,
  digitsMax: number,
  language?: string
): string {
  return new Intl.NumberFormat(locale(language), {
    minimumFractionDigits: digitsMin,
    maximumFractionDigits: digitsMax
  }).format(value);
}

/** Return a locale that Intl accepts: `de-DE` for `de_DE`, and English if the language is unknown. */
function locale(language?: string): string {
  const tag = (language || 'en').replace(/_/g, '-');
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? 'en';
  } catch {
    return 'en';
  }
}
