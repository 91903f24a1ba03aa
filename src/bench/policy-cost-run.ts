/** The program that measures one policy at one shape: a process of its own, because V8 compiles a policy's callers for it alone there. */
import { dieWithParent } from "../memory/libc.ts";
import { readMessage, writeResult } from "./child-message.ts";
import { type CostJob, measurePolicyCost } from "./policy-cost.ts";

// A bench that is killed outright cannot end its children.
dieWithParent();
writeResult(measurePolicyCost(readMessage() as CostJob));
