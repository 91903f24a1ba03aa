/** Documents of several domains in turn, so that the first few of them speak for all domains. Pure. */

/** One of each domain, a second of each, and so on. */
export function inTurnByDomain<T extends { readonly domain: string }>(documents: readonly T[]): T[] {
  const names = new Set(documents.map(({ domain }) => domain));
  const domains = [...names].map((name) => documents.filter(({ domain }) => domain === name));
  const longest = Math.max(0, ...domains.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => domains.flatMap((own) => own.slice(i, i + 1))).flat();
}
