/**
 * The inner loops of every search: the dot products of one query with many stored rows. One function for numbers and one
 * for codes, because V8 compiles a loop over a typed array well only while it sees a single kind of it. All codes share theirs:
 * halves and bytes looked up in a table are as fast as by loops that compute them, and a process searches stores of one
 * encoding. Four rows are taken at once: 31 us for 1,000 rows of 60, where one row with four sums side by side took 48, and
 * Math.fround 61. Which rows is always a list: it costs nothing beside the products, and a search that follows few rows
 * needs no loops of its own.
 */

/**
 * Adds to `dots[row]` the product of `query` and the row whose `query.length` values begin at `values[from + row * width]`,
 * for the first `count` of `rows`. Sums are double precision.
 */
export function addDotsF32(
  query: Float32Array,
  values: Float32Array,
  from: number,
  rows: Int32Array,
  count: number,
  dots: Float64Array,
): void {
  const width = query.length;
  let i = 0;
  for (; i + 3 < count; i += 4) {
    const first = rows[i];
    const second = rows[i + 1];
    const third = rows[i + 2];
    const fourth = rows[i + 3];
    const firstAt = from + first * width;
    const secondAt = from + second * width;
    const thirdAt = from + third * width;
    const fourthAt = from + fourth * width;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let j = 0; j < width; j++) {
      const q = query[j];
      a += q * values[firstAt + j];
      b += q * values[secondAt + j];
      c += q * values[thirdAt + j];
      d += q * values[fourthAt + j];
    }
    dots[first] += a;
    dots[second] += b;
    dots[third] += c;
    dots[fourth] += d;
  }
  for (; i < count; i++) {
    const row = rows[i];
    const at = from + row * width;
    let a = 0;
    for (let j = 0; j < width; j++) a += query[j] * values[at + j];
    dots[row] += a;
  }
}

/** As `addDotsF32`, of codes that stand for `table[code]`; a row counts `scales[scaleFrom + row]` times. */
export function addDotsCoded(
  query: Float32Array,
  codes: Uint16Array | Uint8Array,
  table: Float32Array,
  from: number,
  scales: Float32Array,
  scaleFrom: number,
  rows: Int32Array,
  count: number,
  dots: Float64Array,
): void {
  const width = query.length;
  let i = 0;
  for (; i + 3 < count; i += 4) {
    const first = rows[i];
    const second = rows[i + 1];
    const third = rows[i + 2];
    const fourth = rows[i + 3];
    const firstAt = from + first * width;
    const secondAt = from + second * width;
    const thirdAt = from + third * width;
    const fourthAt = from + fourth * width;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let j = 0; j < width; j++) {
      const q = query[j];
      a += q * table[codes[firstAt + j]];
      b += q * table[codes[secondAt + j]];
      c += q * table[codes[thirdAt + j]];
      d += q * table[codes[fourthAt + j]];
    }
    dots[first] += a * scales[scaleFrom + first];
    dots[second] += b * scales[scaleFrom + second];
    dots[third] += c * scales[scaleFrom + third];
    dots[fourth] += d * scales[scaleFrom + fourth];
  }
  for (; i < count; i++) {
    const row = rows[i];
    const at = from + row * width;
    let a = 0;
    for (let j = 0; j < width; j++) a += query[j] * table[codes[at + j]];
    dots[row] += a * scales[scaleFrom + row];
  }
}
