/** Types of `transcripts.mjs` for the tests that use it. */
export function documents(): string[];
export function transcriptsOf(text: string): { command: string; shown: string }[];
export function runShown(command: string): { output: string; status: number | null };
