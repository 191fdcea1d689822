/**
 * Metrics: prom-client behind one registry per program; text format for /metrics.
 * Names follow the Prometheus conventions: nearcast_<program>_<what>_<unit>[_total].
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

export type { Counter, Gauge, Histogram }

export class Metrics {
  readonly #registry = new Registry()
  readonly #prefix: string

  constructor(program: string) {
    this.#prefix = `nearcast_${program}_`
    collectDefaultMetrics({ register: this.#registry })
  }

  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return new Counter({ name: this.#prefix + name, help, labelNames: [...labelNames], registers: [this.#registry] })
  }

  /** `collect` sets the value when it is read, for what is cheaper counted on demand. */
  gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[] = [], collect?: (gauge: Gauge<Label>) => void | Promise<void>): Gauge<Label> {
    return new Gauge({
      name: this.#prefix + name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      ...(collect && {
        collect(this: Gauge<Label>) {
          return collect(this)
        },
      }),
    })
  }

  /** Buckets in the unit that the name ends with. */
  histogram<Label extends string>(name: string, help: string, buckets: readonly number[], labelNames: readonly Label[] = []): Histogram<Label> {
    return new Histogram({ name: this.#prefix + name, help, buckets: [...buckets], labelNames: [...labelNames], registers: [this.#registry] })
  }

  /** Every metric that there is, with the labels that it may carry. */
  async described(): Promise<{ readonly name: string; readonly type: string; readonly labels: readonly string[] }[]> {
    const all = await this.#registry.getMetricsAsJSON()
    return all.map(({ name, type }) => {
      const metric = this.#registry.getSingleMetric(name)
      // Not in the package's types, but in its objects since the first version.
      const labels = metric !== undefined && 'labelNames' in metric && Array.isArray(metric.labelNames) ? metric.labelNames.map(String) : []
      return { name, type: String(type), labels }
    })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
