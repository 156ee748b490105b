/**
 * Colonnade's own limits, through their front door, on one gateway or several: reserves the input and the learned length of three answers of four,
 * and takes more in steps while the answer goes on. The authority is the model that is compared with the real one.
 */
import { openLimits, type Grip, type Limits } from '../../src/limits/limits.ts'
import { createOutputEstimator } from '../../src/limits/output-estimate.ts'
import type { LimitRecords } from '../../src/limits/rule.ts'
import type { LeaseAuthority } from '../../src/limits/authority.ts'
import type { Clock } from '../../src/platform/clock.ts'
import { createLeaseAuthority } from '../../sim/world/lease-authority.ts'
import type { Loop } from '../../sim/world/loop.ts'
import type { Bucket } from './bucket.ts'
import type { Admitted, Ask, Policy, PolicyWorld } from './policy.ts'

const outputQuantile = 0.75
const outputTokensDefault = 256
const stepTokens = 64
const aheadTokens = 32
/** To PostgreSQL and back, and for a notice. */
const authorityMs = 2
const noticeMs = 1

const scope = { tenantId: 'ten_trace', projectId: 'prj_trace', apiKeyId: 'key_trace', modelId: 'm' }

export function leases(world: PolicyWorld & { readonly loop: Loop }, gatewayCount: number): Policy {
  const { loop, nowMs } = world
  const outputs = createOutputEstimator({ entriesMax: 100 })
  const gateways: Limits[] = []
  const model = createLeaseAuthority({
    nowMs,
    limitOf: () => BigInt(world.limitTokens),
    periodMsOf: () => 60_000,
    notify(payload) {
      for (const gateway of gateways) loop.after(noticeMs, () => gateway.heard(payload))
    },
  })
  const authority: LeaseAuthority = {
    ...model,
    async lease(life, wishes) {
      await loop.sleep(authorityMs / 2)
      const answer = await model.lease(life, wishes)
      await loop.sleep(authorityMs / 2)
      return answer
    },
  }
  const clock: Clock = {
    nowMs,
    monotonicMs: () => loop.nowMs,
    after: loop.after,
    afterTurn: (work) => void loop.after(0, work),
  }
  for (let index = 0; index < gatewayCount; index += 1) {
    const limits = openLimits({
      authority,
      clock,
      timeZone: 'UTC',
      gatewayId: `gw_${index}`,
      newLifeId: () => `lif_${index}`,
      onFailure: (error) => {
        throw error
      },
    })
    limits.apply(recordsOf(world.limitTokens))
    gateways.push(limits)
  }
  let turn = 0

  return {
    name: `leases, ${gatewayCount === 1 ? 'one gateway' : `${gatewayCount} gateways`}`,
    async admit(ask) {
      turn += 1
      const usual = outputs.quantile(scope.apiKeyId, scope.modelId, outputQuantile)
      const expected = Math.min(ask.outputTokensMax, usual ?? outputTokensDefault)
      const amounts = amountsOf(ask.inputTokens + expected)
      const decision = await gateways[turn % gatewayCount]?.reserve(scope, amounts, amounts)
      if (decision?.outcome !== 'admitted') return undefined
      return toAdmitted(decision.grip, ask, {
        bucket: world.bucket,
        learn: (outputTokens) => outputs.learn(scope.apiKeyId, scope.modelId, outputTokens),
      })
    },
    async close() {
      for (const gateway of gateways) await gateway.close(true)
    },
  }
}

function toAdmitted(
  grip: Grip,
  ask: Ask,
  { bucket, learn }: { readonly bucket: Bucket; readonly learn: (outputTokens: number) => void },
): Admitted {
  let noted = 0
  /** Output tokens that are reserved; what is new of them is taken from the judge's bucket as well. */
  const reserved = (): number => {
    const tokens = Number(grip.reserved('tokens') ?? 0n)
    if (tokens > noted) bucket.take(tokens - noted)
    noted = tokens
    return tokens - ask.inputTokens
  }
  const step = (): number => Math.min(stepTokens, ask.outputTokensMax - reserved())
  reserved()
  return {
    covered(passed) {
      if (reserved() < ask.outputTokensMax && reserved() - passed <= aheadTokens)
        grip.tryExtend(amountsOf(step()), amountsOf(step()))
      return reserved()
    },
    async more() {
      if (reserved() >= ask.outputTokensMax) return false
      const taken = await grip.extend(amountsOf(1), amountsOf(step()))
      return taken.outcome === 'extended'
    },
    end(outputTokens) {
      learn(outputTokens)
      const spent = ask.inputTokens + outputTokens
      bucket.giveBack(noted - spent)
      grip.settle(() => BigInt(spent))
      grip.release()
    },
  }
}

function amountsOf(tokens: number): { readonly tokens: bigint } {
  return { tokens: BigInt(tokens) }
}

function recordsOf(limitTokens: number): LimitRecords {
  return {
    plans: [],
    tenantPlans: [],
    credits: [],
    rules: [
      {
        id: 'lim_trace',
        tenantId: scope.tenantId,
        per: 'tenant',
        measure: 'tokens',
        window: 'minute',
        limit: String(limitTokens),
        enforcement: 'hard',
        onOutage: 'closed',
      },
    ],
  }
}
