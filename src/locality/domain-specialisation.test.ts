import { expect, test } from "vitest";
import { domainReport } from "./domain-specialisation.ts";

const domain = (name: string, ...rates: number[]) => ({ name, activationRate: [rates], srp: [rates] });

test("the CV of an expert's rate, over the domains that use it", () => {
  const { expertCv, specialisation } = domainReport([
    domain("a", 0.1, 0.2, 0, 0),
    domain("b", 0.1, 0.4, 0, 0.3),
    domain("c", 0.1, 0, 0, 0),
  ]);
  const [same, varying, unused, only] = expertCv[0];
  expect(same).toBeCloseTo(0, 12);
  // Of 0.2 and 0.4; the paper leaves domains below 1e-5 out.
  expect(varying).toBeCloseTo(Math.SQRT2 / 10 / 0.3, 12);
  expect(unused).toBeNull();
  expect(only).toBeCloseTo(Math.sqrt(3), 12);
  expect(specialisation).toBeCloseTo(((varying ?? 0) + Math.sqrt(3)) / 3, 12);
});

test("what two domains share, over their experts", () => {
  const { activationTransfer, srpTransfer, names } = domainReport([
    domain("a", 0.1, 0.2, 0.3),
    domain("b", 0.2, 0.4, 0.6),
    { ...domain("c", 0.3, 0.2, 0.1), srp: undefined },
  ]);
  expect(names).toEqual(["a", "b", "c"]);
  expect(activationTransfer).toEqual(
    [
      [1, 1, -1],
      [1, 1, -1],
      [-1, -1, 1],
    ].map((row) => row.map((r) => expect.closeTo(r, 12))),
  );
  expect(srpTransfer[0]).toEqual([expect.closeTo(1, 12), expect.closeTo(1, 12), null]);
});

test("one domain has nothing to be compared with", () => {
  expect(domainReport([domain("a", 0.1, 0.2)])).toEqual({
    names: ["a"],
    specialisation: null,
    expertCv: [],
    largestCv: 1,
    activationTransfer: [],
    srpTransfer: [],
  });
});
