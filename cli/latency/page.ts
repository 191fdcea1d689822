/**
 * A report as one HTML page that needs nothing else: no script, no font, no request. Pure. Everything that comes from the
 * cluster is escaped.
 */
import { distributionChart, heat, trendChart } from './charts.ts'
import type { Series } from './charts.ts'
import type { LatencyReport, Measured, Way } from './report.ts'
import { MEASURES, TITLES, directTwin } from './report.ts'
import { shortMs } from './tables.ts'

const STYLE = `
:root { color-scheme: light dark; --text: #1b2430; --soft: #5c6875; --line: #d9dfe6; --back: #fff; --card: #f6f8fa; --a: #0b6e8e; --b: #d98324; }
@media (prefers-color-scheme: dark) { :root { --text: #e6ebf0; --soft: #98a4b1; --line: #323c47; --back: #12171d; --card: #1a2129; --a: #4fb3d3; --b: #e9a052; } }
body { margin: 0 auto; padding: 24px; max-width: 1120px; font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 36px 0 8px; } h3 { font-size: 15px; margin: 0 0 4px; }
p { margin: 4px 0; color: var(--soft); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; } th, td { padding: 6px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { font-weight: 600; } th:first-child, td.name { text-align: left; } td.heat { min-width: 72px; color: #10222b; } td small { opacity: .75; }
td.note { text-align: left; white-space: normal; min-width: 160px; } .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(350px, 1fr)); gap: 14px; margin-top: 10px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.a { fill: var(--a); fill-opacity: .75; } .b { fill: var(--b); fill-opacity: .6; } .line { fill: none; stroke-width: 1.8; } .a.line { stroke: var(--a); } .b.line { stroke: var(--b); }
.axis { stroke: var(--line); } svg { max-width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
.key::before { content: ''; display: inline-block; width: 10px; height: 10px; margin: 0 5px 0 10px; border-radius: 2px; background: var(--a); } .key.second::before { background: var(--b); }
.warn { color: #b3541e; }
`

/** `history`: earlier reports and this one, the oldest first. */
export function latencyPage(report: LatencyReport, history: readonly LatencyReport[]): string {
  const { at, missing } = report
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nearcast latency</title><style>${STYLE}</style></head><body>
<h1>Latency</h1><p>${escape(at)}${history.length > 1 ? `; ${history.length} reports in its history` : ''}</p>
${missing.map(({ identity, reason }) => `<p class="warn">${escape(identity)}: ${escape(reason)}</p>`).join('')}
<h2>From every proxy to every node</h2>
<p>Median of the proxies' own probes, question to answer; below it the 99th percentile. Milliseconds.</p>
${heatMap(report)}
${waysSection(report)}
${trends(history)}
</body></html>
`
}

function heatMap({ proxies }: LatencyReport): string {
  const nodes = [...new Map(proxies.flatMap((proxy) => proxy.nodes.map(({ node, region }) => [node, region] as const)))]
  const farthest = Math.max(0, ...proxies.flatMap((proxy) => proxy.nodes.map(({ rtt }) => rtt?.p50 ?? 0)))
  const rows = proxies.map(({ proxy, region, nodes: theirs }) => {
    const cells = nodes.map(([id]) => {
      const found = theirs.find(({ node }) => node === id)
      if (!found?.rtt) return '<td>-</td>'
      const more = [`connect p50 ${shortMs(found.connect?.p50 ?? 0)} ms, p99 ${shortMs(found.connect?.p99 ?? 0)} ms`, ...(found.healthy ? [] : ['unhealthy'])].join('; ')
      return `<td class="heat" style="background:${colour(heat(found.rtt.p50, farthest))}" title="${escape(more)}">${shortMs(found.rtt.p50)}<br><small>${shortMs(found.rtt.p99)}</small></td>`
    })
    return `<tr><td class="name">${escape(proxy)} <small>${escape(region)}</small></td>${cells.join('')}</tr>`
  })
  const head = nodes.map(([id, region]) => `<th>${escape(id)}<br><small>${escape(region)}</small></th>`).join('')
  const charts = proxies.flatMap(({ proxy, nodes: theirs }) =>
    theirs.flatMap(({ node, connect, rtt }) => {
      const chart = distributionChart([series('round trip', 'a', rtt), series('connect', 'b', connect)])
      return chart === '' ? [] : [card(`${proxy} to ${node}`, ['round trip', 'connect, TLS included'], chart)]
    }),
  )
  return `<div class="scroll"><table><tr><th>proxy</th>${head}</tr>${rows.join('')}</table></div><div class="cards">${charts.join('')}</div>`
}

function waysSection({ ways }: LatencyReport): string {
  if (ways.length === 0) return ''
  const head = MEASURES.map((each) => `<th>${TITLES[each]}</th>`).join('')
  const rows = ways.map((way) => {
    const cells = MEASURES.map((each) => `<td>${three(way[each])}</td>`).join('')
    const notes = way.errors.map(escape).join('; ')
    return `<tr><td class="name">${escape(way.org)}/${escape(way.database)}</td><td class="name">${escape(where(way))}</td>${cells}<td class="note"><small>${notes}</small></td></tr>`
  })
  const charts = ways
    .filter(({ kind }) => kind === 'through')
    .flatMap((way) => {
      const twin = directTwin(ways, way)
      const chart = distributionChart([series('through Nearcast', 'a', way.get), ...(twin ? [series('direct', 'b', twin.get)] : [])])
      const keys = ['GET through Nearcast', ...(twin ? [`GET beside the engine in ${twin.region}`] : [])]
      return chart === '' ? [] : [card(`${way.org}/${way.database} from ${way.region}`, keys, chart)]
    })
  return `<h2>To databases</h2><p>p50 / p90 / p99 in milliseconds. First byte: from the dial to the answer of the first command. Direct: beside the engine, on its Unix socket.</p>
<div class="scroll"><table><tr><th>database</th><th></th>${head}<th></th></tr>${rows.join('')}</table></div><div class="cards">${charts.join('')}</div>`
}

function trends(history: readonly LatencyReport[]): string {
  if (history.length < 2) return ''
  const fleet = new Map<string, number[]>()
  const ways = new Map<string, number[]>()
  for (const [index, report] of history.entries()) {
    for (const { proxy, nodes } of report.proxies) for (const { node, rtt } of nodes) place(fleet, `${proxy} to ${node}`, index, rtt?.p50)
    for (const way of report.ways) if (way.kind === 'through') place(ways, `${way.org}/${way.database} from ${way.region}`, index, way.get?.p50)
  }
  return `<h2>Trend</h2><p>Medians since ${escape(history[0]?.at ?? '')}.</p><div class="cards">${trendCards(fleet, 'round trip, p50')}${trendCards(ways, 'GET, p50')}</div>`
}

/** Reports in which something was not measured are gaps. */
function trendCards(found: ReadonlyMap<string, number[]>, key: string): string {
  const chart = (values: number[]): string => trendChart([{ label: key, style: 'a', values: Array.from(values, (value) => value ?? Number.NaN) }])
  return [...found].map(([name, values]) => card(name, [key], chart(values))).join('')
}

function place(into: Map<string, number[]>, name: string, index: number, value: number | undefined): void {
  const values = into.get(name) ?? []
  values[index] = value ?? Number.NaN
  into.set(name, values)
}

function series(label: string, style: string, measured: Measured | null): Series {
  return { label, style, values: measured?.samples ?? [] }
}

function card(name: string, keys: readonly string[], chart: string): string {
  const legend = keys.map((key, index) => `<span class="key${index > 0 ? ' second' : ''}">${escape(key)}</span>`).join('')
  return `<div class="card"><h3>${escape(name)}</h3><p><small>${legend}</small></p>${chart}</div>`
}

function where({ kind, region }: Way): string {
  return kind === 'direct' ? `direct, in ${region}` : `Nearcast, from ${region}`
}

function three(measured: Measured | null): string {
  return measured === null ? '-' : [measured.p50, measured.p90, measured.p99].map(shortMs).join(' / ')
}

/** From a calm green over yellow to orange; dark text is readable on all of them. */
function colour(share: number): string {
  return `hsl(${Math.round(150 - 125 * share)} 62% ${Math.round(78 - 10 * share)}%)`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
