/** What happens on the data path, on its way to log and metrics. */
import type { DataPathEvents } from './data-path.ts'
import type { Journal } from './journal.ts'
import type { Measures } from './measures.ts'

export function eventsFor(journal: Journal, measures: Measures): DataPathEvents {
  return {
    ended: (record) => {
      journal.ended(record)
      measures.ended(record)
    },
    dialled: (node, outcome) => measures.dialled(node, outcome),
    hit: (hit) => measures.limited(hit),
    shadowed: (id, source, destination, denial) => {
      journal.shadowed(id, source, destination, denial)
      measures.shadowed(denial)
    },
  }
}
