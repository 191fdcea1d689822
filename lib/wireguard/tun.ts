/**
 * The seam above: who takes and gives whole IP packets. `KernelTun` is an interface of the system, `MemoryTun` a pair of
 * functions.
 */
export interface Tun {
  /** Packets up to this many bytes. */
  readonly mtu: number
  /** `send` is called for each packet that wants to leave, which it may use during the call only. */
  open(send: (packet: Uint8Array) => void): Promise<void>
  /**
   * Never throws and never waits; what can't be taken is lost. `packet` may be used, and changed, during the call only. `from`:
   * the public key of the peer that it came from. @returns false when it is lost
   */
  write(packet: Uint8Array, from?: string): boolean
  /** Idempotent. Nothing comes or goes afterwards. */
  close(): Promise<void>
}
