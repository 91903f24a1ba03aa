/**
 * What a part may ask for before anything is allocated for it. Our own parts stay far below; the limits leave room for parts
 * that other programs have rewritten.
 */

/** A footer of ours takes about a kilobyte per row group. */
export const MAX_FOOTER_BYTES = 64 * 1024 * 1024;
/** DuckDB writes 122,880 rows to a group, pyarrow 1,048,576. */
export const MAX_GROUP_ROWS = 1 << 22;
/** Numbers in one column chunk: a quarter of a gigabyte of them. Ours have at most 4 Mi. */
export const MAX_CHUNK_VALUES = 1 << 26;
export const MAX_CHUNK_BYTES = 512 * 1024 * 1024;
/** Snappy packs 64 bytes into 3 at best; a page that claims more lies. */
export const MAX_SNAPPY_RATIO = 22;
