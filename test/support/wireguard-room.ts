/** A room with hosts of its own for real WireGuard peers. */
import { spawnSync } from 'node:child_process'
import { Room } from './room.ts'

/** `topology`: a script that makes the hosts, `host` one of them. @returns why not, where namespaces, TUN interfaces or wireguard-go can't be had */
export async function openWireguardRoom(topology: string, host: string): Promise<Room | string> {
  for (const program of ['unshare', 'wireguard-go', 'wg', 'ping']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return `no ${program}`
  }
  let room: Room | null = null
  try {
    room = await Room.open()
    room.run('sh', '-euc', topology)
    room.run('ip', 'netns', 'exec', host, 'sh', '-c', 'ip tuntap add mode tun name probe && ip link del probe')
    return room
  } catch (error) {
    await room?.close()
    return error instanceof Error ? error.message.trim().replaceAll('\n', ' ') : String(error)
  }
}
