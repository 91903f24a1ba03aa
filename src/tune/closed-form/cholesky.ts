/** Solves systems with a symmetric positive definite matrix, in double precision: Cholesky's factorisation, row by row. */

/** Lower triangle L with L L^T = `matrix` (`[size][size]`), in place; undefined when the matrix is not positive definite. */
export function cholesky(matrix: Float64Array, size: number): Float64Array | undefined {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * size + j];
      for (let k = 0, a = i * size, b = j * size; k < j; k++) sum -= matrix[a + k] * matrix[b + k];
      if (i !== j) matrix[i * size + j] = sum / matrix[j * size + j];
      else if (sum > 0) matrix[i * size + i] = Math.sqrt(sum);
      else return undefined;
    }
  }
  return matrix;
}

/** x with L L^T x = b, in place of b. */
export function solveCholesky(lower: Float64Array, size: number, b: Float64Array): void {
  for (let i = 0; i < size; i++) {
    let sum = b[i];
    for (let k = 0; k < i; k++) sum -= lower[i * size + k] * b[k];
    b[i] = sum / lower[i * size + i];
  }
  for (let i = size - 1; i >= 0; i--) {
    // Column by column of the transpose, that is row by row of L.
    b[i] /= lower[i * size + i];
    for (let k = 0; k < i; k++) b[k] -= lower[i * size + k] * b[i];
  }
}
