/**
 * Every limit that keeps a stranger's file from costing more than reading its header: no allocation, loop or read is
 * ever sized by a number out of the file before it was held against one of these and against the file's own size.
 */

/**
 * Header bytes of one shard (everything before the tensor data). The largest tokenizers in use (262k tokens with merges
 * and scores) make headers of 10 to 20 MB; beyond this the header could only serve to keep the reader busy.
 */
export const MAX_HEADER_BYTES = 256 * 1024 * 1024;

/** The format's specification: keys are at most 2^16 - 1 bytes. */
export const MAX_KEY_BYTES = 65_535;

/** ggml keeps names in 64 bytes with a closing NUL (ggml.h, GGML_MAX_NAME); a longer name is refused there too. */
export const MAX_TENSOR_NAME_BYTES = 63;

/** ggml.h, GGML_MAX_DIMS. */
export const MAX_DIMENSIONS = 4;

/** Models have some tens of keys. Each entry kept costs about 200 bytes of heap. */
export const MAX_METADATA_ENTRIES = 65_536;

/** Models have up to some thousand tensors, the old layout with one tensor per expert some ten thousand. */
export const MAX_TENSORS = 131_072;

/** Published split sets have up to some hundred shards. Each costs an open and a header. */
export const MAX_SHARDS = 1_024;

/** llama-hparams.h, LLAMA_MAX_LAYERS: the library asserts on more. */
export const MAX_BLOCKS = 512;

/** llama-hparams.h, LLAMA_MAX_EXPERTS: the library asserts on more. */
export const MAX_EXPERTS = 1_024;

/** Scalar strings up to this are decoded with the header; longer ones (chat templates) only when asked for. */
export const EAGER_STRING_BYTES = 1_024;

/** First read of a header. A demo model's header (133 kB) takes two reads, a large tokenizer's some twenty. */
export const FIRST_CHUNK_BYTES = 64 * 1024;

/** Chunks double up to this; it also bounds how many bytes behind the header are read in vain. */
export const MAX_CHUNK_BYTES = 1024 * 1024;
