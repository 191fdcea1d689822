/**
 * Which peer an address belongs to: the longest prefix wins (whitepaper, section 2, cryptokey routing). One table answers
 * both questions: where does this packet go, and may this peer send from this address?
 *
 * A binary trie with compressed paths, one for each family: a lookup visits at most as many nodes as prefixes lie within
 * each other, and reads the address where it stands in the packet. A prefix belongs to one owner; whoever claims it later
 * has it. Pure.
 */
import type { Prefix } from './prefix.ts'

interface Node<Owner> {
  /** A character for each byte: a gateway has many of these, and a short string costs a fraction of an array. Beyond `bits` it says nothing while nobody owns it. */
  address: string
  readonly bits: number
  owner: Owner | null
  zero: Node<Owner> | null
  one: Node<Owner> | null
}

export class AllowedIps<Owner> {
  #ipv4: Node<Owner> | null = null
  #ipv6: Node<Owner> | null = null
  /** Most owners have one, and then no set. */
  readonly #owned = new Map<Owner, Node<Owner> | Set<Node<Owner>>>()

  /** @returns the owner who loses it, or null. */
  insert(prefix: Prefix, owner: Owner): Owner | null {
    const before = this.#find(prefix)?.owner ?? null
    if (before === owner) return null
    this.#setRoot(prefix, place(this.#rootOf(prefix), prefix, characters(prefix.address), owner))
    const node = this.#find(prefix)
    if (node === null) return before
    if (before !== null) this.#disown(before, node)
    const others = this.#owned.get(owner)
    if (others === undefined) this.#owned.set(owner, node)
    else if (others instanceof Set) others.add(node)
    else this.#owned.set(owner, new Set([others, node]))
    return before
  }

  /** Takes one prefix from whoever has it. */
  delete(prefix: Prefix): void {
    const node = this.#find(prefix)
    if (node === null || node.owner === null) return
    this.#disown(node.owner, node)
    this.#setRoot(prefix, take(this.#rootOf(prefix), prefix))
  }

  /** Takes everything from an owner. */
  remove(owner: Owner): void {
    for (const prefix of this.prefixesOf(owner)) this.#setRoot(prefix, take(this.#rootOf(prefix), prefix))
    this.#owned.delete(owner)
  }

  prefixesOf(owner: Owner): readonly Prefix[] {
    const owned = this.#owned.get(owner)
    const nodes = owned === undefined ? [] : owned instanceof Set ? [...owned] : [owned]
    return nodes.map(({ address, bits }) => ({ address: Buffer.from(address, 'latin1'), bits }))
  }

  /** `bytes` holds an address of `length` 4 or 16 at `offset`. */
  lookup(bytes: Uint8Array, offset: number, length: number): Owner | null {
    let best: Owner | null = null
    let node = length === 4 ? this.#ipv4 : this.#ipv6
    while (node !== null && commonBits(node.address, bytes, offset, node.bits) === node.bits) {
      if (node.owner !== null) best = node.owner
      if (node.bits === 8 * length) break
      node = bitAt(bytes, offset, node.bits) === 0 ? node.zero : node.one
    }
    return best
  }

  #find(prefix: Prefix): Node<Owner> | null {
    let node = this.#rootOf(prefix)
    while (node !== null && node.bits <= prefix.bits && commonBits(node.address, prefix.address, 0, node.bits) === node.bits) {
      if (node.bits === prefix.bits) return node
      node = bitAt(prefix.address, 0, node.bits) === 0 ? node.zero : node.one
    }
    return null
  }

  #disown(owner: Owner, node: Node<Owner>): void {
    const owned = this.#owned.get(owner)
    if (owned instanceof Set && owned.size > 1) owned.delete(node)
    else this.#owned.delete(owner)
  }

  #rootOf({ address }: Prefix): Node<Owner> | null {
    return address.length === 4 ? this.#ipv4 : this.#ipv6
  }

  #setRoot({ address }: Prefix, root: Node<Owner> | null): void {
    if (address.length === 4) this.#ipv4 = root
    else this.#ipv6 = root
  }
}

/** `address`: the prefix's. */
function place<Owner>(node: Node<Owner> | null, prefix: Prefix, address: string, owner: Owner): Node<Owner> {
  const leaf = (): Node<Owner> => ({ address, bits: prefix.bits, owner, zero: null, one: null })
  if (node === null) return leaf()
  const common = commonBits(node.address, prefix.address, 0, Math.min(node.bits, prefix.bits))
  if (common === node.bits) {
    if (common === prefix.bits) {
      node.address = address
      node.owner = owner
    } else if (bitAt(prefix.address, 0, common) === 0) node.zero = place(node.zero, prefix, address, owner)
    else node.one = place(node.one, prefix, address, owner)
    return node
  }
  const parent: Node<Owner> = common === prefix.bits ? leaf() : { address, bits: common, owner: null, zero: null, one: null }
  if (((node.address.charCodeAt(common >> 3) >> (7 - (common & 7))) & 1) === 0) parent.zero = node
  else parent.one = node
  return common === prefix.bits ? parent : place(parent, prefix, address, owner)
}

/** @returns the node that stands in its place: none, its only child, or itself. */
function take<Owner>(node: Node<Owner> | null, prefix: Prefix): Node<Owner> | null {
  if (node === null) return null
  if (node.bits === prefix.bits) node.owner = null
  else if (bitAt(prefix.address, 0, node.bits) === 0) node.zero = take(node.zero, prefix)
  else node.one = take(node.one, prefix)
  if (node.owner !== null || (node.zero !== null && node.one !== null)) return node
  return node.zero ?? node.one
}

function characters(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function bitAt(bytes: Uint8Array, offset: number, bit: number): number {
  return ((bytes[offset + (bit >> 3)] ?? 0) >> (7 - (bit & 7))) & 1
}

/** How many bits from the first on are equal, up to `limit`. */
function commonBits(left: string, right: Uint8Array, offset: number, limit: number): number {
  for (let bit = 0; bit < limit; bit += 8) {
    const different = left.charCodeAt(bit >> 3) ^ (right[offset + (bit >> 3)] ?? 0)
    if (different !== 0) return Math.min(limit, bit + Math.clz32(different) - 24)
  }
  return limit
}
