/** Figure: bytes read for a token, over what a plain LRU reads. */
import { bars } from "../bars.ts";
import { numberColumn, textColumn } from "../data-table.ts";
import { type Figure, figure } from "../figure.ts";
import { ratioText } from "../number-text.ts";
import { middleShare, rowsAt, type Side, shareText, sideText, sourceLine } from "./subject.ts";

export function bytesFigure(side: Side): Figure | undefined {
  const share = middleShare(side.rows);
  const rows = rowsAt(side.rows, share).filter(({ bytesOverLru }) => bytesOverLru !== null && bytesOverLru < 5);
  if (rows.length < 2) return undefined;
  const read = ({ bytesPerToken }: (typeof rows)[number]) => bytesPerToken.demanded + bytesPerToken.speculated;
  const ordered = [...rows].sort((a, b) => read(a) - read(b));
  return figure({
    id: `bytes-${side.source}-${side.mode}`,
    title: `Bytes read for a token at ${shareText(share)}, ${sideText(side)}`,
    description: `Bars of megabytes read per decoded token: ${ordered.map((row) => `${row.policy} ${megabytes(read(row))}`).join(", ")}.`,
    caption:
      "Demanded and read ahead together; in brackets the part that was read ahead, and what of it nobody used. Where the drive is always busy, each wrong byte delays a right one.",
    source: sourceLine(side),
    charts: [
      (panel) =>
        bars(panel, {
          title: "read per token (MB)",
          bars: ordered.map((row) => ({
            name: row.policy,
            value: read(row) / 1e6,
            text: `${megabytes(read(row))}${row.bytesPerToken.speculated === 0 ? "" : ` (${megabytes(row.bytesPerToken.speculated)} ahead, ${megabytes(row.bytesPerToken.wasted)} wasted)`}`,
          })),
        }),
    ],
    table: {
      caption: "Bytes of a decoded token, MB",
      columns: [textColumn("Policy"), ...["Demanded", "Ahead", "Wasted", "Over LRU"].map(numberColumn)],
      rows: ordered.map(({ policy, bytesPerToken, bytesOverLru }) => [
        policy,
        ...[bytesPerToken.demanded, bytesPerToken.speculated, bytesPerToken.wasted].map(megabytes),
        ratioText(bytesOverLru),
      ]),
    },
  });
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
