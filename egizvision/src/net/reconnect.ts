/** When to try again: doubling from half a second to ten, with up to a third taken off by chance. Pure. */
export function retryDelayMs(attempt: number, chance: number): number {
  const longest = Math.min(500 * 2 ** Math.min(attempt, 10), 10_000);
  return Math.round(longest * (1 - chance / 3));
}
