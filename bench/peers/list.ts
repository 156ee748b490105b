import { colonnade } from './colonnade.ts'
import { direct } from './direct.ts'
import { liteLlm } from './litellm.ts'
import { nginx } from './nginx.ts'
import type { Peer } from './peer.ts'
import { portkey } from './portkey.ts'

/** In the order of the report. The first one is what latency is added to, the second one the measure of the others. */
export const peers: readonly Peer[] = [direct, nginx, colonnade, portkey, liteLlm]
