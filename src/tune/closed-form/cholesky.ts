/**
 * Solves systems with a symmetric positive definite matrix, in double precision: Cholesky's factorisation. Matrices are packed:
 * of a symmetric one only the lower triangle is held, row after row, which is half the memory of the square.
 */

/** Numbers of a packed matrix. */
export function packedLength(size: number): number {
  return (size * (size + 1)) / 2;
}

/** Rows that are factorised together: each earlier row is then fetched from memory once for all of them. */
const BLOCK_ROWS = 4;

/** L with L L^T = `matrix` (packed), in place; false when the matrix is not positive definite. */
export function cholesky(matrix: Float64Array, size: number): boolean {
  for (let first = 0; first < size; first += BLOCK_ROWS) {
    const rows = Math.min(BLOCK_ROWS, size - first);
    if (rows === BLOCK_ROWS) eliminateBelow(matrix, first);
    else for (let i = first; i < size; i++) eliminate(matrix, i, 0, first);
    for (let i = first; i < first + rows; i++) {
      eliminate(matrix, i, first, i);
      const row = packedLength(i);
      const rest = matrix[row + i] - dotOf(matrix, row, row, i);
      if (!(rest > 0)) return false;
      matrix[row + i] = Math.sqrt(rest);
    }
  }
  return true;
}

/** Columns `from` to `to` of row i, from those before and from the rows above. */
function eliminate(matrix: Float64Array, i: number, from: number, to: number): void {
  const row = packedLength(i);
  for (let j = from; j < to; j++) {
    const above = packedLength(j);
    matrix[row + j] = (matrix[row + j] - dotOf(matrix, row, above, j)) / matrix[above + j];
  }
}

/** The same for four rows from `first`, a multiple of four, and the columns before it: two columns at a time. */
function eliminateBelow(matrix: Float64Array, first: number): void {
  const a = packedLength(first);
  const b = packedLength(first + 1);
  const c = packedLength(first + 2);
  const d = packedLength(first + 3);
  for (let j = 0; j < first; j += 2) {
    const p = packedLength(j);
    const q = packedLength(j + 1);
    let [ap, bp, cp, dp] = [matrix[a + j], matrix[b + j], matrix[c + j], matrix[d + j]];
    let [aq, bq, cq, dq] = [matrix[a + j + 1], matrix[b + j + 1], matrix[c + j + 1], matrix[d + j + 1]];
    for (let k = 0; k < j; k++) {
      const pk = matrix[p + k];
      const qk = matrix[q + k];
      const ak = matrix[a + k];
      const bk = matrix[b + k];
      const ck = matrix[c + k];
      const dk = matrix[d + k];
      ap -= ak * pk;
      bp -= bk * pk;
      cp -= ck * pk;
      dp -= dk * pk;
      aq -= ak * qk;
      bq -= bk * qk;
      cq -= ck * qk;
      dq -= dk * qk;
    }
    const own = matrix[p + j];
    const beside = matrix[q + j];
    const next = matrix[q + j + 1];
    matrix[a + j] = ap /= own;
    matrix[b + j] = bp /= own;
    matrix[c + j] = cp /= own;
    matrix[d + j] = dp /= own;
    matrix[a + j + 1] = (aq - ap * beside) / next;
    matrix[b + j + 1] = (bq - bp * beside) / next;
    matrix[c + j + 1] = (cq - cp * beside) / next;
    matrix[d + j + 1] = (dq - dp * beside) / next;
  }
}

function dotOf(matrix: Float64Array, a: number, b: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += matrix[a + k] * matrix[b + k];
  return sum;
}

/** x with L L^T x = b, in place of b; L packed. */
export function solveCholesky(lower: Float64Array, size: number, b: Float64Array): void {
  for (let i = 0, row = 0; i < size; i++, row += i) {
    let sum = b[i];
    for (let k = 0; k < i; k++) sum -= lower[row + k] * b[k];
    b[i] = sum / lower[row + i];
  }
  for (let i = size - 1; i >= 0; i--) {
    // Column by column of the transpose, that is row by row of L.
    const row = packedLength(i);
    const value = b[i] / lower[row + i];
    b[i] = value;
    for (let k = 0; k < i; k++) b[k] -= lower[row + k] * value;
  }
}

/** A packed symmetric matrix times a vector. */
export function multiplyPacked(matrix: Float64Array, vector: Float64Array): Float64Array {
  const { length } = vector;
  const product = new Float64Array(length);
  for (let i = 0, row = 0; i < length; i++, row += i) {
    const own = vector[i];
    let sum = matrix[row + i] * own;
    for (let k = 0; k < i; k++) {
      const value = matrix[row + k];
      sum += value * vector[k];
      product[k] += value * own;
    }
    product[i] += sum;
  }
  return product;
}

/** x^T M x of a packed symmetric matrix. */
export function quadraticForm(matrix: Float64Array, x: Float64Array): number {
  let sum = 0;
  for (let i = 0, row = 0; i < x.length; i++, row += i) {
    let half = 0;
    for (let k = 0; k < i; k++) half += matrix[row + k] * x[k];
    sum += x[i] * (2 * half + matrix[row + i] * x[i]);
  }
  return sum;
}
