/** What this machine has. Facts for people and for placement; nothing here decides anything. */
import { execFile } from 'node:child_process'
import { arch, availableParallelism, cpus, totalmem } from 'node:os'

export interface Hardware {
  readonly architecture: string
  readonly cpuModel: string
  readonly cores: number
  readonly memoryBytes: number
  readonly gpus: readonly { readonly name: string; readonly memoryBytes: number }[]
}

const gpuProbeTimeoutMs = 5_000

export async function probeHardware(): Promise<Hardware> {
  // A container's limit counts, when there is one.
  const limitBytes = process.constrainedMemory() || Number.POSITIVE_INFINITY
  return {
    architecture: arch(),
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: Math.min(totalmem(), limitBytes),
    gpus: await probeNvidia(),
  }
}

function probeNvidia(): Promise<Hardware['gpus']> {
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits']
  return new Promise((resolve) => {
    execFile('nvidia-smi', query, { timeout: gpuProbeTimeoutMs }, (error, output) => {
      // Without the tool there is no driver, and so no such GPU.
      resolve(error ? [] : parseNvidia(output))
    })
  })
}

/** One line a GPU: `NVIDIA H100 80GB HBM3, 81559`, in MiB. */
export function parseNvidia(output: string): Hardware['gpus'] {
  return output.split('\n').flatMap((line) => {
    const [name, mebibytes] = line.split(', ')
    if (!name || !mebibytes || !/^\d+$/.test(mebibytes.trim())) return []
    return [{ name: name.trim(), memoryBytes: Number(mebibytes) * 1024 * 1024 }]
  })
}
