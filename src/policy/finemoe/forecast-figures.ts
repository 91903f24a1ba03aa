/**
 * What forecasts were like and what became of them: how similar the matches were, how many experts they selected, and how
 * much of what routers then chose had been forecast. Counts only, for the figures that prove that the mechanisms ran.
 */

/** Upper bounds of classes of similarity; the paper reports 0.8 to 1 for a full store. */
const SCORE_BOUNDS = [0.5, 0.7, 0.8, 0.9, 0.95, 0.99, Number.POSITIVE_INFINITY];
const SCORE_NAMES = ["Below50", "To70", "To80", "To90", "To95", "To99", "To100"];

export class ForecastFigures {
  /** Layers whose forecast came in time, and those that had passed. */
  layersPlanned = 0;
  layersLate = 0;
  /** Uses by routers in layers with a forecast, and those of them that had been selected. */
  usesForecast = 0;
  usesSelected = 0;
  #experts = 0;
  #expertsUsed = 0;
  #selected = 0;
  readonly #scores = new Float64Array(SCORE_BOUNDS.length);
  /** Selections of exactly K, up to 2K, up to 4K, more, and of all experts. */
  readonly #sizes = new Float64Array(5);

  begin(experts: number, expertsUsed: number): void {
    this.#experts = experts;
    this.#expertsUsed = expertsUsed;
  }

  planned(score: number, selected: number): void {
    this.layersPlanned++;
    this.#selected += selected;
    let scoreClass = 0;
    while (score >= SCORE_BOUNDS[scoreClass]) scoreClass++;
    this.#scores[scoreClass]++;
    const k = this.#expertsUsed;
    this.#sizes[
      selected >= this.#experts ? 4 : selected <= k ? 0 : selected <= 2 * k ? 1 : selected <= 4 * k ? 2 : 3
    ]++;
  }

  toRecord(): Record<string, number> {
    const record: Record<string, number> = {
      forecastLayers: this.layersPlanned,
      forecastLayersLate: this.layersLate,
      forecastUses: this.usesForecast,
      forecastUsesSelected: this.usesSelected,
      selectedExperts: this.#selected,
    };
    for (const [i, name] of SCORE_NAMES.entries()) record[`score${name}`] = this.#scores[i];
    for (const [i, name] of ["K", "To2K", "To4K", "Beyond4K", "All"].entries())
      record[`selected${name}`] = this.#sizes[i];
    return record;
  }
}
