// Numbers, times and durations as people read them, by Grafana's unit ids. Times are UTC.

const DAY = 86400;

function trimmed(value, digits) {
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function significant(value) {
  const size = Math.abs(value);
  if (size === 0 || (size >= 0.001 && size < 1e6)) return trimmed(value, size >= 100 ? 1 : size >= 1 ? 2 : 4);
  return value.toExponential(2);
}

function short(value) {
  for (const [limit, suffix] of [[1e9, " B"], [1e6, " M"], [1e4, " K"]]) {
    if (Math.abs(value) >= limit) return trimmed(value / (limit === 1e4 ? 1e3 : limit), 1) + suffix;
  }
  return significant(value);
}

export function duration(seconds) {
  const size = Math.abs(seconds);
  for (const [unit, length] of [["years", 365.25 * DAY], ["days", DAY], ["h", 3600], ["min", 60]]) {
    if (size >= 2 * length || (size >= length && unit !== "days" && unit !== "years")) return `${trimmed(seconds / length, 1)} ${unit}`;
  }
  return size >= 1 ? `${trimmed(seconds, 1)} s` : `${trimmed(seconds * 1000, 0)} ms`;
}

const two = (number) => String(number).padStart(2, "0");

export function dateText(ms) {
  const date = new Date(ms);
  return `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
}

export function timeText(ms) {
  const date = new Date(ms);
  return `${dateText(ms)} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
}

export function formatValue(value, unit, decimals) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  const fixed = (number) => (decimals === undefined ? null : number.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  if (unit === "percentunit") return `${fixed(value * 100) ?? trimmed(value * 100, Math.abs(value) < 0.1 ? 2 : 1)} %`;
  if (unit === "s") return duration(value);
  if (unit === "dateTimeAsIso") return timeText(value);
  return fixed(value) ?? (unit === "short" ? short(value) : significant(value));
}
