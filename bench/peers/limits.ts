/** Colonnade twice, with ten thousand tenants and a hundred thousand keys: without any limit, and with every tenant on a plan. */
import { seedTenants } from '../load/tenants.ts'
import { startColonnade } from './colonnade.ts'
import type { Peer } from './peer.ts'

const size = { tenants: 10_000, keys: 100_000 }

export const limitsOff = 'limits off'
export const limitsOn = 'limits on'

export const limitPeers: readonly Peer[] = [peer(limitsOff, false), peer(limitsOn, true)]

function peer(name: string, limited: boolean): Peer {
  return {
    name,
    streamsMax: 1_000,
    install: () => Promise.resolve(),
    start: (options) =>
      startColonnade(options, (dataDirectory) => seedTenants(dataDirectory, { ...size, limited })),
  }
}
