/**
 * Fills a large nemo cache with objects, one version of each key, until it is killed. Tells on stdout, a line each, how many bytes
 * it has written and the key that it has come to.
 */
import { openSubject, type Subject } from "./subject.ts";
import { keyOf, writtenValue } from "./written-values.ts";

const TELL_EVERY = 10_000;

const [file, subject] = process.argv.slice(2);
const engine = await openSubject(file, JSON.parse(subject) as Subject);
for (let key = 0; ; key++) {
  await engine.put(keyOf(key), writtenValue(key, 1));
  if (key % TELL_EVERY === 0) process.stdout.write(`${engine.stats().deviceBytesWritten} ${key}\n`);
}
