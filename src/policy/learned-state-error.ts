/** What a policy is told that it learned in an earlier run, and cannot use. One class for all policies, so that the host treats them alike. */

/** The bytes are damaged, or of a model of another shape. The file is left alone; the policy starts with nothing. */
export class LearnedStateError extends Error {
  override readonly name = "LearnedStateError";
  readonly policy: string;

  constructor(policy: string, problem: string) {
    super(`what ${policy} learned in an earlier run cannot be used: ${problem}. Delete it to start with nothing.`);
    this.policy = policy;
  }
}
