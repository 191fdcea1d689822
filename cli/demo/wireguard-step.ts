/**
 * The step of the story about machines from outside: a laptop with a stock WireGuard client and the configuration that one
 * command printed. Of ours it needs nothing, but the relay where UDP is blocked.
 */
import type { Step } from './step.ts'
import { check, Skipped, said } from './step.ts'

/**
 * A network of its own, joined to the region's router by a cable, as a host is. $CONF is the printed configuration; $OWN,
 * $OWN_PORT, $OTHER and $OTHER_PORT are the databases. All of it ends with this script: the namespace is this mount
 * namespace's own.
 */
const LAPTOP = `
set -eu
for program in wireguard-go wg wg-quick redis-cli; do command -v $program > /dev/null || { echo "SKIP no $program"; exit 0; }; done
ip netns add laptop
region="nsenter --net=/run/netns/region-mad --"
laptop="nsenter --net=/run/netns/laptop --"
trap 'kill $client $relay 2> /dev/null || true; $region ip link del laptop; ip netns del laptop' EXIT
$laptop ip link set lo up
$region sh -euc 'ip link add laptop type veth peer name eth0 netns laptop; ip link set laptop up; ip -6 addr add fe80::1/64 dev laptop nodad; ip -6 route add fd0c:0:1::fe/128 dev laptop'
$laptop sh -euc 'ip link set eth0 up; ip -6 addr add fd0c:0:1::fe/128 dev eth0 nodad; ip -6 route add fd0c::/16 via fe80::1 dev eth0 src fd0c:0:1::fe'
relay=
umask 077
mkdir -p /run/wireguard /tmp/laptop.$$
printf '%s\\n' "$CONF" > /tmp/laptop.$$/laptop.conf
$laptop wireguard-go -f laptop0 > /tmp/laptop.$$/log 2>&1 & client=$!
for try in $(seq 100); do $laptop wg show laptop0 > /dev/null 2>&1 && break; sleep 0.05; done
$laptop wg show laptop0 > /dev/null 2>&1 || { echo "SKIP no TUN interface here: $(tail -n 1 /tmp/laptop.$$/log)"; rm -r /tmp/laptop.$$; exit 0; }
# What wg-quick does, without what it does to a machine's own files.
wg-quick strip /tmp/laptop.$$/laptop.conf | $laptop wg setconf laptop0 /dev/stdin
$laptop ip -6 addr add "$(sed -n 's/^Address = //p' /tmp/laptop.$$/laptop.conf)" dev laptop0 nodad
$laptop ip link set laptop0 mtu "$(sed -n 's/^MTU = //p' /tmp/laptop.$$/laptop.conf)" up
$laptop ip -6 route add "$(sed -n 's/^AllowedIPs = //p' /tmp/laptop.$$/laptop.conf)" dev laptop0
key="$(sed -n 's/^PublicKey = //p' /tmp/laptop.$$/laptop.conf)"; allowed="$(sed -n 's/^AllowedIPs = //p' /tmp/laptop.$$/laptop.conf)"
rm -r /tmp/laptop.$$
own="$laptop timeout 8 redis-cli --no-auth-warning -h $OWN --user default --pass $OWN_PASSWORD"
echo "ping $($own ping)"
echo "big $(head -c 400000 /dev/zero | tr '\\0' x | $own -x set big) $($own strlen big) $($own get big | wc -c)"
# Somebody who changes the configuration: packets for globex come in by the tunnel.
$laptop wg set laptop0 peer "$key" allowed-ips "$allowed,$OTHER/128"
$laptop ip -6 route add $OTHER/128 dev laptop0
if $laptop timeout 2 redis-cli -h $OTHER ping > /dev/null 2>&1; then echo "other reached"; else echo "other closed"; fi
if $laptop ping -6 -c 1 -W 1 $MACHINE > /dev/null 2>&1; then echo "machine reached"; else echo "machine closed"; fi
# No UDP leaves the laptop any more; its client takes a port of its own machine for the gateway's end point.
$laptop nft 'add table inet block; add chain inet block out { type filter hook output priority 0; }; add rule inet block out oifname "eth0" meta l4proto udp drop'
echo "blocked $(timeout 2 $own ping 2>&1 || echo no answer)"
NODE_EXTRA_CA_CERTS=/run/nearcast/edge-ca.pem $laptop "$NODE" "$ENTRY" wireguard relay "$WEBSOCKET" --json > /tmp/relay.$$ & relay=$!
for try in $(seq 200); do grep -q endpoint /tmp/relay.$$ && break; sleep 0.05; done
rm /tmp/relay.$$
$laptop wg set laptop0 peer "$key" endpoint 127.0.0.1:51820
echo "websocket $($own ping) $($own strlen big)"
`

interface Created {
  readonly configuration: string
  readonly address: string
  readonly gateways: readonly { readonly id: string; readonly ms: number | null }[]
}

interface Listed {
  readonly id: string
  readonly endpoints: readonly string[]
  readonly websocket?: string
}

export const WIREGUARD_STEP: Step = {
  name: 'wireguard',
  beside: true,
  title: "A laptop with a stock WireGuard client uses acme's database, by UDP and where UDP is blocked; globex's stays closed to it",
  async run({ cluster, show }) {
    const gateways = await cluster.json<readonly Listed[]>(['wireguard', 'gateways'])
    const gateway = gateways.find(({ id }) => id === 'mad-1')
    if (gateway === undefined) throw new Skipped('there are no gateways: this user may not make TUN interfaces here')
    // The laptop stands inside the cluster's network, we outside of it.
    const endpoint = gateway.endpoints.find((each) => each.startsWith('[fd0c')) ?? ''
    const args = ['wireguard', 'create', 'laptop', '--org', 'acme', '--region', 'mad', '--endpoint', endpoint]
    const created = await cluster.json<Created>(args)
    show(`$ nearcast ${args.join(' ')}\n${created.gateways.map(({ id, ms }) => `${id} answers in ${ms?.toFixed(1) ?? '-'} ms`).join('  ')}\n${created.configuration.replace(/(PrivateKey = ).*/, '$1…')}`)
    check(created.gateways.every(({ ms }) => ms !== null), 'A gateway did not answer.')
    const [own, other] = ['acme', 'globex'].map((org) => cluster.facts.databases.find((database) => database.org === org))
    check(own !== undefined && other !== undefined, 'acme or globex has no demo database.')
    // A machine of acme's own network: packets go to Flycast addresses only.
    const machine = created.address.replace('ffff:ffff::102', '0:2:0:1:2')
    const variables = { CONF: created.configuration, OWN: own.address, OWN_PASSWORD: own.password, OTHER: other.address, MACHINE: machine, WEBSOCKET: gateway.websocket ?? '', NODE: process.execPath, ENTRY: cluster.words[0] ?? '' }
    const given = Object.entries(variables).map(([name, value]) => `${name}='${value}'`)
    const finished = await cluster.onHost('mad-1', `${given.join('\n')}\nexport CONF\n${LAPTOP}`)
    const lines = new Map(finished.stdout.trim().split('\n').map((line) => [line.split(' ')[0] ?? '', line.slice(line.indexOf(' ') + 1)]))
    const missing = lines.get('SKIP')
    if (missing !== undefined) throw new Skipped(missing)
    show(`laptop> redis-cli ping: ${lines.get('ping') ?? said(finished)}; 400,000 bytes there and back: ${lines.get('big') ?? '-'}; globex: ${lines.get('other') ?? '-'}; acme's app host: ${lines.get('machine') ?? '-'}`)
    check(lines.get('ping') === 'PONG', `The laptop didn't reach acme's database: ${said(finished)} ${finished.stderr}`)
    check(lines.get('big') === 'OK 400000 400001', 'What is longer than a packet did not come through whole.')
    check(lines.get('other') === 'closed' && lines.get('machine') === 'closed', 'The laptop reached what is not its own.')
    show(`UDP blocked> redis-cli ping: ${lines.get('blocked') ?? '-'}; by nearcast wireguard relay ${gateway.websocket ?? ''}: ${lines.get('websocket') ?? said(finished)}`)
    check(lines.get('blocked')?.includes('PONG') === false, 'UDP was not blocked.')
    check(lines.get('websocket') === 'PONG 400000', `The laptop didn't reach acme's database through the WebSocket: ${said(finished)} ${finished.stderr}`)
    const metrics = await cluster.nearcast(['dev', 'metrics', 'mad-1/gateway'])
    const counted = metrics.stdout.split('\n').filter((line) => /^nearcast_gateway_dropped\{where="inner",reason="(foreign|machine)"\} [1-9]/.test(line))
    for (const line of counted) show(line)
    check(counted.length === 2, 'What was dropped is not counted.')
    const removed = await cluster.nearcast(['wireguard', 'remove', 'laptop', '--org', 'acme', '--yes'])
    check(removed.code === 0, said(removed))
  },
}
