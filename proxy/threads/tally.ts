/**
 * A data thread's counts on their way to the program's metrics: added up here, taken from time to time, and added to the
 * real ones there. Costs a map look-up a count, and no message.
 */
import type { Counts, Meter, Observes } from '../measures.ts'

export interface Tallies {
  readonly counts: readonly { readonly name: string; readonly labels: Record<string, string>; readonly value: number }[]
  readonly observed: readonly { readonly name: string; readonly values: readonly number[] }[]
}

interface Count {
  readonly name: string
  readonly labels: Record<string, string>
  value: number
}

export class Tally implements Meter {
  #counts = new Map<string, Count>()
  #observed = new Map<string, number[]>()

  counter<Label extends string>(name: string): Counts<Label> {
    return {
      inc: (labels: Record<string, string>, value = 1) => {
        let key = name
        for (const label in labels) key += `\n${labels[label]}`
        const count = this.#counts.get(key)
        if (count) count.value += value
        else this.#counts.set(key, { name, labels, value })
      },
    }
  }

  histogram(name: string): Observes {
    return {
      observe: (value) => {
        const values = this.#observed.get(name)
        if (values) values.push(value)
        else this.#observed.set(name, [value])
      },
    }
  }

  get isEmpty(): boolean {
    return this.#counts.size === 0 && this.#observed.size === 0
  }

  /** What has come together since the last time. */
  take(): Tallies {
    const taken = { counts: [...this.#counts.values()], observed: Array.from(this.#observed, ([name, values]) => ({ name, values })) }
    this.#counts = new Map()
    this.#observed = new Map()
    return taken
  }
}

/** The other end: the program's metrics, by name. */
export class TallyBook implements Meter {
  readonly #meter: Meter
  readonly #counters = new Map<string, Counts<string>>()
  readonly #histograms = new Map<string, Observes>()

  constructor(meter: Meter) {
    this.#meter = meter
  }

  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counts<Label> {
    const counter = this.#meter.counter(name, help, labelNames)
    this.#counters.set(name, counter)
    return counter
  }

  histogram(name: string, help: string, buckets: readonly number[]): Observes {
    const histogram = this.#meter.histogram(name, help, buckets)
    this.#histograms.set(name, histogram)
    return histogram
  }

  add({ counts, observed }: Tallies): void {
    for (const { name, labels, value } of counts) this.#counters.get(name)?.inc(labels, value)
    for (const { name, values } of observed) for (const value of values) this.#histograms.get(name)?.observe(value)
  }
}
