/**
 * Node's flags for a process in which bytes put on the heap are to be counted: room for so much that nothing is collected
 * while they are. Apart from what measures, because who starts the process need not know how it measures.
 */
export const HEAP_FLAGS: readonly string[] = ["--min-semi-space-size=64", "--max-semi-space-size=64"];
