// Numbers as people read them.

const kUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

// 41606560 → "39.7 MiB": three digits that count, as the command line prints them.
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let unit = 0;
  while (Math.abs(count) >= 1024 && unit + 1 < kUnits.length) {
    count /= 1024;
    ++unit;
  }
  return `${unit === 0 || count >= 100 ? count.toFixed(0) : count >= 10 ? count.toFixed(1) : count.toFixed(2)} ${kUnits[unit]}`;
}

// 0.62 → "0.6 s", 75 → "1:15", 4000 → "1:06:40".
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// Seconds since 1970 → the reader's own date and time.
export function time(seconds) {
  return seconds === null ? "–" : new Date(seconds * 1000).toLocaleString();
}

// "/models/VAE/ae.safetensors" → "ae".
export const stem = (path) => path.split("/").pop().replace(/\.[^.]+$/, "");

export const plural = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;
