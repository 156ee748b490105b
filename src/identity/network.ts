/** Addresses and blocks of them, as an API key may be bound to. Pure. */
import ipaddr from 'ipaddr.js'

export type Network = ReturnType<typeof ipaddr.parseCIDR>

/**
 * Returns the block in its one spelling: `10.1.2.3` → `10.1.2.3/32`, `10.1.2.3/8` → `10.0.0.0/8`. Returns `undefined` for anything else,
 * and so for spellings that programs read differently (`0x7f.1`, `010.0.0.1`).
 */
export function parseNetwork(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/')
  if (rest.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined
  const isV4 = ipaddr.IPv4.isValidFourPartDecimal(address)
  if (!isV4 && !(address.includes(':') && ipaddr.IPv6.isValid(address))) return undefined
  if (address.includes('%')) return undefined
  const block = `${address}/${bits ?? (isV4 ? 32 : 128)}`
  if (!ipaddr.isValidCIDR(block)) return undefined
  const [, length] = ipaddr.parseCIDR(block)
  const first = isV4
    ? ipaddr.IPv4.networkAddressFromCIDR(block)
    : ipaddr.IPv6.networkAddressFromCIDR(block)
  // A mapped block would match nothing: clients over IPv4 are compared as IPv4.
  if (first instanceof ipaddr.IPv6 && first.isIPv4MappedAddress()) return undefined
  return `${first.toString()}/${length}`
}

/** The block of a stored spelling. An unreadable one matches nothing. */
export function toNetworks(blocks: readonly string[]): readonly Network[] {
  return blocks.filter((block) => ipaddr.isValidCIDR(block)).map((block) => ipaddr.parseCIDR(block))
}

/** An IPv4 address that arrives as `::ffff:a.b.c.d` is that IPv4 address. */
export function isWithin(ip: string, networks: readonly Network[]): boolean {
  if (!ipaddr.isValid(ip)) return false
  const address = ipaddr.process(ip)
  return networks.some(
    ([network, bits]) => address.kind() === network.kind() && address.match(network, bits),
  )
}
