/** The platform that most end-to-end tests share: started once, with the default models and a stub engine beside them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { keepWeights, seedWeights } from './seed-weights.ts'
import { control, startPlatform, type Platform } from './platform.ts'
import { startStubEngine, type StubEngine } from './stub-engine.ts'
import { until } from './until.ts'

export interface SharedPlatform {
  readonly dataDirectory: string
  readonly apiUrl: string
  readonly controlUrl: string
  readonly apiKey: string
  readonly adminToken: string
  readonly launcherPid: number
  readonly chatModel: string
  readonly embeddingModel: string
  /** 20 tokens per second, as many as one asks for. */
  readonly steadyModel: string
  /** Its engine answers 429. */
  readonly limitedModel: string
}

declare module 'vitest' {
  export interface ProvidedContext {
    readonly platform: SharedPlatform
  }
}

const replicaTimeoutMs = 60_000

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-e2e-'))
  let platform: Platform | undefined
  let engine: StubEngine | undefined
  const teardown = async (): Promise<void> => {
    await platform?.stop()
    await engine?.close()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
  try {
    seedWeights(dataDirectory)
    engine = await startStubEngine()
    platform = await startPlatform({ dataDirectory })
    const shared = await describe(platform, dataDirectory)
    keepWeights(dataDirectory)
    await control(shared, 'POST', '/api/v1/engines', { url: engine.url, category: 'chat' })
    await until('all models are offered', replicaTimeoutMs, () => offersAll(shared))
    project.provide('platform', shared)
    return teardown
  } catch (error) {
    await teardown()
    throw error
  }
}

async function describe(platform: Platform, dataDirectory: string): Promise<SharedPlatform> {
  const { apiUrl, controlUrl, apiKey, adminToken } = platform.ready
  if (!apiKey || !adminToken) throw new Error('the first start printed no secrets')
  const ids = await until('the default models are offered', replicaTimeoutMs, async () => {
    const found = await modelIds({ apiUrl, apiKey })
    return found.length >= 2 ? found : undefined
  })
  return {
    dataDirectory,
    apiUrl,
    controlUrl,
    apiKey,
    adminToken,
    launcherPid: platform.child.pid ?? 0,
    chatModel: ids.find((id) => /smollm2/i.test(id)) ?? '',
    embeddingModel: ids.find((id) => /minilm/i.test(id)) ?? '',
    steadyModel: 'stub/steady:1',
    limitedModel: 'stub/limited:1',
  }
}

async function offersAll(shared: SharedPlatform): Promise<boolean> {
  const ids = await modelIds(shared)
  return [shared.steadyModel, shared.limitedModel].every((id) => ids.includes(id))
}

async function modelIds(
  shared: Pick<SharedPlatform, 'apiUrl' | 'apiKey'>,
): Promise<readonly string[]> {
  const response = await fetch(`${shared.apiUrl}/models`, {
    headers: { authorization: `Bearer ${shared.apiKey}` },
  })
  const list = await response.text()
  return [...list.matchAll(/"id":"([^"]+)"/g)].map((match) => match[1] ?? '')
}
