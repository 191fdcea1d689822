/**
 * Waiting on a condition, never for a time: looks again each turn of the loop, then every few milliseconds.
 */
export async function until(what: string, condition: () => boolean, timeoutMs = 30_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  for (let turn = 0; !condition(); turn++) {
    if (performance.now() > deadlineMs) throw new Error(`Not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => (turn < 20 ? setImmediate(resolve) : setTimeout(resolve, 5)))
  }
}
