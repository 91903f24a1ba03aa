/** How far experts belong to domains of text, and whether two domains use the same ones. */
import { mean, meanOfKnown, pearson, sampleDeviation } from "./correlation.ts";
import type { DomainReport } from "./report-data.ts";

/** The paper's: below it an expert does not count as used in a domain. */
const SMALLEST_RATE = 1e-5;

type Matrix = readonly (readonly number[])[];

/** Of one domain, each [layer][expert]. */
export interface DomainRates {
  readonly name: string;
  readonly activationRate: Matrix;
  /** SRP at the headline segment; undefined without windows. */
  readonly srp: Matrix | undefined;
}

export function domainReport(domains: readonly DomainRates[]): DomainReport {
  const rates = domains.map(({ activationRate }) => activationRate.flat());
  const srps = domains.map(({ srp }) => srp?.flat());
  const shape = domains[0].activationRate;
  const several = domains.length > 1;
  const expertCv = !several
    ? []
    : shape.map((row, layer) =>
        row.map((_, expert) => variation(domains.map(({ activationRate }) => activationRate[layer][expert]))),
      );
  return {
    names: domains.map(({ name }) => name),
    specialisation: meanOfKnown(expertCv.flat()),
    expertCv,
    largestCv: Math.sqrt(domains.length),
    activationTransfer: several ? rates.map((a) => rates.map((b) => pearson(a, b))) : [],
    srpTransfer: several
      ? srps.map((a) => srps.map((b) => (a === undefined || b === undefined ? null : pearson(a, b))))
      : [],
  };
}

/**
 * CV over the domains that use the expert. The paper leaves out an expert that only one of several domains uses, the most
 * specialised there is; here it gets the CV over all of them, which is the largest possible (ours).
 */
function variation(rates: readonly number[]): number | null {
  const used = rates.filter((rate) => rate > SMALLEST_RATE);
  if (used.length === 0) return null;
  const counted = used.length === 1 ? rates.map((rate) => (rate > SMALLEST_RATE ? rate : 0)) : used;
  return sampleDeviation(counted) / mean(counted);
}
