/**
 * Python's `strftime` for chat templates, in English whatever the machine's locale: the date is part of the prompt, and
 * a model was trained on one spelling of it.
 */

const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

const two = (n: number): string => String(n).padStart(2, "0");

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  Y: (d) => String(d.getFullYear()),
  y: (d) => two(d.getFullYear() % 100),
  m: (d) => two(d.getMonth() + 1),
  d: (d) => two(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2),
  B: (d) => MONTHS[d.getMonth()],
  b: (d) => MONTHS[d.getMonth()].slice(0, 3),
  A: (d) => DAYS[d.getDay()],
  a: (d) => DAYS[d.getDay()].slice(0, 3),
  H: (d) => two(d.getHours()),
  I: (d) => two(d.getHours() % 12 || 12),
  M: (d) => two(d.getMinutes()),
  S: (d) => two(d.getSeconds()),
  p: (d) => (d.getHours() < 12 ? "AM" : "PM"),
  F: (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`,
  T: (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`,
  "%": () => "%",
};

/** `date` in local time. `%-d` and the like drop leading zeros; a directive that is not known stays as it is. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (directive, trim: string, letter: string) => {
    const text = DIRECTIVES[letter]?.(date);
    if (text === undefined) return directive;
    return trim === "" ? text : text.replace(/^[0 ]+(?=.)/, "");
  });
}
