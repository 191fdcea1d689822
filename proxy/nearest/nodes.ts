/** All data nodes of the table. A row that is reached another way than before starts anew; other changes keep what is known. */
import type { NodeRow } from '../../lib/feed/messages.ts'
import { Node } from './node.ts'
import type { NodeOptions } from './node.ts'

export class Nodes {
  readonly #options: NodeOptions
  readonly #nodes = new Map<string, Node>()

  constructor(options: NodeOptions) {
    this.#options = options
  }

  get(id: string): Node | undefined {
    return this.#nodes.get(id)
  }

  all(): IterableIterator<Node> {
    return this.#nodes.values()
  }

  /** Makes the nodes exactly these. */
  replace(rows: ReadonlyMap<string, NodeRow>): void {
    for (const id of this.#nodes.keys()) if (!rows.has(id)) this.put(id, null)
    for (const [id, row] of rows) this.put(id, row)
  }

  put(id: string, row: NodeRow | null): void {
    const present = this.#nodes.get(id)
    if (row !== null && present?.samePlace(row) === true) return present.update(row)
    present?.close()
    if (row === null) {
      this.#nodes.delete(id)
      return
    }
    const node = new Node(row, this.#options)
    // Connections that are being carried are still carried.
    node.connections = present?.connections ?? 0
    this.#nodes.set(id, node)
  }

  close(): void {
    for (const node of this.#nodes.values()) node.close()
    this.#nodes.clear()
  }
}
