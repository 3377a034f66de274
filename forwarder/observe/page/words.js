// Figures as people read them. Never touches the page.

const NONE = "–";

/** 1,234 or 56.7 k or 8.90 M. */
export function count(value) {
  if (value < 10_000) return grouped(Math.round(value));
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${digits(value / size)} ${unit}`;
  }
  return NONE;
}

/** All digits: 1,234,567. */
export function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** So many a second: 0, 0.42, 7.5, 123, 12.3 k. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  if (value < 0.01) return "< 0.01";
  if (value < 1) return value.toFixed(2);
  if (value < 99.95) return value.toFixed(1);
  return count(value);
}

/** 93.4 %; whole only where it is. */
export function share(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (value === 0) return "0 %";
  if (value === 1) return "100 %";
  if (value < 0.001) return "< 0.1 %";
  if (value > 0.999) return "> 99.9 %";
  return `${(value * 100).toFixed(1)} %`;
}

/** Seconds as 85 µs, 4.20 ms, 1.80 s. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 999.5e-6) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1e3)} ms`;
  return `${digits(seconds)} s`;
}

/** The same on an axis: 1 ms. */
export function roundDuration(seconds) {
  return duration(seconds).replace(/\.0+ /, " ");
}

/** 4.2 MiB. */
export function octets(value) {
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (value >= size) return `${digits(value / size).replace(/\.0+$/, "")} ${unit}`;
  }
  return `${value} octets`;
}

/** For how long: 3 days 4 h, 12 min, 40 s. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} ${days === 1 ? "day" : "days"} ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${whole} s`;
}

/** A moment of the day, in the reader's zone: 14:03:22. */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

function digits(value) {
  if (value < 9.995) return value.toFixed(2);
  if (value < 99.95) return value.toFixed(1);
  return String(Math.round(value));
}
