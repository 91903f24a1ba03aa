/** The style sheet of report pages: light, dark, phone and A4. Figures take their dark colours from the palette. */
import { darkFigureCss, PALETTE } from "./palette.ts";
import { FONT_FAMILY } from "./text-width.ts";

const VARIABLES = (side: "light" | "dark") =>
  Object.entries(PALETTE)
    .map(([name, role]) => `--${name}:${role[side]}`)
    .join(";");

export const PAGE_CSS = `
:root{${VARIABLES("light")};--panel:#f5f7f9;color-scheme:light dark}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 3rem;max-width:calc(720px + 2.5rem);background:var(--surface);color:var(--ink);
  font:16px/1.55 ${FONT_FAMILY};
  -webkit-text-size-adjust:100%;overflow-wrap:break-word}
h1{font-size:1.75rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .5rem}
h2{font-size:1.3rem;line-height:1.3;letter-spacing:-.01em;margin:3rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--grid)}
h3{font-size:1rem;line-height:1.35;margin:0 0 .6rem}
h4{font-size:.95rem;margin:1.5rem 0 .4rem}
p,ul{margin:.6rem 0}
ul{padding-left:1.2rem}
li{margin:.25rem 0}
a{color:var(--subject)}
header p{color:var(--muted);margin:.2rem 0}
nav ul{list-style:none;padding:0;margin:1.2rem 0 0;display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;font-size:.9rem}
nav li{margin:0}
.verdict{background:var(--panel);border-left:4px solid var(--faint);border-radius:4px;padding:1rem 1.25rem;margin:1rem 0 1.5rem}
.verdict.good{border-color:var(--third)}
.verdict.mixed{border-color:var(--second)}
.verdict.bad{border-color:var(--ink)}
.verdict p:first-child{font-size:1.15rem;line-height:1.4;font-weight:600;margin-top:0}
.verdict :last-child{margin-bottom:0}
figure{margin:2.25rem 0}
figure svg{display:block;width:100%;height:auto}
.narrow{display:none}
figcaption{color:var(--muted);font-size:.9rem;margin-top:.6rem}
details{margin-top:.5rem;font-size:.85rem}
summary{cursor:pointer;color:var(--muted);width:fit-content}
summary:hover{color:var(--ink)}
.table{overflow-x:auto;margin:.8rem 0}
details .table{max-height:24rem;overflow-y:auto}
table{border-collapse:collapse;font-size:.875rem;line-height:1.4;min-width:50%}
caption{text-align:left;color:var(--muted);padding-bottom:.4rem}
caption span{display:inline-block;position:sticky;left:0;max-width:calc(100vw - 2rem)}
small{display:block;color:var(--muted);font-size:.85em;font-weight:400}
details table{font-size:.8rem}
th,td{padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--grid);font-weight:400}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--muted);border-bottom-color:var(--faint)}
th[scope=row]{min-width:8rem}
th.number[scope=row]{min-width:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
thead .number{white-space:normal}
.marked th,.marked td{font-weight:600;color:var(--subject)}
:focus-visible{outline:2px solid var(--subject);outline-offset:2px}
footer{color:var(--muted);font-size:.85rem;margin-top:3rem;padding-top:1rem;border-top:1px solid var(--grid)}
code{font:inherit;background:var(--panel);border:1px solid var(--grid);border-radius:3px;padding:0 .3em;white-space:pre-wrap}
h2+figure{margin-top:1.25rem}
dt{font-weight:600;margin-top:.6rem}
dd{margin:0}
@media screen and (max-width:640px){
body{padding:1.5rem 1rem 2rem;font-size:15.5px}
h1{font-size:1.45rem}
.wide{display:none}
.narrow{display:block}
}
@media screen and (prefers-color-scheme:dark){
:root{${VARIABLES("dark")};--panel:#1d2127}
${darkFigureCss("figure")}
}
@page{size:A4;margin:16mm 15mm}
@media print{
body{padding:0;max-width:none;font-size:10.5pt;line-height:1.45}
nav,details:not([open]){display:none}
h2,h3,h4{break-after:avoid}
h2{margin-top:1.2rem;padding-top:.8rem}
figure,.verdict,tr{break-inside:avoid}
figure{margin:1rem 0}
figure svg{width:88%}
.table,details .table{overflow:visible;max-height:none}
.verdict,svg{-webkit-print-color-adjust:exact;print-color-adjust:exact}
a{color:inherit;text-decoration:none}
}
`.trim();
