/** Figure: do two domains use the same experts, and are the same experts steady in both? */
import type { CellColours } from "../colour-cells.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { matrix } from "../matrix.ts";
import { ratioText } from "../number-text.ts";
import { SEQUENTIAL } from "../palette.ts";
import { figureId, headlineSegment, routingSource, type Subject } from "./subject.ts";

type Transfer = readonly (readonly (number | null)[])[];

const COLOURS: CellColours = {
  borders: [0, 0.2, 0.4, 0.6, 0.75, 0.9, 0.97],
  colours: SEQUENTIAL.map(({ light }) => light),
  title: "",
  borderText: String,
};
/** From this step on the colours are darker than mid-grey (in dark pages: lighter). */
const DARK_FROM = 5;

export function transferFigure(subject: Subject): Figure | undefined {
  const { names, activationTransfer, srpTransfer } = subject.phase.domains;
  const main = headlineSegment(subject);
  if (names.length < 2) return undefined;
  const kinds = [
    { heading: "Activation rates", said: "activation rates", values: activationTransfer },
    ...(main === undefined
      ? []
      : [{ heading: `SRP of experts, m = ${main.segmentLength}`, said: "SRP", values: srpTransfer }]),
  ].filter(({ values }) => values.some((row) => row.some((value) => value !== null)));
  if (kinds.length === 0) return undefined;
  const said = kinds.map(({ said, values }) => `${said} ${rangeText(names, values)}`).join("; ");
  return figure({
    id: figureId(subject, "domain-transfer"),
    title: "Transfer between domains",
    description: `Matrices of correlations between domains, over all experts: ${said}.`,
    caption: `Pearson correlation over all experts between two domains; 1 means that both use the same experts equally. High values: a cache or statistics warmed on one domain serve the other. ${capital(said)}.`,
    source: routingSource(subject),
    columns: kinds.length,
    charts: kinds.map(
      ({ heading, values }) =>
        (panel) =>
          matrix(panel, { heading, names, values, colours: COLOURS, darkFrom: DARK_FROM, text: cellText }),
    ),
    table: {
      caption: "Correlations between domains",
      columns: [textColumn("Domain"), textColumn("Of"), ...names.map(numberColumn)],
      rows: kinds.flatMap(({ heading, values }) =>
        names.map((name, row) => [name, heading, ...values[row].map((value) => ratioText(value))]),
      ),
    },
  });
}

/** "from 0.31 (books and code) to 0.84 (web and wikipedia)". */
function rangeText(names: readonly string[], values: Transfer): string {
  const pairs = names
    .flatMap((a, i) => names.slice(i + 1).map((b, j) => ({ pair: `${a} and ${b}`, value: values[i][i + 1 + j] })))
    .filter((pair): pair is { pair: string; value: number } => pair.value !== null)
    .sort((a, b) => a.value - b.value);
  if (pairs.length === 0) return "not defined";
  const [least, most] = [pairs[0], pairs.at(-1)!];
  return pairs.length === 1
    ? ratioText(least.value)
    : `from ${ratioText(least.value)} (${least.pair}) to ${ratioText(most.value)} (${most.pair})`;
}

/** ".62": no room for the 0. */
function cellText(value: number): string {
  if (value >= 0.995) return "1";
  return ratioText(value).replace(/^(−?)0\./, "$1.");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
