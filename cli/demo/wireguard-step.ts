/**
 * The step of the story about machines from outside: a laptop with a stock WireGuard client and the configuration that one
 * command printed. Of ours it needs nothing, but the relay where UDP is blocked.
 */
import type { Step } from './step.ts'
import { check, Skipped, said } from './step.ts'

/**
 * Two machines, each in a network of its own, joined to a region's router by a cable, as a host is: a laptop in mad, a phone
 * in gru. $CONF and $CONF_PHONE are the printed configurations; $OWN and $OTHER are the databases. All of it ends with this
 * script: the namespaces are this mount namespace's own.
 */
const LAPTOP = `
set -eu
for program in wireguard-go wg wg-quick redis-cli; do command -v $program > /dev/null || { echo "SKIP no $program"; exit 0; }; done
umask 077
mkdir -p /run/wireguard /tmp/laptop.$$
own=/tmp/laptop.$$
attach() { # name, region, address
  ip netns add $1
  region="nsenter --net=/run/netns/region-$2 --"; machine="nsenter --net=/run/netns/$1 --"
  $machine ip link set lo up
  $region sh -euc "ip link add $1 type veth peer name eth0 netns $1; ip link set $1 up; ip -6 addr add fe80::1/64 dev $1 nodad; ip -6 route add $3/128 dev $1"
  $machine sh -euc "ip link set eth0 up; ip -6 addr add $3/128 dev eth0 nodad; ip -6 route add fd0c::/16 via fe80::1 dev eth0 src $3"
}
connect() { # name: what wg-quick does with its configuration, without what it does to a machine's own files
  machine="nsenter --net=/run/netns/$1 --"
  said() { sed -n "s/^$2 = //p" $own/$1.conf; }
  for try in $(seq 100); do $machine wg show "$1"0 > /dev/null 2>&1 && break; sleep 0.05; done
  $machine wg show "$1"0 > /dev/null 2>&1 || { echo "SKIP no TUN interface here: $(tail -n 1 $own/$1.log)"; rm -r $own; exit 0; }
  wg-quick strip $own/$1.conf | $machine wg setconf "$1"0 /dev/stdin
  $machine ip -6 addr add "$(said $1 Address)" dev "$1"0 nodad
  $machine ip link set "$1"0 mtu "$(said $1 MTU)" up
  $machine ip -6 route add "$(said $1 AllowedIPs)" dev "$1"0
}
phone= client= relay=
trap 'kill $client $phone $relay 2> /dev/null || true; nsenter --net=/run/netns/region-mad -- ip link del laptop; nsenter --net=/run/netns/region-gru -- ip link del phone; ip netns del laptop; ip netns del phone' EXIT
attach laptop mad fd0c:0:1::fe
attach phone gru fd0c:0:3::fe
printf '%s\\n' "$CONF" > $own/laptop.conf
printf '%s\\n' "$CONF_PHONE" > $own/phone.conf
nsenter --net=/run/netns/laptop -- wireguard-go -f laptop0 > $own/laptop.log 2>&1 & client=$!
nsenter --net=/run/netns/phone -- wireguard-go -f phone0 > $own/phone.log 2>&1 & phone=$!
connect laptop
connect phone
# It comes in meanwhile.
nsenter --net=/run/netns/phone -- ping -6 -c 1 -W 2 $OWN > /dev/null 2>&1 &
laptop="nsenter --net=/run/netns/laptop --"
key="$(sed -n 's/^PublicKey = //p' $own/laptop.conf)"; allowed="$(sed -n 's/^AllowedIPs = //p' $own/laptop.conf)"; address_of_phone="$(sed -n 's/^Address = //p' $own/phone.conf)"
rm -r $own
redis="$laptop timeout 8 redis-cli --no-auth-warning -h $OWN --user default --pass $OWN_PASSWORD"
echo "ping $($redis ping)"
echo "big $(head -c 400000 /dev/zero | tr '\\0' x | $redis -x set big) $($redis strlen big) $($redis get big | wc -c)"
echo "phone $($laptop sh -c "for try in 1 2 3 4 5 6 7 8; do ping -6 -c 1 -W 0.5 -s 2000 \${address_of_phone%/*} && break; done" | sed -n 's/.*time=//p')"
# Somebody who changes the configuration: packets for globex come in by the tunnel.
$laptop wg set laptop0 peer "$key" allowed-ips "$allowed,$OTHER/128"
$laptop ip -6 route add $OTHER/128 dev laptop0
if $laptop timeout 2 redis-cli -h $OTHER ping > /dev/null 2>&1; then echo "other reached"; else echo "other closed"; fi
if $laptop ping -6 -c 1 -W 1 $MACHINE > /dev/null 2>&1; then echo "machine reached"; else echo "machine closed"; fi
# No UDP leaves the laptop any more; its client takes a port of its own machine for the gateway's end point.
$laptop nft 'add table inet block; add chain inet block out { type filter hook output priority 0; }; add rule inet block out oifname "eth0" meta l4proto udp drop'
echo "blocked $(timeout 2 $redis ping 2>&1 || echo no answer)"
NODE_EXTRA_CA_CERTS=/run/nearcast/edge-ca.pem $laptop "$NODE" "$ENTRY" wireguard relay "$WEBSOCKET" --json > /tmp/relay.$$ & relay=$!
for try in $(seq 200); do grep -q endpoint /tmp/relay.$$ && break; sleep 0.05; done
rm /tmp/relay.$$
$laptop wg set laptop0 peer "$key" endpoint 127.0.0.1:51820
echo "websocket $($redis ping) $($redis strlen big)"
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
  title: "A laptop with a stock WireGuard client uses acme's database, by UDP and where UDP is blocked, and reaches a phone at another gateway; globex's stays closed to it",
  async run({ cluster, show }) {
    const gateways = await cluster.json<readonly Listed[]>(['wireguard', 'gateways'])
    const [gateway, far] = ['mad-1', 'gru-1'].map((wanted) => gateways.find(({ id }) => id === wanted))
    if (gateway === undefined || far === undefined) throw new Skipped('there are no gateways: this user may not make TUN interfaces here')
    // The laptop stands inside the cluster's network, we outside of it.
    const inside = ({ endpoints }: Listed): string => endpoints.find((each) => each.startsWith('[fd0c')) ?? ''
    const words = (name: string, region: string, at: Listed): string[] => ['wireguard', 'create', name, '--org', 'acme', '--region', region, '--endpoint', inside(at)]
    const args = words('laptop', 'mad', gateway)
    const [created, phone] = await Promise.all([cluster.json<Created>(args), cluster.json<Created>(words('phone', 'gru', far))])
    show(`$ nearcast ${args.join(' ')}\n${created.gateways.map(({ id, ms }) => `${id} answers in ${ms?.toFixed(1) ?? '-'} ms`).join('  ')}\n${created.configuration.replace(/(PrivateKey = ).*/, '$1…')}`)
    check(created.gateways.every(({ ms }) => ms !== null), 'A gateway did not answer.')
    const [own, other] = ['acme', 'globex'].map((org) => cluster.facts.databases.find((database) => database.org === org))
    check(own !== undefined && other !== undefined, 'acme or globex has no demo database.')
    // A machine of acme's own network: packets go to Flycast addresses only.
    const machine = created.address.replace(/ffff:ffff::\w+$/, '0:2:0:1:2')
    const variables = { CONF: created.configuration, CONF_PHONE: phone.configuration, OWN: own.address, OWN_PASSWORD: own.password, OTHER: other.address, MACHINE: machine, WEBSOCKET: gateway.websocket ?? '', NODE: process.execPath, ENTRY: cluster.words[0] ?? '' }
    const given = Object.entries(variables).map(([name, value]) => `${name}='${value}'`)
    const finished = await cluster.onHost('mad-1', `${given.join('\n')}\nexport CONF CONF_PHONE\n${LAPTOP}`)
    const lines = new Map(finished.stdout.trim().split('\n').map((line) => [line.split(' ')[0] ?? '', line.slice(line.indexOf(' ') + 1)]))
    const missing = lines.get('SKIP')
    if (missing !== undefined) throw new Skipped(missing)
    show(`laptop> redis-cli ping: ${lines.get('ping') ?? said(finished)}; 400,000 bytes there and back: ${lines.get('big') ?? '-'}; globex: ${lines.get('other') ?? '-'}; acme's app host: ${lines.get('machine') ?? '-'}\nlaptop> ping -s 2000 the phone, which came in by gru: ${lines.get('phone') ?? '-'}`)
    check(lines.get('ping') === 'PONG', `The laptop didn't reach acme's database: ${said(finished)} ${finished.stderr}`)
    check(lines.get('big') === 'OK 400000 400001', 'What is longer than a packet did not come through whole.')
    check(/\d ms$/.test(lines.get('phone') ?? ''), `The laptop didn't reach the phone: ${said(finished)} ${finished.stderr}`)
    check(lines.get('other') === 'closed' && lines.get('machine') === 'closed', 'The laptop reached what is not its own.')
    show(`UDP blocked> redis-cli ping: ${lines.get('blocked') ?? '-'}; by nearcast wireguard relay ${gateway.websocket ?? ''}: ${lines.get('websocket') ?? said(finished)}`)
    check(lines.get('blocked')?.includes('PONG') === false, 'UDP was not blocked.')
    check(lines.get('websocket') === 'PONG 400000', `The laptop didn't reach acme's database through the WebSocket: ${said(finished)} ${finished.stderr}`)
    const metrics = await cluster.nearcast(['dev', 'metrics', 'mad-1/gateway'])
    const counted = metrics.stdout.split('\n').filter((line) => /^nearcast_gateway_dropped\{where="inner",reason="(foreign|machine)"\} [1-9]/.test(line))
    for (const line of counted) show(line)
    check(counted.length === 2, 'What was dropped is not counted.')
    for (const removed of await Promise.all(['laptop', 'phone'].map((name) => cluster.nearcast(['wireguard', 'remove', name, '--org', 'acme', '--yes'])))) check(removed.code === 0, said(removed))
  },
}
